/**
 * The translator tier of one VM: collects hot places, makes regions of them in batches between runs, and
 * drops regions whose code is written (design.md "Execution"; S12, S21).
 *
 * Invariants: nothing here is machine state, and when a region appears or goes is never visible to the
 * guest; a jump-cache entry exists only while the fetch TLB's answers for all pages of its region hold.
 */
import type { Core, RegionService } from "../cpu/core.ts";
import { FLOAT_FUNCTIONS, type FloatFunctionName } from "../cpu/softfloat/names.ts";
import { HOT_COUNTERS, JUMP_ENTRIES, TLB_ENTRY_BYTES } from "../memory/memory_plan.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { JUMP, tlbOffsetOf } from "../mmu/cache_group.ts";
import { PAGE_FLAG } from "../memory/page_flags.ts";
import { type FunctionReference, ModuleBuilder, type WasmType } from "../wasm/mod.ts";
import { emitRegion } from "./region_code.ts";
import type { RegionImports } from "./region_ops.ts";
import { growRegion, PAGE_HALVES, type RegionCode } from "./region.ts";

/** Pages before and after the hot one that a region may take code from. */
const PAGES_AROUND = 4;

/** Hot places so many halfwords apart become entries of one region. */
const NEAR_HALVES = 512;

/** A place that is to become a region. */
interface HotPlace {
  /** Halfword from the first page of `pages`. */
  readonly start: number;
  /** Guest pages around it, as the fetch TLB knew them. */
  readonly pages: readonly (number | undefined)[];
}

/** A region that was made. */
interface Region {
  readonly slot: number;
  /** Guest pages by number in the region; undefined where it has no code. */
  readonly pages: readonly (number | undefined)[];
  /** Halfwords of its instructions: first and behind the last, for each page. */
  readonly spans: ReadonlyMap<number, { first: number; end: number }>;
  /** Entry numbers by halfword. */
  readonly entries: ReadonlyMap<number, number>;
}

/** What the tier has done so far. */
export interface TranslatorStatistics {
  readonly regions: number;
  readonly instructions: number;
  readonly dropped: number;
  readonly modules: number;
  /** Bytes of generated modules. */
  readonly bytes: number;
}

/** When places become regions; for tests that want many. */
export interface TranslatorOptions {
  /** Lookups that make a place hot, at least 1. */
  readonly hotLookups: number;
  /** Places that make a batch. A place that is hot a second time is made at once. */
  readonly batch: number;
}

/** What is best for guests of all kinds (docs/performance.md). */
export const TRANSLATOR_DEFAULTS: TranslatorOptions = { hotLookups: 1000, batch: 24 };

/** Makes and keeps the regions of one VM. */
export class Translator implements RegionService {
  readonly #core: Core;
  readonly #halves: Uint16Array;
  readonly #pageRegions: Uint8Array;
  readonly #counters: Uint16Array;
  /** By guest page × 2048 + halfword: the region that is entered there. */
  readonly #byEntry = new Map<number, { region: Region; entry: number; at: number }>();
  readonly #byPage = new Map<number, Set<Region>>();
  readonly #waiting = new Map<number, HotPlace>();
  readonly #freeSlots: number[] = [];
  #slots = 1;
  #wanted = false;
  #regions = 0;
  #instructions = 0;
  #dropped = 0;
  #modules = 0;
  #bytes = 0;

  constructor(core: Core, private readonly options: TranslatorOptions) {
    const { plan } = this.#core = core;
    this.#halves = new Uint16Array(core.buffer, plan.ram, plan.ramBytes / 2);
    this.#pageRegions = new Uint8Array(core.buffer, plan.pageRegions, plan.ramPages);
    this.#counters = new Uint16Array(core.buffer, plan.hotCounters, HOT_COUNTERS);
    core.regions = this;
  }

  /** What the tier has done so far. */
  get statistics(): TranslatorStatistics {
    return {
      regions: this.#regions,
      instructions: this.#instructions,
      dropped: this.#dropped,
      modules: this.#modules,
      bytes: this.#bytes,
    };
  }

