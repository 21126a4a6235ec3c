/**
 * The cache of decoded pages: at most a fixed number of guest pages have their instructions predecoded;
 * the oldest ones make room (the interpreter tier's "decoded-instruction cache per page").
 *
 * Invariants: a page with a decoded page carries the code trace, so that stores to it reach `dropCode`;
 * taking a decoded page away empties the fetch TLBs first. Nothing here is machine state.
 */
import { assert } from "../base/assert.ts";
import {
  DECODED_PAGE_BYTES,
  DECODED_SLOTS,
  type MemoryPlan,
  RECORD_BYTES,
} from "../memory/memory_plan.ts";
import { PAGE_FLAG, type PageFlags } from "../memory/page_flags.ts";
import { decode, newDecoded } from "./isa/decode.ts";
import { ENDS_RUN, RecordWriter, SPECIAL } from "./records.ts";

/** Halfwords of a page. */
const PAGE_SLOTS = 2048;

/** Most instructions decoded ahead of the one asked for. */
const DECODE_AHEAD = 24;

/** Decoded pages of one VM. */
export class DecodedPages {
  readonly #index: Uint16Array;
  readonly #owner: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #regions: Uint8Array;
  readonly #halves: Uint16Array;
  readonly #operations: Uint16Array;
  readonly #writer: RecordWriter;
  readonly #decoded = newDecoded();
  /** 1 for each halfword of a page at which instructions ask points first, on whatever page. */
  readonly #pointSlots = new Uint8Array(PAGE_SLOTS);
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
    this.#halves = new Uint16Array(buffer, plan.ram, plan.ramBytes / 2);
    this.#operations = new Uint16Array(buffer, 0, plan.ram / 2);
    this.#writer = new RecordWriter(buffer);
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

  /** Decodes the instruction of a record and those that follow it until control may leave. */
  decodeAt(record: number, decodedPage: number): void {
    const slotOfPage = (decodedPage - this.plan.decoded) / DECODED_PAGE_BYTES;
    const page = this.#owner[slotOfPage]!;
    let slot = (record - decodedPage) / RECORD_BYTES;
    assert(slot >= 0 && slot < DECODED_SLOTS, "a record lies in its page");
    // Most pages are never left by their end, and so touch no memory of the host for it.
    if (slot >= PAGE_SLOTS) return this.#writer.special(record, SPECIAL.pageEnd);
    for (let count = 0; count < DECODE_AHEAD && slot < PAGE_SLOTS; count++) {
      const address = decodedPage + slot * RECORD_BYTES;
      if (this.#operations[address >> 1] !== SPECIAL.undecoded) return;
      const low = this.#halves[page * PAGE_SLOTS + slot]!;
      if ((low & 3) === 3 && slot === 2047) {
        const asks = this.#pointSlots[slot] !== 0;
        return this.#writer.special(address, asks ? SPECIAL.straddlePoint : SPECIAL.straddle);
      }
      const row = this.#decode(page, slot);
      if (this.#pointSlots[slot] !== 0) this.#writer.special(address, SPECIAL.point);
      else this.#writer.instruction(address, this.#decoded, slot * 2);
      if (row < 0 || ENDS_RUN[row]) return;
      slot += this.#decoded.length / 2;
    }
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

  /** Decodes an instruction that lies on two pages into the straddle records. */
  decodeStraddle(bits: number): void {
    const address = this.plan.straddle;
    decode(bits, this.#decoded);
    this.#writer.instruction(address, this.#decoded, -1);
    this.#writer.special(address + 2 * RECORD_BYTES, SPECIAL.pageEnd);
  }

  /** Decodes the instruction behind a point, on one page, into the straddle records. */
  decodePoint(record: number, decodedPage: number): void {
    const page = this.#owner[(decodedPage - this.plan.decoded) / DECODED_PAGE_BYTES]!;
    this.#decode(page, (record - decodedPage) / RECORD_BYTES);
    const address = this.plan.straddle;
    this.#writer.instruction(address, this.#decoded, -1);
    const next = address + this.#decoded.length / 2 * RECORD_BYTES;
    this.#writer.special(next, SPECIAL.pageEnd);
  }

  /** Lets instructions at a halfword of every page ask points first, or not any more. */
  setPoint(slot: number, asks: boolean): void {
    this.#pointSlots[slot] = asks ? 1 : 0;
    for (let number = 0; number < this.#touched; number++) {
      const address = this.#address(number) + slot * RECORD_BYTES;
      const operation = this.#operations[address >> 1]!;
      if (operation === SPECIAL.undecoded) continue;
      if (!asks) this.#bytes.fill(0, address, address + RECORD_BYTES);
      else {
        const straddles = operation === SPECIAL.straddle;
        this.#writer.special(address, straddles ? SPECIAL.straddlePoint : SPECIAL.point);
      }
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

  #decode(page: number, slot: number): number {
    const low = this.#halves[page * PAGE_SLOTS + slot]!;
    const high = (low & 3) === 3 ? this.#halves[page * PAGE_SLOTS + slot + 1]! : 0;
    return decode(high << 16 | low, this.#decoded);
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
