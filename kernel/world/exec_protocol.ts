/**
 * The protocol between the kernel world and the agent in a guest that runs commands for it, over a
 * byte stream (port "org.chronovisor.exec" of the virtio console).
 *
 * A frame is a line of text and a payload, so that an agent can be a shell script as well as a program:
 *
 *     KIND ID LENGTH \n payload          for example "X 1 8\nuname\0-a"
 *
 * KIND is one letter of the table below, ID (which command) and LENGTH (of the payload) are decimal.
 *
 * Invariants: at most EXEC_WINDOW bytes of a command's stdin are on their way or waiting in the agent
 * (it says with "taken" what it passed on), so an agent never has to stop reading frames; a payload is
 * at most EXEC_PAYLOAD_BYTES long. Bytes of a frame that make no sense are skipped up to the next line.
 */
import { concatBytes } from "../base/bytes.ts";

/** TABLE of frame kinds. */
export const EXEC_FRAME = {
  /** Agent: it is there; the payload is its version. Command 0. */
  hello: "H",
  /** Kernel: run a program; the payload is its arguments with a zero byte between them. */
  start: "X",
  /** Kernel: bytes for the command's stdin. */
  stdin: "I",
  /** Kernel: stdin ends; no payload. */
  stdinEnd: "E",
  /** Kernel: send the command a signal; the payload is its number in decimal. */
  signal: "K",
  /** Kernel: the terminal's size, "COLUMNS ROWS" in decimal. Command 0. */
  size: "W",
  /**
   * Kernel, to an agent of version 2: who the guest is now, and what time. Three lines of text, an empty one
   * leaves what is there: hostname, MAC address of eth0 ("02:00:00:00:00:00"), wall clock in nanoseconds since
   * 1970 (decimal); then bytes of entropy. Command 0. Answered with `identified`.
   */
  identity: "N",
  /** Agent: the frame was obeyed; the payload names what the guest refused, with a space between. Command 0. */
  identified: "A",
  /** Agent: so many bytes of stdin went to the command (or were dropped); decimal. */
  taken: "T",
  /** Agent: bytes of the command's stdout. */
  stdout: "O",
  /** Agent: bytes of the command's stderr. */
  stderr: "R",
  /** Agent: the command ended and all its output was sent; its exit status in decimal. */
  exit: "Q",
  /** Agent: the command could not be started; the reason as text. */
  refused: "F",
} as const;

/** One of the kinds. */
export type ExecFrameKind = (typeof EXEC_FRAME)[keyof typeof EXEC_FRAME];

/** First version of agents that know the frame `identity`. */
export const IDENTITY_AGENT_VERSION = 2;

/** Most payload bytes of one frame. */
export const EXEC_PAYLOAD_BYTES = 32 * 1024;
/** Bytes of stdin that may be unread for one command. */
export const EXEC_WINDOW = 64 * 1024;

/** A frame. */
export interface ExecFrame {
  /** What it is. */
  readonly kind: ExecFrameKind;
  /** Number of the command. */
  readonly id: number;
  /** Its payload. */
  readonly payload: Uint8Array;
}

const KINDS = new Set<string>(Object.values(EXEC_FRAME));
const NEWLINE = 0x0a;
/** A header is shorter than this; a longer line is noise. */
const MOST_HEADER_BYTES = 32;
/** Most bytes of a frame that is not complete: its header, the line's end and a payload. */
export const EXEC_UNFINISHED_MAXIMUM = MOST_HEADER_BYTES + 1 + EXEC_PAYLOAD_BYTES;

/** Bytes of a frame. */
export function encodeExecFrame({ kind, id, payload }: ExecFrame): Uint8Array {
  const header = new TextEncoder().encode(`${kind} ${id} ${payload.length}\n`);
  return concatBytes([header, payload]);
}

/** The decimal number that a payload is; NaN when it is none. */
export function execNumber(payload: Uint8Array): number {
  const text = new TextDecoder().decode(payload).trim();
  return /^\d{1,9}$/.test(text) ? Number(text) : NaN;
}

/** Cuts a stream of bytes into frames. Never throws: what is no frame is skipped. */
export class ExecFrameReader {
  #rest: Uint8Array = new Uint8Array(0);

  /** Bytes of a frame that is not complete yet: at most EXEC_UNFINISHED_MAXIMUM. */
  get rest(): Uint8Array {
    return this.#rest;
  }

  /** Takes the next bytes; gives the frames that are complete by now. */
  push(bytes: Uint8Array): ExecFrame[] {
    const all = this.#rest.length === 0 ? bytes : concatBytes([this.#rest, bytes]);
    const frames: ExecFrame[] = [];
    let at = 0;
    for (;;) {
      const end = all.indexOf(NEWLINE, at);
      if (end < 0) {
        // Without a line's end within a header's length this is noise, up to the line's end to come.
        if (all.length - at > MOST_HEADER_BYTES) at = all.length - MOST_HEADER_BYTES;
        break;
      }
      const header = parseHeader(all.subarray(at, end));
      if (header === undefined) {
        at = end + 1;
        continue;
      }
      const stop = end + 1 + header.length;
      if (stop > all.length) break;
      frames.push({ kind: header.kind, id: header.id, payload: all.slice(end + 1, stop) });
      at = stop;
    }
    this.#rest = all.slice(at);
    return frames;
  }
}

function parseHeader(
  line: Uint8Array,
): { readonly kind: ExecFrameKind; readonly id: number; readonly length: number } | undefined {
  if (line.length > MOST_HEADER_BYTES) return undefined;
  const match = /^([A-Z]) (\d{1,9}) (\d{1,6})\r?$/.exec(new TextDecoder().decode(line));
  if (match === null || !KINDS.has(match[1]!)) return undefined;
  const length = Number(match[3]);
  if (length > EXEC_PAYLOAD_BYTES) return undefined;
  return { kind: match[1] as ExecFrameKind, id: Number(match[2]), length };
}