  /** The place at the hart's pc was looked up often. */
  hotPlace(): number {
    const pc = this.#core.register(this.#core.current, "pc");
    const page = this.#fetchPage(pc >> 12n);
    const offset = Number(pc & 0xfffn);
    if (page === undefined) return this.#ask(pc, 4);
    const key = page * PAGE_HALVES + offset / 2;
    const known = this.#byEntry.get(key);
    if (known !== undefined) {
      if (!this.#isMapped(known.region, known.at, pc)) return this.#ask(pc, 16);
      this.#writeJump(pc, known);
      return this.#ask(pc, 1, 1);
    }
    if (this.#waiting.has(key)) this.#workSoon();
    else {
      const first = (pc >> 12n) - BigInt(PAGES_AROUND);
      const pages = Array.from(
        { length: 2 * PAGES_AROUND + 1 },
        (_, i) => this.#fetchPage(first + BigInt(i)),
      );
      this.#waiting.set(key, { start: PAGES_AROUND * PAGE_HALVES + offset / 2, pages });
      if (this.#waiting.size >= this.options.batch) this.#workSoon();
    }
    return this.#ask(pc, this.options.hotLookups);
  }

  /** Makes what is waiting, when it is enough or very hot. Between runs. */
  work(): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    const places = [...this.#waiting];
    this.#waiting.clear();
    this.#make(places);
  }

  /** Ends the run under way after the instruction, which the guest cannot see. */
  #workSoon(): void {
    this.#wanted = true;
    this.#core.raiseAttention(ATTENTION.stop);
  }

  /** Bytes of a page with regions are written: those that have code there go. */
  regionWritten(page: number, offset: number, size: number): void {
    const regions = this.#byPage.get(page);
    if (regions === undefined) return;
    const first = Math.max(0, (offset >> 1) - 1);
    const end = (offset + size + 1) >> 1;
    for (const region of [...regions]) {
      const span = region.spans.get(page)!;
      if (first < span.end && end > span.first) this.#drop(region);
    }
  }

  /** Forgets everything: after memory was replaced from outside (X3). */
  clear(): void {
    for (const regions of [...this.#byPage.values()]) {
      for (const region of [...regions]) this.#drop(region);
    }
    this.#waiting.clear();
  }

  /** Lets the place ask again after so many more lookups. */
  #ask<T extends 0 | 1 = 0>(pc: bigint, lookups: number, answer: T = 0 as T): T {
    this.#counters[Number(pc >> 1n & BigInt(HOT_COUNTERS - 1))] = Math.max(
      0,
      this.options.hotLookups - lookups,
    );
    return answer;
  }

  /** Guest page that the current element's fetch TLB knows for a virtual page. */
  #fetchPage(virtualPage: bigint): number | undefined {
    const { plan, words, longs } = this.#core;
    const address = BigInt.asUintN(64, virtualPage << 12n);
    const index = Number(virtualPage & BigInt(plan.tlbEntries - 1));
    const entry = this.#core.controlWord("element") + tlbOffsetOf(plan, 2) +
      index * TLB_ENTRY_BYTES;
    return longs[entry >> 3] === address ? words[entry + 12 >> 2]! : undefined;
  }

