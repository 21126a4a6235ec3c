/**
 * What a debugger in the kernel world and the debugged machine in its VM world say to each other: calls
 * of DebugTarget (kernel/debug/target.ts) and their answers, as msgpack in mailbox messages.
 *
 * Invariant: one call at a time; an answer names the call that it is for.
 */
import { decode, encode } from "@std/msgpack";
import type {
  DebugCheckpoint,
  DebugMemoryRange,
  DebugPoint,
  DebugPosition,
  DebugRegister,
  DebugResume,
  DebugStop,
} from "../debug/target.ts";

/** TABLE of calls: arguments and result. */
export interface DebugCalls {
  attach: [args: [], result: { readonly replaying: boolean }];
  position: [args: [], result: DebugPosition];
  registers: [
    args: [hart: number, wanted: readonly DebugRegister[]],
    result: (bigint | null)[],
  ];
  setRegister: [args: [hart: number, register: DebugRegister, value: bigint], result: null];
  memory: [args: [hart: number, address: bigint, length: number], result: Uint8Array];
  setMemory: [args: [hart: number, address: bigint, bytes: Uint8Array], result: null];
  memoryMap: [args: [], result: readonly DebugMemoryRange[]];
  addPoint: [args: [point: DebugPoint], result: null];
  removePoint: [args: [point: DebugPoint], result: null];
  resume: [args: [how: DebugResume], result: DebugStop];
  seek: [args: [icount: number], result: DebugStop];
  checkpoints: [args: [], result: readonly DebugCheckpoint[]];
  info: [args: [], result: string];
  detach: [args: [], result: null];
}

/** Name of a call. */
export type DebugCall = keyof DebugCalls;

/** A call as it arrives. */
export type DebugRequest = {
  readonly [C in DebugCall]: { readonly call: C; readonly args: DebugCalls[C][0] };
}[DebugCall];

/** msgpack's integers end at 64 bits signed or unsigned; which one it was does not matter here. */
const BIG = { useBigInt64: true };

/** Bytes of a call or an answer. */
export function encodeDebug(value: unknown): Uint8Array {
  return encode(value, BIG);
}

/** A call or an answer from its bytes. */
export function decodeDebug(bytes: Uint8Array): unknown {
  return decode(bytes, BIG);
}
