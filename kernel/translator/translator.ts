/**
 * The translator tier of one VM: collects hot places, orders regions for them in batches, places what was
 * made, and drops regions whose code is written (design.md "Execution"; S12, S21).
 *
 * Invariants: nothing here is machine state, and when a region appears or goes is never visible to the
 * guest; a jump-cache entry exists only while the fetch TLB's answers for all pages of its region hold.
 */
import type { Core, RegionService } from "../cpu/core.ts";
import { markIndex } from "../cpu/execution_marks.ts";
import { CONTROL } from "../memory/control_layout.ts";
import { HART } from "../memory/hart_layout.ts";
import {
  CONTROL_BLOCK,
  HART_BLOCK,
  HOT_COUNTERS,
  JUMP_ENTRY_BYTES,
  JUMP_PAGES,
  TLB_ENTRY_BYTES,
} from "../memory/memory_plan.ts";
import { entryNumber, tlbOffsetOf } from "../mmu/tlb_place.ts";
import { JUMP, jumpOffsetOf, OTHER_WAY } from "../mmu/jump_cache.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { Catalogue } from "./catalogue.ts";
import type { TranslatorOptions } from "./heat.ts";
import { KeptShapes } from "./kept_shapes.ts";
import { type PlacedEntry, Placements } from "./placements.ts";
import { PAGE_HALVES } from "./region.ts";
import type {
  CodePage,
  HotPlace,
  MadeBatch,
  Order,
  RegionCompiler,
  Translation,
} from "./translation.ts";
import { PAGES_AROUND } from "./translation.ts";

/** What the tier has done so far. */
export interface TranslatorStatistics {
  /** Regions that were made for this VM. */
  readonly regions: number;
  /** Instructions in them. */
  readonly instructions: number;
  /** Regions that were kept from earlier runs. */
  readonly kept: number;
  /** Placements of regions in guest memory. */
  readonly placed: number;
  /** Placements that ended because their code was written. */
  readonly dropped: number;
  readonly modules: number;
  /** Bytes of generated modules. */
  readonly bytes: number;
}

/** Words of VM memory: the current hart's pc, and the current cache element. */
const PC = HART_BLOCK + HART.offset.pc >> 2;
const ELEMENT = CONTROL_BLOCK + CONTROL.offset.element >> 2;

/** A place that waits asks again after so small a part of the heat that made it hot. */
const WAITING_PART = 16;

/** Warm places so many halfwords from a hot one become entries of its region. */
const NEAR_HALVES = 512;
/** What makes a place warm, as a part of what makes it hot. */
const WARM_PART = 16;

/** Most places that are known to have asked once. */
const LOOKED_MAXIMUM = 1 << 16;

/** Makes and keeps the regions of one VM. */
export class Translator implements RegionService {
  /** In a core with execution marks: all translations that were entered, by the virtual page of page 0. */
  readonly #entered = new Map<number, Set<Translation>>();
  readonly #core: Core;
  readonly #counters: Int32Array;
  readonly #placements: Placements;
  readonly #catalogue: Catalogue;
  /** Places that asked once, before they were hot. */
  readonly #looked = new Set<number>();
  readonly #waiting = new Map<number, HotPlace>();
  /** Slots of the batch that is under way. */
  #ordered: number[] = [];
  readonly #freeSlots: number[] = [];
  /** Guest pages around the place that each ordered slot is for. */
  #pagesOf: ReadonlyMap<number, HotPlace["pages"]> = new Map();
  /** The first slot that nobody has had; undefined before the first order. */
  #slots: number | undefined;
  #wanted = false;
  #regions = 0;
  #instructions = 0;
  #kept = 0;
  #placed = 0;
  #dropped = 0;
  #modules = 0;
  #bytes = 0;