  /** Whether all pages of a region lie, from an entry's address on, where it was made for. */
  #isMapped(region: Region, at: number, pc: bigint): boolean {
    const first = (pc >> 12n) - BigInt(Math.floor(at / PAGE_HALVES));
    return region.pages.every((page, i) =>
      page === undefined || this.#fetchPage(first + BigInt(i)) === page
    );
  }

  #writeJump(pc: bigint, known: { region: Region; entry: number; at: number }): void {
    const { plan, words, longs } = this.#core;
    const index = Number(pc >> 1n & BigInt(JUMP_ENTRIES - 1));
    const jump = this.#core.controlWord("element") + plan.jumpCache + index * 16;
    longs[jump >> 3] = BigInt.asUintN(64, pc);
    words[jump + JUMP.slot >> 2] = known.region.slot;
    words[jump + JUMP.entry >> 2] = known.entry << 16 | known.at;
    this.#core.setControlWord("elementUsed", 1);
  }

  #make(places: readonly (readonly [number, HotPlace])[]): void {
    const taken = new Set<number>();
    const grown = places.flatMap(([key, place]) => {
      if (this.#byEntry.has(key) || taken.has(key)) return [];
      const { pages } = place;
      const code = this.#grow(place, places);
      if (code === undefined) return [];
      for (const at of code.entries) taken.add(keyOf(pages, at));
      return [{ code, pages, slot: this.#takeSlot() }];
    });
    if (grown.length === 0) return;
    const { plan } = this.#core;
    const memory = { minimum: plan.wasmPages, maximum: plan.wasmPages, shared: true };
    const module = new ModuleBuilder(memory, true);
    const imports = declareImports(module);
    const made = grown.map(({ code, pages, slot }) => {
      const { reference, entries } = emitRegion({ module, plan, imports, code, slot });
      module.element(slot, reference);
      return { code, pages, slot, entries };
    });
    const bytes = module.build();
    const env = { memory: this.#core.memory, table: this.#core.table, ...this.#core.functions };
    new WebAssembly.Instance(new WebAssembly.Module(bytes), { env });
    this.#modules++;
    this.#bytes += bytes.length;
    for (const { code, pages, slot, entries } of made) this.#register(code, pages, slot, entries);
  }

  #grow({ start, pages }: HotPlace, places: readonly (readonly [number, HotPlace])[]) {
    const near = places.flatMap(([key]) => {
      const page = pages.indexOf(Math.floor(key / PAGE_HALVES));
      const at = page * PAGE_HALVES + key % PAGE_HALVES;
      return page >= 0 && at !== start && Math.abs(at - start) <= NEAR_HALVES ? [at] : [];
    });
    return growRegion(
      {
        pageOf: (index) => pages[index],
        half: (page, slot) => this.#halves[page * PAGE_HALVES + slot]!,
        wasNear: (page, slot) => this.#core.decodedPages.isDecoded(page, slot),
      },
      start,
      near,
    );
  }

  #register(
    code: RegionCode,
    around: HotPlace["pages"],
    slot: number,
    entries: readonly number[],
  ): void {
    const spans = spansOf(code, around);
    const pages = around.map((page) => page !== undefined && spans.has(page) ? page : undefined);
    const region: Region = {
      slot,
      pages,
      spans,
      entries: new Map(entries.map((at, i) => [at, i])),
    };
    for (const page of spans.keys()) {
      const set = this.#byPage.get(page) ?? new Set();
      this.#byPage.set(page, set.add(region));
      this.#pageRegions[page] = 1;
      this.#core.flags.set(page, PAGE_FLAG.code);
    }
    entries.forEach((at, entry) => {
      this.#byEntry.set(keyOf(pages, at), { region, entry, at });
    });
    this.#regions++;
    for (const { instructions } of code.blocks.values()) this.#instructions += instructions.length;
  }

  #drop(region: Region): void {
    this.#dropped++;
    for (const page of region.spans.keys()) {
      const set = this.#byPage.get(page);
      set?.delete(region);
      if (set?.size === 0) {
        this.#byPage.delete(page);
        this.#pageRegions[page] = 0;
      }
    }
    for (const at of region.entries.keys()) {
      const key = keyOf(region.pages, at);
      if (this.#byEntry.get(key)?.region === region) this.#byEntry.delete(key);
    }
    this.#core.exports.dropJumps();
    this.#core.table.set(region.slot, null);
    this.#freeSlots.push(region.slot);
  }

  #takeSlot(): number {
    const slot = this.#freeSlots.pop() ?? this.#slots++;
    if (slot >= this.#core.table.length) this.#core.table.grow(this.#core.table.length);
    return slot;
  }
}

/** The key of a place of a region: guest page × 2048 + halfword. */
function keyOf(pages: HotPlace["pages"], at: number): number {
  return pages[Math.floor(at / PAGE_HALVES)]! * PAGE_HALVES + at % PAGE_HALVES;
}

/** Which halfwords of each guest page a region's instructions take. */
function spansOf(
  code: RegionCode,
  pages: HotPlace["pages"],
): Map<number, { first: number; end: number }> {
  const spans = new Map<number, { first: number; end: number }>();
  for (const { instructions } of code.blocks.values()) {
    for (const { at, length } of instructions) {
      for (let half = at; half < at + length / 2; half++) {
        const page = pages[Math.floor(half / PAGE_HALVES)]!;
        const inPage = half % PAGE_HALVES;
        const span = spans.get(page) ?? { first: inPage, end: inPage + 1 };
        span.first = Math.min(span.first, inPage);
        span.end = Math.max(span.end, inPage + 1);
        spans.set(page, span);
      }
    }
  }
  return spans;
}

function declareImports(module: ModuleBuilder): RegionImports {
  const float = {} as Record<FloatFunctionName, FunctionReference>;
  for (const [name, [parameters, result]] of Object.entries(FLOAT_FUNCTIONS)) {
    float[name as FloatFunctionName] = module.import(
      name,
      parameters as readonly WasmType[],
      result as WasmType,
    );
  }
  return {
    csrRead: module.import("csrRead", ["i32", "i32"], "i64"),
    csrWrite: module.import("csrWrite", ["i32", "i64"], undefined),
    float,
  };
}
