/**
 * Which translations lie where in guest memory: the regions that can be entered now, by guest page.
 *
 * Invariants: the bytes of a region are what it was made from, because a page with regions carries the
 * code trace and a write of any byte of a region drops it; nothing here is machine state.
 */
import type { Core } from "../cpu/core.ts";
import { JUMP_ENTRIES, JUMP_ENTRY_BYTES } from "../memory/memory_plan.ts";
import { JUMP } from "../mmu/jump_cache.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { PAGE_FLAG } from "../memory/page_flags.ts";
import { PAGE_HALVES } from "./region.ts";
import { type HotPlace, placeKey, type Translation } from "./translation.ts";

const JUMP_ENTRY_WORDS = JUMP_ENTRY_BYTES / 4;
const JUMP_WORDS = JUMP_ENTRIES * JUMP_ENTRY_WORDS;

/** A translation at a place of guest memory. */
export interface Region {
  readonly translation: Translation;
  /** Guest pages by number in the region; undefined where it has no code. */
  readonly pages: HotPlace["pages"];
}

/** A region and where it is entered. */
export interface PlacedEntry {
  readonly region: Region;
  /** Entry number. */
  readonly entry: number;
  /** Halfword from the region's page 0. */
  readonly at: number;
}

/** The regions of one VM. */
export class Placements {
  readonly #halves: Uint16Array;
  readonly #pageRegions: Uint8Array;
  /** By guest page × 2048 + halfword. */
  readonly #byEntry = new Map<number, PlacedEntry>();
  readonly #byPage = new Map<number, Set<Region>>();
  /** How many regions each translation is: the same code may lie at several places. */
  readonly #regions = new Map<Translation, number>();
  /** Whether places were forgotten, so that regions may be placed where they lie already. */
  #forgets = false;

  /** @param dropped called for each region that went, with what is left of its translation's */
  constructor(
    private readonly core: Core,
    private readonly dropped: (region: Region, left: number) => void,
  ) {
    const { plan, buffer } = core;
    this.#halves = new Uint16Array(buffer, plan.ram, plan.ramBytes / 2);
    this.#pageRegions = new Uint8Array(buffer, plan.pageRegions, plan.ramPages);
  }

  /** The region that is entered at a place, by its key. */
  at(key: number): PlacedEntry | undefined {
    return this.#byEntry.get(key);
  }

  /** Lets another region be made for a place; the one that is there stays at its other entries. */
  forget(key: number): void {
    this.#byEntry.delete(key);
    this.#forgets = true;
  }

  /** The 16 bits at a halfword of a guest page. */
  half(page: number, slot: number): number {
    return this.#halves[page * PAGE_HALVES + slot]!;
  }

  /** The code of a guest page as it is now. */
  code(page: number): Uint16Array<ArrayBuffer> {
    return this.#halves.slice(page * PAGE_HALVES, (page + 1) * PAGE_HALVES);
  }

  /**
   * Places a translation if guest memory holds its code there.
   * @param pageOf guest page of a page of the region
   */
  place(
    translation: Translation,
    pageOf: (page: number) => number | undefined,
  ): Region | undefined {
    const pages: (number | undefined)[] = [];
    for (const { page, first, code } of translation.parts) {
      const guestPage = pages[page] ??= pageOf(page);
      if (guestPage === undefined || !this.#holds(guestPage * PAGE_HALVES + first, code)) {
        return undefined;
      }
    }
    const known = this.#forgets ? this.#same(translation, pages) : undefined;
    const region = known ?? { translation, pages };
    if (known === undefined) {
      this.#regions.set(translation, (this.#regions.get(translation) ?? 0) + 1);
    }
    this.#register(region);
    return region;
  }

  /** Bytes of a page are written: the regions that have code there go. */
  written(page: number, offset: number, size: number): void {
    const regions = this.#byPage.get(page);
    if (regions === undefined) return;
    const first = offset >> 1;
    const end = (offset + size + 1) >> 1;
    for (const region of [...regions]) {
      const touched = region.translation.parts.some((part) =>
        region.pages[part.page] === page && first < part.first + part.code.length &&
        end > part.first
      );
      if (touched) this.#drop(region);
    }
  }

  /** Drops everything. */
  clear(): void {
    for (const regions of [...this.#byPage.values()]) {
      for (const region of [...regions]) this.#drop(region);
    }
  }

  #holds(start: number, code: Uint16Array): boolean {
    for (let i = 0; i < code.length; i++) {
      if (this.#halves[start + i] !== code[i]) return false;
    }
    return true;
  }

  /** The region that is this translation at these pages, if it lies there already. */
  #same(translation: Translation, pages: Region["pages"]): Region | undefined {
    const first = pages.find((page) => page !== undefined)!;
    for (const region of this.#byPage.get(first) ?? []) {
      const isSame = region.translation === translation &&
        region.pages.every((page, i) => page === pages[i]);
      if (isSame) return region;
    }
    return undefined;
  }

  #register(region: Region): void {
    const { translation, pages } = region;
    for (const page of new Set(pages)) {
      if (page === undefined) continue;
      const set = this.#byPage.get(page) ?? new Set();
      this.#byPage.set(page, set.add(region));
      this.#pageRegions[page] = 1;
      this.core.flags.set(page, PAGE_FLAG.code);
    }
    translation.entries.forEach((at, entry) => {
      this.#byEntry.set(placeKey(pages, at), { region, entry, at });
    });
  }

  /** Ends all ways of the jump caches into a slot. */
  #dropJumps(slot: number): void {
    const { plan, words } = this.core;
    for (let element = 0; element < plan.cacheElements; element++) {
      const first = (plan.elements + element * plan.elementBytes + plan.jumpCache) >> 2;
      for (let at = first; at < first + JUMP_WORDS; at += JUMP_ENTRY_WORDS) {
        if (words[at + (JUMP.slot >> 2)] === slot) words.fill(-1, at, at + 2);
      }
    }
    this.core.raiseAttention(ATTENTION.refetch);
  }

  #drop(region: Region): void {
    const { translation, pages } = region;
    for (const page of new Set(pages)) {
      if (page === undefined) continue;
      const set = this.#byPage.get(page);
      set?.delete(region);
      if (set?.size === 0) {
        this.#byPage.delete(page);
        this.#pageRegions[page] = 0;
      }
    }
    for (const at of translation.entries) {
      const key = placeKey(pages, at);
      if (this.#byEntry.get(key)?.region === region) this.#byEntry.delete(key);
    }
    this.#dropJumps(translation.slot);
    const left = this.#regions.get(translation)! - 1;
    if (left === 0) this.#regions.delete(translation);
    else this.#regions.set(translation, left);
    this.dropped(region, left);
  }
}
