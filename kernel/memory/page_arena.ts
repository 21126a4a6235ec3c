/**
 * Copies of guest pages outside VM memory: chunks of slots of 4 KiB, pooled and bounded (S13; issue 4,
 * `--history-memory`).
 *
 * Invariant: no more slots are in use than the limit allows.
 */
import { assert } from "../base/assert.ts";
import type { MemoryPlan } from "./memory_plan.ts";

const PAGE_BYTES = 4096;
/** Slots of a chunk. */
const CHUNK_SLOTS = 256;

/** Copies of pages of one VM. */
export class PageArena {
  readonly #ram: Uint8Array;
  readonly #ramWords: Int32Array;
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  readonly #chunkWords: Int32Array<ArrayBuffer>[] = [];
  #free = new Int32Array(CHUNK_SLOTS);
  #freeCount = 0;
  #used = 0;

  /** @param limitSlots most pages that are kept */
  constructor(buffer: ArrayBufferLike, plan: MemoryPlan, private readonly limitSlots: number) {
    assert(Number.isSafeInteger(limitSlots) && limitSlots >= 0);
    this.#ram = new Uint8Array(buffer, plan.ram, plan.ramBytes);
    this.#ramWords = new Int32Array(buffer, plan.ram, plan.ramBytes / 4);
  }

  /** Slots in use. */
  get used(): number {
    return this.#used;
  }

  /** Whether no page can be kept any more. */
  get full(): boolean {
    return this.#used >= this.limitSlots;
  }

  /** Keeps a copy of a guest page; gives its slot. */
  save(page: number): number {
    assert(!this.full, "the arena has room");
    if (this.#freeCount === 0) this.#addChunk();
    const slot = this.#free[--this.#freeCount]!;
    this.#used++;
    const from = page * PAGE_BYTES;
    const at = slot % CHUNK_SLOTS * PAGE_BYTES;
    this.#chunks[slot / CHUNK_SLOTS | 0]!.set(this.#ram.subarray(from, from + PAGE_BYTES), at);
    return slot;
  }

  /** Copies a slot back to a guest page. */
  load(slot: number, page: number): void {
    const at = slot % CHUNK_SLOTS * PAGE_BYTES;
    const chunk = this.#chunks[slot / CHUNK_SLOTS | 0]!;
    this.#ram.set(chunk.subarray(at, at + PAGE_BYTES), page * PAGE_BYTES);
  }

  /** Fills a guest page with zeros. */
  zero(page: number): void {
    this.#ram.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  }

  /** Whether a word of a guest page differs from the copy; a negative slot stands for zeros. */
  differs(slot: number, page: number, word: number): boolean {
    const now = this.#ramWords[page * (PAGE_BYTES / 4) + word];
    if (slot < 0) return now !== 0;
    const at = slot % CHUNK_SLOTS * (PAGE_BYTES / 4) + word;
    return this.#chunkWords[slot / CHUNK_SLOTS | 0]![at] !== now;
  }

  /** Gives a slot back. */
  release(slot: number): void {
    if (this.#freeCount === this.#free.length) this.#growFree();
    this.#free[this.#freeCount++] = slot;
    this.#used--;
  }

  /** Gives all memory back to the host. */
  clear(): void {
    this.#chunks.length = this.#chunkWords.length = 0;
    this.#freeCount = this.#used = 0;
  }

  #addChunk(): void {
    const first = this.#chunks.length * CHUNK_SLOTS;
    const chunk = new Uint8Array(CHUNK_SLOTS * PAGE_BYTES);
    this.#chunks.push(chunk);
    this.#chunkWords.push(new Int32Array(chunk.buffer));
    for (let slot = first + CHUNK_SLOTS - 1; slot >= first; slot--) {
      this.#free[this.#freeCount++] = slot;
    }
  }

  #growFree(): void {
    const more = new Int32Array(2 * this.#free.length);
    more.set(this.#free);
    this.#free = more;
  }
}
