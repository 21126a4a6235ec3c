/**
 * Where a replay's nondeterminism buffer is refilled from: the log's records of what instructions read of
 * the host's time and entropy (S20.5).
 *
 * Invariant: entries come in the order in which they were made; a place is how many were taken before.
 */
import { NONDET_ENTRY_BYTES } from "../memory/nondet_buffer.ts";
import type { NondetPort } from "../machine/nondeterminism.ts";
import type { LogReader } from "./log_reader.ts";
import { EVENT_RECORD, readEventRecord } from "./record_table.ts";

const NOTHING = new Uint8Array(0);

/** Reads the entries of a log. */
export class NondetSource implements NondetPort {
  #cursor;
  /** Entries of the record that was begun. */
  #rest: Uint8Array = NOTHING;

  constructor(private readonly log: LogReader) {
    this.#cursor = log.cursor();
  }

  full(): void {
    // A replay makes no entries.
  }

  refill(into: Uint8Array): number {
    let filled = 0;
    while (filled < into.length && this.#next()) {
      const part = this.#rest.subarray(0, into.length - filled);
      into.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return filled / NONDET_ENTRY_BYTES;
  }

  /** Goes to where so many entries were taken. */
  goTo(entries: number): void {
    this.#cursor = this.log.cursor();
    this.#rest = NOTHING;
    let left = entries * NONDET_ENTRY_BYTES;
    while (left > 0 && this.#next()) {
      const skipped = Math.min(left, this.#rest.length);
      this.#rest = this.#rest.subarray(skipped);
      left -= skipped;
    }
  }

  /** Makes sure that there are entries, if the log has any more. */
  #next(): boolean {
    while (this.#rest.length === 0) {
      const raw = this.#cursor.peek();
      if (raw === undefined) return false;
      this.#cursor.advance();
      if (raw.kind !== EVENT_RECORD.nondeterminism) continue;
      const record = readEventRecord(raw);
      if (record.type === "nondeterminism") this.#rest = record.entries;
    }
    return true;
  }
}
