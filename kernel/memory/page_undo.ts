/**
 * Going back: what RAM held at moments of the past, by copy-before-write ("One mechanism", design.md: the
 * trace `frozen`; S13, issue 4 "gdb, both directions"). Intervals follow each other; each keeps what a page
 * held when the interval began, from the page's first write in it on.
 *
 *     interval 0        interval 1        interval 2 (open)
 *     |-----------------|-----------------|----------> now
 *     begin()           begin()           begin()
 *
 * Invariants: while an interval is open, a page is frozen exactly if it was not written in it; a page is
 * kept at most once by each interval; copies never take more than the limit: the oldest intervals go first,
 * and the open one as well if it alone is too large. Undoing is no write of the guest: DirtyPages is told
 * nothing, whoever goes back restores its list too (machine/snapshot.ts). Between runs only.
 */
import { assert } from "../base/assert.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { PageArena } from "./page_arena.ts";
import { PAGE_FLAG, type PageFlags } from "./page_flags.ts";

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;
/** In place of a slot: the page held zeros. */
const ZEROS = -1;
/** Bytes that an interval takes for each page, beside its copy. */
const ENTRY_BYTES = 8;
/** Ranges of a code page that differ and lie closer than this are one. */
const NEAR_WORDS = 16;

/** What page undo needs of its VM. */
export interface PageUndoOptions {
  readonly buffer: ArrayBufferLike;
  readonly plan: MemoryPlan;
  readonly flags: PageFlags;
  /** Most bytes of copies. */
  readonly limitBytes: number;
  /** Whether a guest page holds zeros alone. */
  readonly isZero: (page: number) => boolean;
  /** Is told of bytes that undoing changed in pages with tables or code: drops what came from them. */
  readonly wrote: (gpa: number, length: number) => void;
}

/** An interval as told to its owner. */
export interface IntervalInfo {
  readonly interval: number;
  /** Pages that were written in it. */
  readonly pages: number;
  /** Bytes that it holds. */
  readonly bytes: number;
}

/** Pages that an interval keeps, in the order of their first writes. */
class Interval {
  pages = new Uint32Array(64);
  slots = new Int32Array(64);
  length = 0;
  copies = 0;

  constructor(readonly number: number) {}

  add(page: number, slot: number): void {
    if (this.length === this.pages.length) this.#grow();
    this.pages[this.length] = page;
    this.slots[this.length++] = slot;
    if (slot !== ZEROS) this.copies++;
  }

  get list(): Uint32Array {
    return this.pages.subarray(0, this.length);
  }

  #grow(): void {
    const pages = new Uint32Array(4 * this.pages.length);
    const slots = new Int32Array(4 * this.slots.length);
    pages.set(this.pages);
    slots.set(this.slots);
    this.pages = pages;
    this.slots = slots;
  }
}

/** The past of one VM's RAM. */
export class PageUndo {
  readonly #arena: PageArena;
  readonly #intervals: Interval[] = [];
  /** Marks pages that were met in a pass. */
  readonly #met: Uint32Array;
  #pass = 0;
  #next = 0;
  #running = false;

  constructor(private readonly options: PageUndoOptions) {
    const { buffer, plan, limitBytes } = options;
    this.#arena = new PageArena(buffer, plan, Math.floor(limitBytes / PAGE_BYTES));
    this.#met = new Uint32Array(plan.ramPages);
  }

  /** Bytes that all intervals hold. */
  get bytes(): number {
    const entries = this.#intervals.reduce((sum, { length }) => sum + length, 0);
    return this.#arena.used * PAGE_BYTES + entries * ENTRY_BYTES;
  }

