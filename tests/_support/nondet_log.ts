/**
 * A log of nondeterministic results in memory, and hosts whose time and entropy depend on a seed alone.
 */
import { Prng } from "../../kernel/base/prng.ts";
import type { HostSource, NondetPort } from "../../kernel/machine/nondeterminism.ts";
import { NONDET_ENTRY_BYTES } from "../../kernel/memory/nondet_buffer.ts";

/** One result. */
export interface Entry {
  readonly value: bigint;
  readonly kind: number;
  readonly hart: number;
}

/** Keeps what is recorded, and gives it back in the same order. */
export class MemoryLog implements NondetPort {
  readonly #parts: Uint8Array[] = [];
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #at = 0;

  /** @param bytes what it holds already */
  constructor(bytes?: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  full(entries: Uint8Array): void {
    this.#parts.push(entries.slice());
  }

  refill(into: Uint8Array): number {
    const part = this.bytes.subarray(this.#at, this.#at + into.length);
    into.set(part);
    this.#at += part.length;
    return part.length / NONDET_ENTRY_BYTES;
  }

  /** All that was recorded. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes !== undefined && this.#parts.length === 0) return this.#bytes;
    const parts = [...this.#bytes === undefined ? [] : [this.#bytes], ...this.#parts.splice(0)];
    const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return this.#bytes = all;
  }

  /** Number of entries. */
  get length(): number {
    return this.bytes.length / NONDET_ENTRY_BYTES;
  }

  /** An entry. */
  entry(index: number): Entry {
    const view = new DataView(this.bytes.buffer, index * NONDET_ENTRY_BYTES, NONDET_ENTRY_BYTES);
    return {
      value: view.getBigUint64(0, true),
      kind: view.getUint32(8, true),
      hart: view.getUint32(12, true),
    };
  }

  /** The same with one entry changed, to be replayed. */
  changed(index: number, change: Partial<Entry>): MemoryLog {
    const bytes = this.bytes.slice();
    const view = new DataView(bytes.buffer, index * NONDET_ENTRY_BYTES, NONDET_ENTRY_BYTES);
    const { value, kind, hart } = { ...this.entry(index), ...change };
    view.setBigUint64(0, value, true);
    view.setUint32(8, kind, true);
    view.setUint32(12, hart, true);
    return new MemoryLog(bytes);
  }

  /** The first entries, to be replayed. */
  first(entries = this.length): MemoryLog {
    return new MemoryLog(this.bytes.slice(0, entries * NONDET_ENTRY_BYTES));
  }
}

/** A host whose time goes on by chance with each look. */
export function randomHost(seed: number): HostSource {
  const rng = new Prng(seed);
  let now = 0;
  return {
    ticks: () => now += rng.below(rng.pick([2, 10, 1000])),
    entropy16: () => rng.below(65536),
  };
}

/** A host that must not be asked. */
export const absentHost: HostSource = {
  ticks() {
    throw new Error("the host's time was read");
  },
  entropy16() {
    throw new Error("the host's entropy was read");
  },
};
