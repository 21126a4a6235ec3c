/**
 * TABLE of the records of a recording: what they are called in the log, and how their fields are read
 * back (design.md, "Records"; S1.2, S20). A record is a msgpack array: kind, icount and ticks since the
 * record before (or the cluster's start), hart, then the fields in the order below.
 *
 * Invariant: a record that does not decode exactly is a FormatError; what comes out is typed and within
 * its ranges. Kinds are never given another meaning: a new one gets a new number.
 */
import { crc32 } from "../base/checksum.ts";
import { FormatError } from "../base/errors.ts";
import { GENERATION_BYTES, MAC_BYTES } from "../base/identity.ts";
import type { Stamp, VmEvent } from "../machine/event.ts";
import type { MachineOutput } from "../machine/outputs.ts";
import { NONDET_ENTRY_BYTES } from "../memory/nondet_buffer.ts";

/** Kinds of records of the event log. */
export const EVENT_RECORD = {
  /** device, port, bytes, taken */
  console: 1,
  /** device, bytes */
  frame: 2,
  /** device, port, columns, rows */
  resize: 3,
  /** device, tag, status */
  disk: 4,
  /** ticks, rate */
  time: 5,
  /** bytes */
  entropy: 6,
  /** generation, mac, entropy */
  identity: 7,
  /** wall clock in nanoseconds as text */
  wall: 8,
  /** entries of the nondeterminism buffer, in the order in which they were made */
  nondeterminism: 16,
  /** digests of the state, see epochs.ts */
  epoch: 17,
  /** The guest reset itself and starts again: wall clock in nanoseconds as text */
  reset: 18,
  /** The recording ends: why, code */
  end: 19,
  /** Nothing came in up to here */
  reached: 20,
} as const;

/** Kinds of records of the output ledger. */
export const OUTPUT_RECORD = {
  /** device, port, bytes */
  console: 64,
  /** device, bytes */
  frame: 65,
  /** device, tag, kind, sector, length, CRC-32 of what is written (0 for other requests) */
  disk: 66,
} as const;

/** A record of the event log. */
export type EventRecord =
  | { readonly type: "event"; readonly event: VmEvent; readonly taken: number }
  | { readonly type: "nondeterminism"; readonly entries: Uint8Array }
  | { readonly type: "epoch"; readonly fields: readonly unknown[] }
  | { readonly type: "reset"; readonly wallStart: bigint }
  | { readonly type: "reached" }
  | { readonly type: "end"; readonly why: EndCause; readonly code: number };

/** Why a recording ended. */
export type EndCause = "power-off" | "reset" | "stopped" | "failed";
const END_CAUSES: readonly EndCause[] = ["power-off", "reset", "stopped", "failed"];

/** A record of the output ledger. */
export type OutputRecord =
  | {
    readonly type: "console";
    readonly device: string;
    readonly port: number;
    readonly bytes: Uint8Array;
  }
  | { readonly type: "frame"; readonly device: string; readonly bytes: Uint8Array }
  | {
    readonly type: "disk";
    readonly device: string;
    readonly tag: number;
    readonly kind: string;
    readonly sector: number;
    readonly length: number;
    readonly checksum: number;
  };

/** A record as it lies in a cluster, with its stamp. */
export interface RawRecord {
  readonly kind: number;
  readonly stamp: Stamp;
  readonly fields: readonly unknown[];
}

/** Takes fields in order and checks each. */
class FieldReader {
  #next = 0;

  constructor(private readonly fields: readonly unknown[], private readonly kind: number) {}