  /** The intervals that can be undone, the oldest first. */
  get intervals(): IntervalInfo[] {
    return this.#intervals.map(({ number, length, copies }) => ({
      interval: number,
      pages: length,
      bytes: copies * PAGE_BYTES + length * ENTRY_BYTES,
    }));
  }

  /** Whether RAM can be put back to the begin of an interval. */
  has(interval: number): boolean {
    return this.#find(interval) >= 0;
  }

  /** Whether a guest page was written in an interval. */
  wrote(interval: number, page: number): boolean {
    return this.#intervals[this.#find(interval)]?.list.includes(page) ?? true;
  }

  /** How many intervals can be undone. */
  get count(): number {
    return this.#intervals.length;
  }

  /** Begins an interval; gives its number, which is larger than all before. */
  begin(): number {
    const { flags } = this.options;
    const open = this.#intervals.at(-1);
    if (!this.#running) {
      this.#running = true;
      assert(
        !flags.servesFirstWrites(PAGE_FLAG.frozen),
        "a live checkpoint has frozen this machine's pages: CopyAside.stop comes before snapshots",
      );
      flags.serveFirstWrites(PAGE_FLAG.frozen, (page) => this.#thaw(page));
    }
    flags.setOnRest(open?.list ?? flags.pagesWithout(PAGE_FLAG.frozen), PAGE_FLAG.frozen);
    const number = this.#next++;
    this.#intervals.push(new Interval(number));
    return number;
  }

  /** Puts RAM back to the begin of an interval, which is open and empty then; later ones are gone. */
  undoTo(interval: number): void {
    const index = this.#indexOf(interval);
    const thawed = this.#intervals.at(-1)!.list;
    const pass = this.#newPass();
    for (let i = index; i < this.#intervals.length; i++) {
      const { pages, slots, length } = this.#intervals[i]!;
      for (let at = 0; at < length; at++) {
        const page = pages[at]!;
        // The oldest interval knows what the page held at first.
        if (this.#met[page] === pass) continue;
        this.#met[page] = pass;
        this.#restore(page, slots[at]!);
      }
    }
    this.options.flags.setOnRest(thawed, PAGE_FLAG.frozen);
    for (const gone of this.#intervals.splice(index)) this.#release(gone);
    this.#intervals.push(new Interval(interval));
  }

  /** Joins an interval with the one behind it: its begin stays, the other's is forgotten. */
  merge(interval: number): void {
    const index = this.#indexOf(interval);
    const into = this.#intervals[index]!;
    const [from] = this.#intervals.splice(index + 1, 1);
    assert(from !== undefined, `no interval lies behind ${interval}`);
    const isOpen = index === this.#intervals.length - 1;
    const pass = this.#newPass();
    for (const page of into.list) {
      this.#met[page] = pass;
      // What the open interval keeps already is written without being asked.
      if (isOpen) this.options.flags.clear(page, PAGE_FLAG.frozen);
    }
    for (let at = 0; at < from.length; at++) {
      const page = from.pages[at]!;
      const slot = from.slots[at]!;
      if (this.#met[page] !== pass) into.add(page, slot);
      else if (slot !== ZEROS) this.#arena.release(slot);
    }
  }

  /** Forgets the oldest interval. */
  drop(): void {
    const oldest = this.#intervals.shift();
    if (oldest !== undefined) this.#release(oldest);
  }

  /** Forgets all intervals and gives their memory back; nothing is paid until the next `begin`. */
  stop(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#intervals.length = 0;
    this.#arena.clear();
    this.options.flags.endFirstWrites(PAGE_FLAG.frozen);
  }

  /** A frozen page is about to be written. */
  #thaw(page: number): void {
    if (this.#intervals.length === 0) return;
    const slot = this.options.isZero(page) ? ZEROS : this.#save(page);
    this.#intervals.at(-1)?.add(page, slot);
  }

  /** Makes room by forgetting; without any interval left there is nothing to add the page to. */
  #save(page: number): number {
    while (this.#arena.full && this.#intervals.length > 0) this.drop();
    return this.#intervals.length > 0 ? this.#arena.save(page) : ZEROS;
  }

  #restore(page: number, slot: number): void {
    const { plan, flags } = this.options;
    const traced = (flags.get(page) & (PAGE_FLAG.table | PAGE_FLAG.code)) !== 0;
    const ranges = traced ? this.#changedRanges(page, slot) : [];
    if (slot === ZEROS) this.#arena.zero(page);
    else this.#arena.load(slot, page);
    const start = plan.ramStart + page * PAGE_BYTES;
    for (const [first, end] of ranges) this.options.wrote(start + 4 * first, 4 * (end - first));
  }

  /** Words of a page that the copy would change, as ranges. */
  #changedRanges(page: number, slot: number): [first: number, end: number][] {
    const ranges: [first: number, end: number][] = [];
    for (let word = 0; word < PAGE_WORDS; word++) {
      if (!this.#arena.differs(slot, page, word)) continue;
      const last = ranges.at(-1);
      if (last !== undefined && word - last[1] < NEAR_WORDS) last[1] = word + 1;
      else ranges.push([word, word + 1]);
    }
    return ranges;
  }

  #release({ slots, length }: Interval): void {
    for (let at = 0; at < length; at++) {
      if (slots[at] !== ZEROS) this.#arena.release(slots[at]!);
    }
  }

  #indexOf(interval: number): number {
    const index = this.#find(interval);
    assert(index >= 0, `interval ${interval} is not kept`);
    return index;
  }

  /** Where an interval is, or -1; their numbers ascend. */
  #find(interval: number): number {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = low + high >> 1;
      if (this.#intervals[middle]!.number < interval) low = middle + 1;
      else high = middle;
    }
    return this.#intervals[low]?.number === interval ? low : -1;
  }

  #newPass(): number {
    if (this.#pass === 0xffff_ffff) this.#met.fill(this.#pass = 0);
    return ++this.#pass;
  }
}
