/**
 * Behaviour of the core-local interruptor: software interrupts and the machine timer (RISC-V ACLINT
 * Specification 1.0, in the layout of the SiFive CLINT).
 *
 * Invariant: a hart's MTIP is high exactly while mtime is at or past its mtimecmp.
 */
import type { Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";

/** Offsets of the register blocks. */
export const MAP = { softwareInterrupt: 0, timeCompare: 0x4000, time: 0xbff8 } as const;
/** mip bits. */
const MSI = 3;
const MTI = 7;
const WORD = 0x1_0000_0000;
/** Guest time stays below this: a comparison from here on waits for ever. */
const TIME_END = 2 ** 53;

/** The state: one entry for each hart. */
export interface AclintState {
  readonly software: Uint32Array;
  /** mtimecmp, low and high word. */
  readonly compare: Uint32Array;
}

/** Makes the behaviour of the interruptor. */
export function attachAclint(state: AclintState, env: DeviceEnvironment): Device {
  const compare = (hart: number) => state.compare[2 * hart + 1]! * WORD + state.compare[2 * hart]!;

  const update = () => {
    const now = env.ticks();
    let next = Infinity;
    for (let hart = 0; hart < env.harts; hart++) {
      const due = compare(hart) <= now;
      env.hartLine(hart, MTI, due);
      if (!due && compare(hart) < TIME_END) next = Math.min(next, compare(hart));
    }
    env.timer(next);
  };

  const readWord = (offset: number): number => {
    const index = offset >> 2;
    if (index < env.harts) return state.software[index]!;
    const word = (offset - MAP.timeCompare) >> 2;
    if (word >= 0 && word < 2 * env.harts) return state.compare[word]!;
    if (offset === MAP.time) return env.ticks() % WORD;
    if (offset === MAP.time + 4) return Math.floor(env.ticks() / WORD);
    return 0;
  };

  const writeTime = (high: boolean, value: number) => {
    const now = env.ticks();
    const low = now % WORD;
    const highBits = TIME_END / WORD - 1;
    env.setTicks(high ? (value & highBits) * WORD + low : now - low + value);
    update();
  };

  const writeWord = (offset: number, value: number): void => {
    const index = offset >> 2;
    if (index < env.harts) {
      state.software[index] = value & 1;
      return env.hartLine(index, MSI, (value & 1) !== 0);
    }
    const word = (offset - MAP.timeCompare) >> 2;
    if (word >= 0 && word < 2 * env.harts) {
      state.compare[word] = value;
      return update();
    }
    if (offset === MAP.time || offset === MAP.time + 4) writeTime(offset !== MAP.time, value);
  };

  return {
    read: (offset, size) => size === 4 && (offset & 3) === 0 ? readWord(offset) : 0,
    write(offset, size, value) {
      if (size === 4 && (offset & 3) === 0) writeWord(offset, value);
    },
    tick: update,
    reset() {
      state.compare.fill(0xffff_ffff);
      for (let hart = 0; hart < env.harts; hart++) env.hartLine(hart, MSI, false);
      update();
    },
  };
}