  integer(least = 0, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.fields[this.#next++];
    if (
      typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most
    ) {
      return value;
    }
    throw this.#wrong(`a whole number from ${least} to ${most}`);
  }

  text(most = 256): string {
    const value = this.fields[this.#next++];
    if (typeof value === "string" && value.length <= most) return value;
    throw this.#wrong("a text");
  }

  bytes(): Uint8Array {
    const value = this.fields[this.#next++];
    if (value instanceof Uint8Array) return value;
    throw this.#wrong("bytes");
  }

  /** So many bytes. */
  bytesOf(length: number): Uint8Array {
    const value = this.bytes();
    if (value.length === length) return value;
    throw this.#wrong(`${length} bytes`);
  }

  /** A wall clock: 64 bits as text. */
  nanoseconds(): bigint {
    const text = this.text();
    if (/^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) return BigInt(text);
    throw this.#wrong("a wall clock in nanoseconds");
  }

  end(): void {
    if (this.#next !== this.fields.length) throw this.#wrong("no further field");
  }

  #wrong(expected: string): FormatError {
    return new FormatError(`record of kind ${this.kind}: field ${this.#next} is not ${expected}`);
  }
}

/** Kind and fields of an event. */
export function eventFields(event: VmEvent, taken: number): [kind: number, fields: unknown[]] {
  switch (event.kind) {
    case "console":
      return [EVENT_RECORD.console, [event.device, event.port, event.bytes, taken]];
    case "frame":
      return [EVENT_RECORD.frame, [event.device, event.bytes]];
    case "resize":
      return [EVENT_RECORD.resize, [event.device, event.port, event.columns, event.rows]];
    case "disk":
      return [EVENT_RECORD.disk, [event.device, event.tag, event.status]];
    case "time":
      return [EVENT_RECORD.time, [event.ticks, event.rate]];
    case "entropy":
      return [EVENT_RECORD.entropy, [event.bytes]];
    case "identity":
      return [EVENT_RECORD.identity, [event.generation, event.mac, event.entropy]];
    case "wall":
      return [EVENT_RECORD.wall, [`${event.wallStart}`]];
  }
}

/** Kind and fields of an output. */
export function outputFields(output: MachineOutput): [kind: number, fields: unknown[]] {
  switch (output.kind) {
    case "bytes":
      return [OUTPUT_RECORD.console, [output.device, output.port, output.bytes]];
    case "frame":
      return [OUTPUT_RECORD.frame, [output.device, output.bytes]];
    case "disk": {
      const { tag, kind, sector, length, data } = output.request;
      const checksum = data === undefined ? 0 : crc32(data);
      return [OUTPUT_RECORD.disk, [`disk${output.disk}`, tag, kind, sector, length, checksum]];
    }
  }
}

/** Reads a record of the event log. Throws FormatError. */
export function readEventRecord({ kind, fields }: RawRecord): EventRecord {
  const from = new FieldReader(fields, kind);
  const record = readEvent(kind, fields, from);
  if (record.type !== "epoch") from.end();
  return record;
}

function readEvent(kind: number, fields: readonly unknown[], from: FieldReader): EventRecord {
  const one = (event: VmEvent, taken = 1): EventRecord => ({ type: "event", event, taken });
  switch (kind) {
    case EVENT_RECORD.console: {
      const event: VmEvent = {
        kind: "console",
        device: from.text(),
        port: from.integer(0, 255),
        bytes: from.bytes(),
      };
      return one(event, from.integer(0, event.bytes.length));
    }
    case EVENT_RECORD.frame:
      return one({ kind: "frame", device: from.text(), bytes: from.bytes() });
    case EVENT_RECORD.resize:
      return one({
        kind: "resize",
        device: from.text(),
        port: from.integer(0, 255),
        columns: from.integer(0, 0xffff),
        rows: from.integer(0, 0xffff),
      });
    case EVENT_RECORD.disk:
      return one({
        kind: "disk",
        device: from.text(),
        tag: from.integer(0, 0xffff),
        status: from.integer(0, 255),
      });
    case EVENT_RECORD.time:
      return one({ kind: "time", ticks: from.integer(), rate: from.integer(1, 2 ** 32) });
    case EVENT_RECORD.entropy:
      return one({ kind: "entropy", bytes: from.bytes() });
    case EVENT_RECORD.identity:
      return one({
        kind: "identity",
        generation: from.bytesOf(GENERATION_BYTES),
        mac: from.bytesOf(MAC_BYTES),
        entropy: from.bytes(),
      });
    case EVENT_RECORD.wall:
      return one({ kind: "wall", wallStart: from.nanoseconds() });
    case EVENT_RECORD.nondeterminism: {
      const entries = from.bytes();
      if (entries.length % NONDET_ENTRY_BYTES !== 0) {
        throw new FormatError(`${entries.length} bytes are no whole entries of the buffer`);
      }
      return { type: "nondeterminism", entries };
    }
    case EVENT_RECORD.epoch:
      return { type: "epoch", fields };
    case EVENT_RECORD.reset: {
      return { type: "reset", wallStart: from.nanoseconds() };
    }
    case EVENT_RECORD.reached:
      return { type: "reached" };
    case EVENT_RECORD.end: {
      const why = from.text();
      const cause = END_CAUSES.find((known) => known === why);
      if (cause === undefined) throw new FormatError(`a recording's end has the cause "${why}"`);
      return { type: "end", why: cause, code: from.integer(0, 2 ** 32) };
    }
    default:
      throw new FormatError(`record of kind ${kind}: there is no such kind of event record`);
  }
}

/** Reads a record of the output ledger. Throws FormatError. */
export function readOutputRecord({ kind, fields }: RawRecord): OutputRecord {
  const from = new FieldReader(fields, kind);
  const record = readOutput(kind, from);
  from.end();
  return record;
}

function readOutput(kind: number, from: FieldReader): OutputRecord {
  switch (kind) {
    case OUTPUT_RECORD.console: {
      const device = from.text();
      return { type: "console", device, port: from.integer(0, 255), bytes: from.bytes() };
    }
    case OUTPUT_RECORD.frame:
      return { type: "frame", device: from.text(), bytes: from.bytes() };
    case OUTPUT_RECORD.disk:
      return {
        type: "disk",
        device: from.text(),
        tag: from.integer(0, 0xffff),
        kind: from.text(),
        sector: from.integer(),
        length: from.integer(),
        checksum: from.integer(0, 0xffff_ffff),
      };
    default:
      throw new FormatError(`record of kind ${kind}: there is no such kind of output record`);
  }
}
