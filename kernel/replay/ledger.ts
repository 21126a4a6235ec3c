/**
 * Compares what a replay sends out with what the recording sent: the ledger, byte for byte (issue 4,
 * "Replay"; S20). Bytes of a port are compared as one stream, because where they were cut into outputs
 * depended on when somebody looked.
 *
 * Invariant: the first byte, frame or request that differs is the one that is reported.
 */
import { FormatError } from "../base/errors.ts";
import type { MachineOutput } from "../machine/outputs.ts";
import type { LogCursor, LogPlace } from "./log_reader.ts";
import { outputFields, type OutputRecord, readOutputRecord } from "./record_table.ts";

/** A place in a ledger that `goTo` can return to. */
export interface LedgerPlace {
  readonly cursor: LogPlace;
  readonly ahead: Ahead | undefined;
}

/** Bytes of a port that were recorded as one output and have only been replayed in part. */
interface Ahead {
  readonly port: string;
  readonly bytes: Uint8Array;
}

/** Goes through a recording's outputs beside a replay. */
export class Ledger {
  #ahead: Ahead | undefined;
  readonly #cursor: LogCursor;

  constructor(cursor: LogCursor) {
    this.#cursor = cursor;
  }

  /** Where it is. */
  get place(): LedgerPlace {
    return { cursor: this.#cursor.place, ahead: this.#ahead };
  }

  /** Goes to a place it was at. */
  goTo({ cursor, ahead }: LedgerPlace): void {
    this.#cursor.goTo(cursor);
    this.#ahead = ahead;
  }

  /**
   * Compares an output that leaves at an icount. Gives a sentence about what differs; undefined when
   * nothing does, or when the ledger is at its end (a cut one says nothing about what follows).
   */
  difference(output: MachineOutput, icount: number): string | undefined {
    if (output.kind === "bytes") return this.#bytes(output);
    if (this.#ahead !== undefined) {
      return `a ${output.kind} leaves; the recording sends more bytes of ${this.#ahead.port}`;
    }
    return this.#whole(output, icount);
  }

  /** A sentence about what the recording sends beyond this place; undefined when there is nothing. */
  missing(): string | undefined {
    if (this.#ahead !== undefined) return `the recording sends more bytes of ${this.#ahead.port}`;
    const raw = this.#cursor.peek();
    return raw && `the recording sends ${describe(readOutputRecord(raw))}`;
  }

  #bytes(output: MachineOutput & { readonly kind: "bytes" }): string | undefined {
    const port = `port ${output.port} of ${output.device}`;
    let { bytes } = output;
    while (bytes.length > 0) {
      const other = this.#ahead === undefined ? this.#advanceTo(port) : undefined;
      if (other !== undefined) return `${port} sends bytes; the recording sends ${other}`;
      const recorded = this.#ahead;
      if (recorded === undefined) return undefined;
      if (recorded.port !== port) {
        return `${port} sends bytes; the recording sends more bytes of ${recorded.port}`;
      }
      const count = Math.min(recorded.bytes.length, bytes.length);
      for (let i = 0; i < count; i++) {
        if (recorded.bytes[i] !== bytes[i]) {
          return `${port} sends the byte ${bytes[i]}; the recording sends ${recorded.bytes[i]}`;
        }
      }
      const rest = recorded.bytes.subarray(count);
      this.#ahead = rest.length === 0 ? undefined : { port, bytes: rest };
      bytes = bytes.subarray(count);
    }
    return undefined;
  }

  /** Takes the next recorded output, if it is bytes of this port; else gives what it is. */
  #advanceTo(port: string): string | undefined {
    const raw = this.#cursor.peek();
    if (raw === undefined) return undefined;
    const record = readOutputRecord(raw);
    const name = describe(record);
    if (record.type !== "console" || name !== `bytes of ${port}`) return name;
    this.#cursor.advance();
    if (record.bytes.length > 0) this.#ahead = { port, bytes: record.bytes };
    return undefined;
  }

  #whole(
    output: Exclude<MachineOutput, { kind: "bytes" }>,
    icount: number,
  ): string | undefined {
    const raw = this.#cursor.peek();
    if (raw === undefined) return undefined;
    this.#cursor.advance();
    const [kind, fields] = outputFields(output);
    const replayed = describe(readOutputRecord({ kind, stamp: output.stamp, fields }));
    const recorded = describe(readOutputRecord(raw));
    if (raw.stamp.icount !== icount) {
      return `${replayed} leaves at icount ${icount}; the recording sends ${recorded} at icount ` +
        `${raw.stamp.icount}`;
    }
    const difference = fields.findIndex((field, i) => !sameField(field, raw.fields[i]));
    if (raw.kind === kind && difference < 0) return undefined;
    return `${replayed} leaves; the recording sends ${recorded}` +
      (raw.kind === kind ? ` with another value in field ${difference}` : "");
  }
}

function describe(record: OutputRecord): string {
  switch (record.type) {
    case "console":
      return `bytes of port ${record.port} of ${record.device}`;
    case "frame":
      return `a frame of ${record.bytes.length} bytes of ${record.device}`;
    case "disk":
      return `a ${record.kind} of ${record.length} bytes at sector ${record.sector} of ${record.device}`;
    default:
      throw new FormatError("an output of no kind");
  }
}

function sameField(a: unknown, b: unknown): boolean {
  if (!(a instanceof Uint8Array) || !(b instanceof Uint8Array)) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
