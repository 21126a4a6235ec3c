/**
 * The cache of decoded pages: at most a fixed number of guest pages have their instructions predecoded;
 * the oldest ones make room (the interpreter tier's "decoded-instruction cache per page"). Who decodes is
 * decoder_code.ts.
 *
 * Invariants: a page with a decoded page carries the code trace, so that stores to it reach `dropCode`;
 * taking a decoded page away empties the fetch TLBs first. Nothing here is machine state.
 */
import { assert } from "../base/assert.ts";
import {
  DECODED_PAGE_BYTES,
  type MemoryPlan,
  PAGE_SLOTS,
  RECORD_BYTES,
} from "../memory/memory_plan.ts";
import { PAGE_FLAG, type PageFlags } from "../memory/page_flags.ts";
import { SPECIAL } from "./record_layout.ts";

/** Decoded pages of one VM. */
export class DecodedPages {
  readonly #index: Uint16Array;
  readonly #owner: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #regions: Uint8Array;
  readonly #operations: Uint16Array;
  readonly #pointSlots: Uint8Array;
  #used = 0;
  #oldest = 0;
  /** Slots that were in use at any time. */
  #touched = 0;
  #free: number[] = [];

  /**
   * @param flushAll empties all software TLBs
   */
  constructor(
    buffer: ArrayBufferLike,
    private readonly plan: MemoryPlan,
    private readonly flags: PageFlags,
    private readonly flushAll: () => void,
  ) {
    this.#index = new Uint16Array(buffer, plan.decodedIndex, plan.ramPages);
    this.#owner = new Uint32Array(buffer, plan.decodedOwner, plan.decodedPages);
    this.#bytes = new Uint8Array(buffer);
    this.#regions = new Uint8Array(buffer, plan.pageRegions, plan.ramPages);
    this.#operations = new Uint16Array(buffer, 0, plan.ram / 2);
    this.#pointSlots = new Uint8Array(buffer, plan.pointSlots, PAGE_SLOTS);
  }

  /** Address of the decoded page of a guest page, made empty when there is none. */
  pageAddress(page: number): number {
    const known = this.#index[page]!;
    if (known !== 0) return this.#address(known - 1);
    if (this.#free.length === 0 && this.#used === this.plan.decodedPages) this.#evict();
    const slot = this.#free.pop() ?? this.#used++;
    const address = this.#address(slot);
    // Memory that was never used is zero, and stays out of the host's until it is.
    if (slot < this.#touched) this.#bytes.fill(0, address, address + DECODED_PAGE_BYTES);
    this.#touched = Math.max(this.#touched, slot + 1);
    this.#index[page] = slot + 1;
    this.#owner[slot] = page;
    this.flags.set(page, PAGE_FLAG.code);
    return address;
  }

  /**
   * One bit for each halfword of a guest page: whether the instruction there was decoded, which means that
   * it has been near execution. Undefined when the page has no decoded page.
   */
  decodedBits(page: number): Uint8Array<ArrayBuffer> | undefined {
    const known = this.#index[page]!;
    if (known === 0) return undefined;
    const operations = this.#operations;
    const bits = new Uint8Array(PAGE_SLOTS / 8);
    const first = this.#address(known - 1) >> 1;
    for (let slot = 0; slot < PAGE_SLOTS; slot++) {
      if (operations[first + slot * (RECORD_BYTES / 2)] !== SPECIAL.undecoded) {
        bits[slot >> 3]! |= 1 << (slot & 7);
      }
    }
    return bits;
  }

  /** Lets instructions at a halfword of every page ask points first, or not any more. */
  setPoint(slot: number, asks: boolean): void {
    this.#pointSlots[slot] = asks ? 1 : 0;
    for (let number = 0; number < this.#touched; number++) {
      const address = this.#address(number) + slot * RECORD_BYTES;
      const operation = this.#operations[address >> 1]!;
      if (operation === SPECIAL.undecoded) continue;
      this.#bytes.fill(0, address, address + RECORD_BYTES);
      if (!asks) continue;
      const straddles = operation === SPECIAL.straddle;
      this.#operations[address >> 1] = straddles ? SPECIAL.straddlePoint : SPECIAL.point;
    }
  }

  /** Decoded pages that there are. */
  get pages(): number {
    return this.#used - this.#free.length;
  }

  /** Forgets everything, and gives where the memory lies that was used for it. Nobody uses that meanwhile. */
  leave(): { readonly from: number; readonly bytes: number } {
    this.clear();
    return { from: this.plan.decoded, bytes: this.#touched * DECODED_PAGE_BYTES };
  }

  /** All that was left is zero. */
  wasGivenBack(): void {
    assert(this.#used === 0, "nothing was decoded meanwhile");
    this.#touched = 0;
  }

  /** Forgets everything: after memory was replaced from outside (X3). */
  clear(): void {
    for (let slot = 0; slot < this.#used; slot++) this.#release(slot);
    this.#free = [];
    this.#used = 0;
    this.#oldest = 0;
    this.flushAll();
  }

  #address(slot: number): number {
    return this.plan.decoded + slot * DECODED_PAGE_BYTES;
  }

  #release(slot: number): void {
    const page = this.#owner[slot]!;
    if (this.#index[page] !== slot + 1) return;
    this.#index[page] = 0;
    if (this.#regions[page] === 0) this.flags.clear(page, PAGE_FLAG.code);
  }

  /** Takes the oldest eighth away at once, so that the TLBs are emptied rarely. */
  #evict(): void {
    this.flushAll();
    for (let i = 0; i < Math.max(1, this.plan.decodedPages >> 3); i++) {
      this.#release(this.#oldest);
      this.#free.push(this.#oldest);
      this.#oldest = (this.#oldest + 1) % this.plan.decodedPages;
    }
  }
}
