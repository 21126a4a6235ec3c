/**
 * What a VM world and the kernel world say to each other, and how it lies in a message.
 *
 *     u8 length of name | name | u8 count of numbers | f64 numbers, little-endian | bytes
 *
 * Invariant: decoding checks every length. A message that does not decode is a fault of the world
 * that sent it; the kernel world then stops trusting that VM and fails it.
 */
import { assert, Broken } from "../base/assert.ts";
import { MESSAGE_DATA_MAXIMUM } from "../limits.ts";

/** TABLE of messages to a VM world; in parentheses the numbers, then what the bytes are. */
export const TO_VM = {
  /** Stop executing until `resume`. */
  pause: 1,
  /** Execute again. */
  resume: 2,
  /** End now. */
  stop: 3,
  /** (id, argument) bytes: name of the question. Answered with `answer`. */
  query: 4,
  /** (port) Input for a serial or console port of the device. */
  console: 5,
  /** (tag) A part of what a disk read; parts come in order, before `diskDone`. */
  diskData: 6,
  /** (tag, status) A disk request ended. */
  diskDone: 7,
  /** A network frame. */
  frame: 8,
  /** (port, columns, rows) The terminal changed its size. */
  resize: 9,
  /** (id, 1 if more parts follow, 1 if it could not be read) A part of what a replayed disk held. */
  baseData: 10,
  /** (id) bytes: a debugger's call, see debug_protocol.ts. Answered with `debugAnswer`. */
  debug: 11,
  /** A debugger wants the machine to stand still. */
  debugInterrupt: 12,
  /** A recording is wanted: stand still, and answer with `recordReady` when no disk request is under way. */
  recordStart: 13,
  /** (index of SYNC_KINDS) The recording begins now. */
  recordGo: 14,
  /** The recording ends here, or does not begin. */
  recordStop: 15,
  /** bytes: generation ID (16), MAC address (6), entropy. The VM is a copy of another one. */
  identity: 16,
  /** bytes: nanoseconds since 1970 as decimal text. The wall clock is moved to this moment. */
  wall: 17,
  /** Make room for a checkpoint; 1: note which pages are used first from now on. */
  savePrepare: 18,
  /** (id, 1 if all pages are to be saved, 1 to stand still until `saveGo`) Freeze: answered with `frozen`. */
  freeze: 19,
  /** (1 if the saver has had all pages, 0 if it gave up) The save that `freeze` began is over. */
  saveEnded: 20,
  /** A VM that stands still behind `freeze` goes on. */
  saveGo: 21,
  /** (milliseconds) Note for so long which pages are used first, and tell. For a VM that goes on from a checkpoint. */
  learn: 22,
} as const;

/** TABLE of messages to the kernel world. */
export const TO_KERNEL = {
  /** (milliseconds since 1970) The machine runs; it is made, when this comes for the first time. */
  running: 1,
  /** The machine stands still, because it was asked to. */
  paused: 2,
  /** (port) Output of a serial or console port of the device. */
  console: 3,
  /** (port, count) The machine took so many bytes of input: room for more. */
  consoleTaken: 4,
  /** (tag) A part of what is to be written; parts come in order, before `diskRequest`. */
  diskData: 5,
  /** (tag, kind, sector, length) A disk request; kind is an index of DISK_KINDS. */
  diskRequest: 6,
  /** A network frame. */
  frame: 7,
  /** Text of the instruction trace. */
  trace: 8,
  /** (id, 1 for an answer or 0 for a refusal) bytes: JSON of the answer, or a message. */
  answer: 9,
  /** (code) The machine ended; bytes: JSON of `EndReport`. */
  halted: 10,
  /** The machine could not be made or is broken; bytes: JSON of `FailureReport`. */
  failed: 11,
  /** The guest starts again and needs its images, which come through the worker's port. */
  imagesWanted: 12,
  /** (log, icount, ticks, 1 if more parts follow) A part of a cluster of a recording's log. */
  record: 13,
  /** The recording ended; the VM may go on. */
  recordEnd: 14,
  /** (id, disk, sector, length) A replay asks what a disk held: answered with `baseData`. */
  baseWanted: 15,
  /** (id, 1 for an answer or 0 for a refusal) bytes: what a debugger's call gave. */
  debugAnswer: 16,
  /** The machine stands still and waits for nothing: a recording can begin. */
  recordReady: 18,
  /**
   * (icount, instructions, hart, 1 if more parts follow, pc in two words) Replay-only code ran; bytes: a part
   * of what it printed. The name is how it ended.
   */
  replayOnly: 17,
  /** What a plugin of a replay prints. */
  pluginOutput: 19,
  /** (id) The machine was frozen here; what it is comes through the worker's port (save_side.ts). */
  frozen: 20,
  /** (id, microseconds) The machine runs again, having stood still for so long. */
  thawed: 21,
  /** (1 if more parts follow) bytes: u32 guest pages that were used first, in that order. */
  touched: 22,
} as const;

/** Kinds of disk requests, by their number in a message. */
export const DISK_KINDS = ["read", "write", "flush", "discard", "zero", "zeroUnmap"] as const;

/** A message's content. */
export interface Message {
  /** Name of the device it is for or from; empty when it is about the whole machine. */
  readonly device: string;
  /** Its numbers, as the tables above say. */
  readonly numbers: readonly number[];
  /** Its bytes. */
  readonly bytes: Uint8Array;
}

const NO_BYTES: Uint8Array = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Makes a message. */
export function message(device = "", numbers: number[] = [], bytes = NO_BYTES): Message {
  return { device, numbers, bytes };
}

/** A message whose bytes are JSON; bigints become strings of hexadecimal digits ("0x…"). */
export function jsonMessage(numbers: number[], value: unknown): Message {
  const text = JSON.stringify(
    value,
    (_key, part) => typeof part === "bigint" ? `0x${part.toString(16)}` : part,
  );
  return message("", numbers, encoder.encode(text));
}

/** The text that a message's bytes are. */
export function messageText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Bytes of a message. */
export function encodeMessage({ device, numbers, bytes }: Message): Uint8Array<ArrayBuffer> {
  const name = encoder.encode(device);
  assert(name.length < 256 && numbers.length < 256, "a message's head is too long");
  const head = 2 + name.length + 8 * numbers.length;
  const out = new Uint8Array(head + bytes.length);
  const view = new DataView(out.buffer);
  out[0] = name.length;
  out.set(name, 1);
  out[1 + name.length] = numbers.length;
  numbers.forEach((n, i) => view.setFloat64(2 + name.length + 8 * i, n, true));
  out.set(bytes, head);
  return out;
}

/** Reads a message. Throws `Broken` when its lengths do not add up. */
export function decodeMessage(from: Uint8Array): Message {
  const view = new DataView(from.buffer, from.byteOffset, from.byteLength);
  const nameEnd = 1 + (from[0] ?? 255);
  const count = from[nameEnd];
  if (count === undefined) throw new Broken("a message ends inside its name");
  const head = nameEnd + 1 + 8 * count;
  if (head > from.length) throw new Broken("a message ends inside its numbers");
  const numbers = Array.from(
    { length: count },
    (_, i) => view.getFloat64(nameEnd + 1 + 8 * i, true),
  );
  return {
    device: decoder.decode(from.subarray(1, nameEnd)),
    numbers,
    bytes: from.subarray(head),
  };
}

/** Cuts bytes into parts that fit into a message. Nothing gives no part. */
export function* parts(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += MESSAGE_DATA_MAXIMUM) {
    yield bytes.subarray(at, at + MESSAGE_DATA_MAXIMUM);
  }
}
