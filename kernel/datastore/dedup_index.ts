/**
 * Finds stored pages by their content: the first 128 bits of SHA-256, in an open-addressed table of words
 * (S17, "equal pages stored once": within a save, across checkpoints, across VMs).
 *
 * Invariants: what is found is in a pack of this generation; the table is never more than two thirds full
 * and never larger than its bound, beyond which pages are only stored more often than once. It is a hint: a
 * pack whose generation has changed makes it stale, and then it is made anew.
 */
import { assert } from "../base/assert.ts";
import { HASH_WORDS } from "../host/page_codec.ts";
import type { PackIdentity } from "./pack_format.ts";

/** Words of an entry: hash, number of the pack counted from 1 (0: none), page. */
const ENTRY_WORDS = HASH_WORDS + 2;
const SLOTS_FIRST = 2 ** 14;
/** Most slots by default: 96 MiB of table, for 11 GiB of pages that differ. */
const SLOTS_MAXIMUM = 2 ** 22;

/** The hashes of a pack's pages. */
export interface PackHashes extends PackIdentity {
  /** Four words for each page. */
  readonly hashes: Uint32Array;
  /** Numbers of the pages; undefined: page n has number n. */
  readonly numbers?: Uint32Array | undefined;
}

/** A table as plain data: its words can be moved to another worker. */
export interface DedupState {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly count: number;
  readonly packs: readonly PackIdentity[];
  readonly slotsMaximum: number;
}

/** The table. */
export class DedupIndex {
  #words: Uint32Array<ArrayBuffer>;
  #slots: number;
  #count = 0;
  readonly #slotsMaximum: number;
  readonly #packs: PackIdentity[] = [];
  readonly #numbers = new Map<string, number>();

  /** @param from state of a table that is moved here, or how large it may become: a power of two */
  constructor(from: DedupState | { readonly slotsMaximum?: number } = {}) {
    this.#slotsMaximum = from.slotsMaximum ?? SLOTS_MAXIMUM;
    assert((this.#slotsMaximum & this.#slotsMaximum - 1) === 0, "slots are a power of two");
    if ("words" in from) {
      this.#words = from.words;
      this.#count = from.count;
      for (const pack of from.packs) this.pack(pack);
    } else {
      this.#words = new Uint32Array(ENTRY_WORDS * Math.min(SLOTS_FIRST, this.#slotsMaximum));
    }
    this.#slots = this.#words.length / ENTRY_WORDS;
  }

  /** Pages in it. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the table. */
  get bytes(): number {
    return this.#words.byteLength;
  }

  /** Its state, which is moved away: the table is not to be used any more. */
  take(): DedupState {
    const state = {
      words: this.#words,
      count: this.#count,
      packs: [...this.#packs],
      slotsMaximum: this.#slotsMaximum,
    };
    this.#words = new Uint32Array(0);
    this.#slots = 0;
    return state;
  }

  /** Number of a pack, which is given one if it has none. */
  pack(pack: PackIdentity): number {
    let number = this.#numbers.get(pack.id);
    if (number === undefined) {
      number = this.#packs.push(pack) - 1;
      this.#numbers.set(pack.id, number);
    }
    return number;
  }

  /** Id of a pack by its number. */
  packId(number: number): string {
    return this.#packs[number]!.id;
  }

  /** Whether a pack that is in it is gone, or has changed: then it is to be made anew. */
  isStale(packs: readonly PackIdentity[]): boolean {
    const now = new Map(packs.map(({ id, generation }) => [id, generation]));
    return this.#packs.some(({ id, generation }) => now.get(id) !== generation);
  }

  /** Those of the packs that are not in it yet. */
  missing<T extends PackIdentity>(packs: readonly T[]): T[] {
    return packs.filter(({ id }) => !this.#numbers.has(id));
  }

  /** Adds a pack's pages. */
  addPack(pack: PackHashes): void {
    const { hashes, numbers } = pack;
    const number = this.pack({ id: pack.id, generation: pack.generation });
    for (let page = 0; page < hashes.length / HASH_WORDS; page++) {
      this.add(hashes, HASH_WORDS * page, number, numbers?.[page] ?? page);
    }
  }

  /** Slot of a hash; -1 when it is not there. */
  find(hashes: Uint32Array, at: number): number {
    const slot = this.#slotOf(hashes, at);
    return this.#words[slot * ENTRY_WORDS + HASH_WORDS] === 0 ? -1 : slot;
  }

  /** Number of the pack of a slot that `find` gave. */
  packAt(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + HASH_WORDS]! - 1;
  }

  /** Page in its pack of a slot that `find` gave. */
  pageAt(slot: number): number {
    return this.#words[slot * ENTRY_WORDS + HASH_WORDS + 1]!;
  }

  /** Adds a page, unless an equal one is there or there is no more room. */
  add(hashes: Uint32Array, at: number, pack: number, page: number): void {
    if (3 * this.#count >= 2 * this.#slots && !this.#grow()) return;
    const start = this.#slotOf(hashes, at) * ENTRY_WORDS;
    const words = this.#words;
    if (words[start + HASH_WORDS] !== 0) return;
    for (let i = 0; i < HASH_WORDS; i++) words[start + i] = hashes[at + i]!;
    words[start + HASH_WORDS] = pack + 1;
    words[start + HASH_WORDS + 1] = page;
    this.#count++;
  }

  /** The slot that a hash is in, or the free one where it belongs. */
  #slotOf(hashes: Uint32Array, at: number): number {
    const words = this.#words;
    const mask = this.#slots - 1;
    const [a, b, c, d] = [hashes[at]!, hashes[at + 1]!, hashes[at + 2]!, hashes[at + 3]!];
    for (let slot = a & mask;; slot = slot + 1 & mask) {
      const start = slot * ENTRY_WORDS;
      if (words[start + HASH_WORDS] === 0) return slot;
      const same = words[start] === a && words[start + 1] === b && words[start + 2] === c &&
        words[start + 3] === d;
      if (same) return slot;
    }
  }

  #grow(): boolean {
    if (2 * this.#slots > this.#slotsMaximum) return false;
    const old = this.#words;
    this.#slots *= 2;
    this.#words = new Uint32Array(ENTRY_WORDS * this.#slots);
    for (let start = 0; start < old.length; start += ENTRY_WORDS) {
      if (old[start + HASH_WORDS] === 0) continue;
      const to = this.#slotOf(old, start) * ENTRY_WORDS;
      this.#words.set(old.subarray(start, start + ENTRY_WORDS), to);
    }
    return true;
  }
}
