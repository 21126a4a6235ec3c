/**
 * Behaviour of the platform-level interrupt controller (PLIC Specification 1.0): level sources,
 * priorities, enables and thresholds for a machine and a supervisor context of each hart.
 *
 * Invariants: a source that was claimed is not pending again before it is completed, and one that is
 * pending stays so until it is claimed; a hart's external interrupt line is high exactly while its
 * context has a claimable source above the threshold.
 */
import type { Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";
import { MAP, PRIORITY_MASK, SOURCE_WORDS, SOURCES } from "./registers.ts";

/** mip bits of the external interrupts. */
const MEI = 11;
const SEI = 9;

/** The state of the controller. Bit maps have one bit for each source. */
export interface PlicState {
  readonly priority: Uint32Array;
  readonly level: Uint32Array;
  readonly pending: Uint32Array;
  readonly claimed: Uint32Array;
  /** For each context, SOURCE_WORDS words. */
  readonly enable: Uint32Array;
  readonly threshold: Uint32Array;
}

const word = (source: number) => source >>> 5;
const bit = (source: number) => 1 << (source & 31);

/** Makes the behaviour of the controller. */
export function attachPlic(state: PlicState, env: DeviceEnvironment): Device {
  const contexts = env.harts * 2;

  /** The most urgent source for a context with a priority above a bound, or 0. */
  const best = (context: number, above: number): number => {
    let chosen = 0;
    let priority = above;
    for (let w = 0; w < SOURCE_WORDS; w++) {
      let candidates = state.pending[w]! & ~state.claimed[w]! &
        state.enable[context * SOURCE_WORDS + w]!;
      while (candidates !== 0) {
        const source = w * 32 + 31 - Math.clz32(candidates & -candidates);
        candidates &= candidates - 1;
        if (state.priority[source]! > priority) {
          priority = state.priority[source]!;
          chosen = source;
        }
      }
    }
    return chosen;
  };

  const update = () => {
    for (let context = 0; context < contexts; context++) {
      const notified = best(context, state.threshold[context]!) !== 0;
      env.hartLine(context >> 1, (context & 1) === 0 ? MEI : SEI, notified);
    }
  };

  const claim = (context: number): number => {
    // The threshold holds notifications back, not claims: a hart may poll.
    const source = best(context, 0);
    if (source !== 0) {
      state.pending[word(source)]! &= ~bit(source);
      state.claimed[word(source)]! |= bit(source);
      update();
    }
    return source;
  };

  const complete = (context: number, source: number) => {
    const enabled = source > 0 && source < SOURCES &&
      (state.enable[context * SOURCE_WORDS + word(source)]! & bit(source)) !== 0;
    if (!enabled) return;
    state.claimed[word(source)]! &= ~bit(source);
    // A level source that is still high is pending again.
    if ((state.level[word(source)]! & bit(source)) !== 0) {
      state.pending[word(source)]! |= bit(source);
    }
    update();
  };

  const contextOf = (offset: number, base: number, stride: number): number | undefined => {
    const context = Math.floor((offset - base) / stride);
    return context < contexts ? context : undefined;
  };

  const readWord = (offset: number): number => {
    if (offset < MAP.pending) return state.priority[offset >> 2] ?? 0;
    if (offset < MAP.enable) return state.pending[(offset - MAP.pending) >> 2] ?? 0;
    if (offset < MAP.context) {
      const context = contextOf(offset, MAP.enable, MAP.enableStride);
      const index = (offset & MAP.enableStride - 1) >> 2;
      if (context === undefined || index >= SOURCE_WORDS) return 0;
      return state.enable[context * SOURCE_WORDS + index]!;
    }
    const context = contextOf(offset, MAP.context, MAP.contextStride);
    if (context === undefined) return 0;
    const register = offset & MAP.contextStride - 1;
    if (register === 0) return state.threshold[context]!;
    return register === 4 ? claim(context) : 0;
  };

  const writeWord = (offset: number, value: number): void => {
    if (offset < MAP.pending) {
      const source = offset >> 2;
      if (source > 0 && source < SOURCES) state.priority[source] = value & PRIORITY_MASK;
      return update();
    }
    if (offset < MAP.enable) return;
    if (offset < MAP.context) {
      const context = contextOf(offset, MAP.enable, MAP.enableStride);
      const index = (offset & MAP.enableStride - 1) >> 2;
      if (context === undefined || index >= SOURCE_WORDS) return;
      // Source 0 does not exist.
      state.enable[context * SOURCE_WORDS + index] = index === 0 ? value & ~1 : value;
      return update();
    }
    const context = contextOf(offset, MAP.context, MAP.contextStride);
    if (context === undefined) return;
    const register = offset & MAP.contextStride - 1;
    if (register === 0) {
      state.threshold[context] = value & PRIORITY_MASK;
      update();
    } else if (register === 4) complete(context, value);
  };

  return {
    read: (offset, size) => size === 4 ? readWord(offset) : 0,
    write(offset, size, value) {
      if (size === 4) writeWord(offset, value);
    },
    source(number, level) {
      if (number <= 0 || number >= SOURCES) return;
      const mask = bit(number);
      const w = word(number);
      if (level) {
        state.level[w]! |= mask;
        if ((state.claimed[w]! & mask) === 0) state.pending[w]! |= mask;
      } else {
        // A request that was forwarded is not taken back (Interrupt Gateways).
        state.level[w]! &= ~mask;
      }
      update();
    },
    reset: update,
  };
}
