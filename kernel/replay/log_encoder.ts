/**
 * Makes clusters of records, in the VM world: the writing half of the log that knows no files.
 *
 * Invariant: stamps never go back, so differences are small and a cluster can be read by itself.
 */
import { Encoder } from "@msgpack/msgpack";
import { assert } from "../base/assert.ts";
import type { Stamp } from "../machine/event.ts";
import type { Cluster } from "./log_format.ts";

const FIRST_BYTES = 16 * 1024;

/** Collects records into a cluster. */
export class LogEncoder {
  readonly #encoder = new Encoder();
  #bytes = new Uint8Array(FIRST_BYTES);
  #length = 0;
  #start = { icount: 0, ticks: 0 };
  #last = { icount: 0, ticks: 0 };

  /** Bytes of the cluster so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds a record. */
  add(kind: number, stamp: Stamp, fields: readonly unknown[]): void {
    const { icount, ticks, hart } = stamp;
    if (this.#length === 0) this.#start = this.#last = { icount, ticks };
    assert(icount >= this.#last.icount, "a record's place lies before the last one's");
    const differences = [icount - this.#last.icount, ticks - this.#last.ticks];
    const record = this.#encoder.encodeSharedRef([kind, ...differences, hart, ...fields]);
    if (this.#length + record.length > this.#bytes.length) this.#grow(record.length);
    this.#bytes.set(record, this.#length);
    this.#length += record.length;
    this.#last = { icount, ticks };
  }

  /** Takes the cluster, if there is anything in it. Its bytes are the caller's. */
  take(): Cluster | undefined {
    if (this.#length === 0) return undefined;
    const cluster = { ...this.#start, bytes: this.#bytes.slice(0, this.#length) };
    this.#length = 0;
    return cluster;
  }

  #grow(more: number): void {
    const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + more));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
  }
}