  constructor(
    core: Core,
    private readonly compiler: RegionCompiler,
    private readonly options: TranslatorOptions,
    /** Heat at which the run asks first; at most `options.heat`. */
    private readonly firstLook: number = options.heat,
  ) {
    const { plan } = this.#core = core;
    this.#counters = new Int32Array(core.buffer, plan.hotCounters, HOT_COUNTERS);
    this.#placements = new Placements(core, ({ translation }, left) => {
      this.#dropped++;
      // One that lies elsewhere as well is still entered there.
      if (left === 0) this.#catalogue.unplaced(translation);
    });
    this.#catalogue = new Catalogue(({ slot }) => {
      core.table.set(slot, null);
      this.#freeSlots.push(slot);
    });
    core.regions = this;
  }

  /** What the tier has done so far. */
  get statistics(): TranslatorStatistics {
    return {
      regions: this.#regions,
      instructions: this.#instructions,
      kept: this.#kept,
      placed: this.#placed,
      dropped: this.#dropped,
      modules: this.#modules,
      bytes: this.#bytes,
    };
  }

  /** The translation whose function has a slot, for messages. */
  translationIn(slot: number): Translation | undefined {
    return this.#catalogue.inSlot(slot);
  }

  /** The place at the hart's pc is hot. */
  hotPlace(): number {
    const { words } = this.#core;
    const low = words[PC]!;
    const high = words[PC + 1]!;
    const page = this.#fetchPage(low, high, 0);
    if (page === undefined) return this.#ask(low, 4);
    const slot = (low & 0xfff) >> 1;
    const key = page * PAGE_HALVES + slot;
    const { points } = this.#core;
    // Code on pages with points is for the interpreter; regions beside them stay clear of them.
    if (points.any) {
      if (points.hasPage(low, high)) return this.#ask(low, this.options.heat);
      const there = this.#placements.at(key);
      if (there !== undefined && this.#meetsPoints(there, low, high)) this.#placements.forget(key);
    }
    const known = this.#placements.at(key) ?? this.#placeKnown(low, high, page);
    if (known !== undefined) {
      if (!this.#isMapped(known, low, high)) return this.#ask(low, 16);
      this.#writeJump(low, high, known);
      return this.#ask(low, 1, 1);
    }
    if (this.#isFirstLook(key)) return this.#ask(low, this.options.heat - this.firstLook);
    if (this.#waiting.has(key)) this.#workSoon();
    else {
      const pages = Array.from(
        { length: 2 * PAGES_AROUND + 1 },
        (_, i) => this.#freePage(low, high, i - PAGES_AROUND),
      );
      this.#waiting.set(key, { start: PAGES_AROUND * PAGE_HALVES + slot, pages, low });
      if (this.#waiting.size >= this.options.batch) this.#workSoon();
    }
    return this.#ask(low, Math.ceil(this.options.heat / WAITING_PART));
  }

  /** Orders what is waiting, when it is enough or very hot, and takes what was made. Between runs. */
  work(): void {
    this.#take();
    if (!this.#wanted || this.compiler.busy) return;
    this.#wanted = false;
    this.#order();
    this.#take();
  }

  /**
   * Marks of the regions that were entered and have an instruction at an offset in its page, for a virtual
   * page (modulo 2^32) of theirs; regions that are gone included.
   */
  marksOf(page: number, offset: number): number[] {
    const half = offset >> 1;
    const marks: number[] = [];
    for (let index = 0; index <= 2 * PAGES_AROUND; index++) {
      const base = page - index >>> 0;
      for (const { slot, parts } of this.#entered.get(base) ?? []) {
        const covers = parts.some((part) =>
          part.page === index && part.first <= half && half < part.first + part.code.length
        );
        if (covers) marks.push(markIndex(base, slot));
      }
    }
    return marks;
  }

  /** Bytes of a page with regions are written: those that have code there go. */
  regionWritten(page: number, offset: number, size: number): void {
    this.#placements.written(page, offset, size);
  }

  /** Forgets what lies where: after memory was replaced from outside (X3). */
  clear(): void {
    this.#placements.clear();
    this.#waiting.clear();
  }

  /** Ends the run under way after the instruction, which the guest cannot see. */
  #workSoon(): void {
    this.#wanted = true;
    this.#core.raiseAttention(ATTENTION.stop);
  }

  #order(): void {
    const code = new Map<number, CodePage>();
    const orders = [...this.#waiting].flatMap(([key, place]): Order[] => {
      if (this.#placements.at(key) !== undefined) return [];
      for (const page of place.pages) if (page !== undefined) this.#addCode(code, page);
      return [{ ...place, near: this.#warmPlaces(place, code), slot: this.#takeSlot() }];
    });
    this.#waiting.clear();
    if (orders.length === 0) return;
    this.#ordered = orders.map(({ slot }) => slot);
    this.compiler.submit({ orders, code });
    this.#pagesOf = new Map(orders.map(({ slot, pages }) => [slot, pages]));
  }

  /** Places near a hot one that are getting hot themselves and are no entries of regions yet. */
  #warmPlaces({ start, pages, low }: HotPlace, code: ReadonlyMap<number, CodePage>): number[] {
    const warm = this.firstLook - this.options.heat + Math.ceil(this.options.heat / WARM_PART);
    const places: number[] = [];
    for (let at = start - NEAR_HALVES; at <= start + NEAR_HALVES; at++) {
      const counter = (low >>> 1) + at - start & HOT_COUNTERS - 1;
      if (at === start || this.#counters[counter]! < warm) continue;
      const page = pages[Math.floor(at / PAGE_HALVES)];
      const near = page === undefined ? undefined : code.get(page)?.near;
      const slot = at % PAGE_HALVES;
      if (near === undefined || (near[slot >> 3]! >> (slot & 7) & 1) === 0) continue;
      if (this.#placements.at(page! * PAGE_HALVES + slot) === undefined) places.push(at);
    }
    return places;
  }

  #addCode(code: Map<number, CodePage>, page: number): void {
    if (code.has(page)) return;
    const near = this.#core.decodedPages.decodedBits(page);
    if (near !== undefined) code.set(page, { halves: this.#placements.code(page), near });
  }

  #take(): void {
    for (let made = this.compiler.take(); made !== undefined; made = this.compiler.take()) {
      if (made.kept === undefined) this.#addOrdered(made);
      else this.#addKept(made, new KeptShapes(made.kept));
    }
  }

  #addKept(made: MadeBatch, shapes: KeptShapes): void {
    this.#reserve(shapes.count);
    this.#instantiate(made);
    this.#kept = shapes.count;
    this.#catalogue.keep(shapes);
  }

  #addOrdered(made: MadeBatch): void {
    this.#instantiate(made);
    const used = new Set(made.translations.map(({ slot }) => slot));
    for (const slot of this.#ordered) if (!used.has(slot)) this.#freeSlots.push(slot);
    this.#ordered = [];
    for (const translation of made.translations) {
      this.#regions++;
      this.#instructions += translation.instructions;
      this.#catalogue.add(translation);
      const pages = this.#pagesOf.get(translation.slot)!;
      const region = this.#place(translation, (page) => pages[page]);
      if (region === undefined) this.#catalogue.unplaced(translation);
    }
  }

  #instantiate({ module, bytes }: MadeBatch): void {
    if (module === undefined) return;
    const { memory, table, functions } = this.#core;
    new WebAssembly.Instance(module, { env: { memory, table, ...functions } });
    this.#modules++;
    this.#bytes += bytes;
  }

  #place(translation: Translation, pageOf: (page: number) => number | undefined) {
    const region = this.#placements.place(translation, pageOf);
    if (region === undefined) return undefined;
    this.#placed++;
    this.#catalogue.placed(translation);
    return region;
  }

  /** Places a translation of the code at an address, if there is one. */
  #placeKnown(low: number, high: number, page: number): PlacedEntry | undefined {
    const slot = (low & 0xfff) >> 1;
    for (
      const { translation, at } of this.#catalogue.find(slot, this.#placements.half(page, slot))
    ) {
      const own = Math.floor(at / PAGE_HALVES);
      if (translation.parts.some((part) => this.#hasPoints(low, high, part.page - own))) continue;
      const placed = this.#place(
        translation,
        (index) => this.#pageAt(low, high, index - own),
      );
      if (placed !== undefined) return this.#placements.at(page * PAGE_HALVES + slot);
    }
    return undefined;
  }

  /** Whether the place is known to no region so far, but has not been looked up often enough for its own. */
  #isFirstLook(key: number): boolean {
    if (this.firstLook === this.options.heat || this.#looked.has(key)) return false;
    if (this.#looked.size >= LOOKED_MAXIMUM) this.#looked.clear();
    this.#looked.add(key);
    return true;
  }

  /** Lets the place ask again after so much more heat. */
  #ask<T extends 0 | 1 = 0>(low: number, heat: number, answer: T = 0 as T): T {
    this.#counters[low >>> 1 & HOT_COUNTERS - 1] = this.firstLook - heat;
    return answer;
  }

  /** Guest page that the current element's fetch TLB knows for the virtual page so many pages on. */
  #fetchPage(low: number, high: number, pagesOn: number): number | undefined {
    const { plan, words } = this.#core;
    const address = (low & -4096) + pagesOn * 4096;
    // Regions do not reach across a multiple of 4 GiB.
    if ((address < 0) !== (low < 0)) return undefined;
    const index = entryNumber(plan, address, high);
    const entry = (words[ELEMENT]! + tlbOffsetOf(plan, 2) + index * TLB_ENTRY_BYTES) >> 2;
    return words[entry] === (address | 0) && words[entry + 1] === high
      ? words[entry + 3]
      : undefined;
  }

  /**
   * The same, found by a walk where the fetch TLB does not know it: else hot code would have to wait until
   * the rarest page of its region is interpreted again.
   */
  #pageAt(low: number, high: number, pagesOn: number): number | undefined {
    const known = this.#fetchPage(low, high, pagesOn);
    if (known !== undefined) return known;
    const address = (low & -4096) + pagesOn * 4096;
    if ((address < 0) !== (low < 0)) return undefined;
    const page = this.#core.exports.peekFetch(address, high);
    return page < 0 ? undefined : page;
  }

  /** The same as #fetchPage, where no points lie. */
  #freePage(low: number, high: number, pagesOn: number): number | undefined {
    return this.#hasPoints(low, high, pagesOn) ? undefined : this.#fetchPage(low, high, pagesOn);
  }

  /** Whether points lie on the virtual page so many pages on. */
  #hasPoints(low: number, high: number, pagesOn: number): boolean {
    const { points } = this.#core;
    return points.any && points.hasPage((low & -4096) + pagesOn * 4096 | 0, high);
  }

  /** Whether points lie on pages where a region has code, from an entry's address on. */
  #meetsPoints({ region, at }: PlacedEntry, low: number, high: number): boolean {
    const own = Math.floor(at / PAGE_HALVES);
    return region.pages.some((page, i) =>
      page !== undefined && this.#hasPoints(low, high, i - own)
    );
  }

  /** Whether all pages of a region lie, from an entry's address on, where it was made for. */
  #isMapped({ region, at }: PlacedEntry, low: number, high: number): boolean {
    const own = Math.floor(at / PAGE_HALVES);
    return region.pages.every((page, i) =>
      page === undefined || this.#pageAt(low, high, i - own) === page
    );
  }

  #writeJump(low: number, high: number, { region, entry, at }: PlacedEntry): void {
    const { plan, words } = this.#core;
    const jump = (words[ELEMENT]! + jumpOffsetOf(plan, low)) >> 2;
    // The jump that is here stays known at its other place.
    const other = jump ^ OTHER_WAY >> 2;
    for (let i = 0; i < JUMP_ENTRY_BYTES >> 2; i++) words[other + i] = words[jump + i]!;
    words[jump] = low;
    words[jump + 1] = high;
    words[jump + (JUMP.slot >> 2)] = region.translation.slot;
    words[jump + (JUMP.entry >> 2)] = entry << 16 | at;
    const own = (low >>> 12) - Math.floor(at / PAGE_HALVES);
    if (plan.executionMarks !== 0) this.#noteEntered(own + (high << 20) >>> 0, region.translation);
    region.pages.forEach((_, i) => this.#markJumpPage(own + i));
    this.#core.setControlWord("elementUsed", 1);
  }

  /** A region can only be entered through a jump cache. */
  #noteEntered(base: number, translation: Translation): void {
    const there = this.#entered.get(base);
    if (there === undefined) this.#entered.set(base, new Set([translation]));
    else there.add(translation);
  }

  /** Notes that the jump cache of the current element leads to a region with code in a virtual page. */
  #markJumpPage(page: number): void {
    const { plan, words, bytes } = this.#core;
    const bit = page & JUMP_PAGES - 1;
    bytes[words[ELEMENT]! + plan.jumpPages + (bit >> 3)]! &= ~(1 << (bit & 7));
  }

  #takeSlot(): number {
    const free = this.#freeSlots.pop();
    if (free !== undefined) return free;
    // A table with room for all regions that might be kept is larger than most are.
    const slot = this.#slots ?? (this.#kept > 0 ? this.#kept + 1 : this.compiler.firstSlot);
    this.#slots = slot + 1;
    this.#reserve(slot);
    return slot;
  }

  #reserve(slot: number): void {
    const { table } = this.#core;
    if (slot >= table.length) table.grow(Math.max(slot + 1, 2 * table.length) - table.length);
  }
}
