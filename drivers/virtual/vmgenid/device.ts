/**
 * Behaviour of the generation ID: sixteen bytes that can be read at the window's start, and an interrupt that
 * tells of another one.
 *
 * The binding's interrupt is an edge. The board's controller (PLIC) loses an edge that comes while it serves
 * one, so the line here is high from the change until the guest has read the whole ID, which its handler does
 * first. A guest that has read nothing of the old ID is not told of a new one: Linux's driver reads before it
 * can be interrupted, and an interrupt that waited for it would find it half made.
 *
 * Invariant: whoever has read a byte of an ID that is no longer there either is told, or reads the new one.
 */
import { type Device, type DeviceEnvironment, equalBytes } from "../../../kernel/driver/mod.ts";

/** Bytes of the ID. */
export const GENERATION_BYTES = 16;
const WHOLE = 0xffff;

/** The state of the device. */
export interface GenerationState {
  readonly generation: Uint8Array;
  /** Bit map of the bytes that the guest has read since the ID changed. */
  seen: number;
  /** Whether the line is high. */
  raised: boolean;
}

/** Makes the behaviour. */
export function attachGeneration(state: GenerationState, env: DeviceEnvironment): Device {
  return {
    read(offset, size) {
      if (offset >= GENERATION_BYTES) return 0;
      let value = 0;
      for (let i = 0; i < size && offset + i < GENERATION_BYTES; i++) {
        value += state.generation[offset + i]! * 2 ** (8 * i);
        state.seen |= 1 << offset + i;
      }
      if (state.raised && state.seen === WHOLE) {
        state.raised = false;
        env.irq(false);
      }
      return value;
    },
    write() {},
    identify({ generation }) {
      if (equalBytes(generation, state.generation)) return;
      state.generation.set(generation);
      if (state.seen !== 0 && !state.raised) {
        state.raised = true;
        env.irq(true);
      }
      state.seen = 0;
    },
    reset: () => env.irq(false),
  };
}
