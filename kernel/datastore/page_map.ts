/**
 * Where the pages of a checkpoint are (S17, S19): runs of guest pages that lie one after another in a pack
 * or hold zeros, sorted, as a difference to the parent's map. In bytes: u32 runs, then for each run u32
 * first page, for each u32 pages, for each u32 pack, for each u32 first page in the pack. Pack 0 means
 * zeros; pack n is the nth of the list that the map comes with. Pages that no run has are the parent's, or
 * zeros where there is no parent.
 *
 * Invariants: runs rise and do not overlap; a map that was read names only pages and packs that can exist.
 */
import { assert } from "../base/assert.ts";
import { FormatError } from "../base/errors.ts";
import { PACK_PAGES_MAXIMUM } from "./pack_format.ts";
import { WordList } from "./word_list.ts";

/** Runs of pages: entry n of each array belongs to run n. */
export interface PageMap {
  readonly firsts: Uint32Array;
  readonly counts: Uint32Array;
  /** 0: zeros; else number of the pack, counted from 1. */
  readonly packs: Uint32Array;
  /** Number of the first page in its pack; 0 for zeros. */
  readonly indices: Uint32Array;
}

/** A map with the ids of its packs. */
export interface PackedMap {
  readonly map: PageMap;
  readonly packs: readonly string[];
}

/** Where every page is: entry n of each array belongs to guest page n. */
export interface FlatMap {
  /** 0: zeros; else number of the pack, counted from 1. */
  readonly packOf: Uint16Array;
  /** What is added to the page's number to get its number in its pack: constant in a run, so that runs are filled. */
  readonly shiftOf: Int32Array;
  /** 1: a pack has it; 0: zeros. */
  readonly kept: Uint8Array;
  readonly packs: readonly string[];
}

/** Number of a guest page in its pack. */
export function indexIn({ shiftOf }: FlatMap, page: number): number {
  return page + shiftOf[page]!;
}

/** Most packs that one checkpoint can have pages in, its ancestors' included. */
export const PACKS_MAXIMUM = 0xfffe;
/** In a flat map that is a difference: the page is the parent's. */
const PARENTS = 0xffff;

/** A map without runs. */
export const EMPTY_MAP: PageMap = {
  firsts: new Uint32Array(0),
  counts: new Uint32Array(0),
  packs: new Uint32Array(0),
  indices: new Uint32Array(0),
};

/** Makes runs of pages that come in rising order. */
export class RunBuilder {
  readonly #columns = [new WordList(), new WordList(), new WordList(), new WordList()] as const;
  #first = 0;
  #count = 0;
  #pack = 0;
  #index = 0;

  /** Adds a page. */
  add(page: number, pack: number, index: number): void {
    const next = this.#first + this.#count;
    const goesOn = this.#count > 0 && page === next && pack === this.#pack &&
      (pack === 0 || index === this.#index + this.#count);
    if (goesOn) {
      this.#count++;
      return;
    }
    assert(this.#count === 0 || page >= next, "pages come in rising order");
    this.#push();
    [this.#first, this.#count, this.#pack] = [page, 1, pack];
    this.#index = pack === 0 ? 0 : index;
  }

  /** The map. */
  finish(): PageMap {
    this.#push();
    this.#count = 0;
    const [firsts, counts, packs, indices] = this.#columns;
    return {
      firsts: firsts.take(),
      counts: counts.take(),
      packs: packs.take(),
      indices: indices.take(),
    };
  }

  #push(): void {
    if (this.#count === 0) return;
    const [firsts, counts, packs, indices] = this.#columns;
    firsts.push(this.#first);
    counts.push(this.#count);
    packs.push(this.#pack);
    indices.push(this.#index);
  }
}

/** A map as bytes. */
export function writePageMap({ firsts, counts, packs, indices }: PageMap): Uint8Array<ArrayBuffer> {
  const runs = firsts.length;
  const words = new Uint32Array(1 + 4 * runs);
  words[0] = runs;
  [firsts, counts, packs, indices].forEach((column, i) => words.set(column, 1 + i * runs));
  return new Uint8Array(words.buffer);
}

/** Reads a map of a guest with so many pages, into so many packs. Throws FormatError. */
export function readPageMap(bytes: Uint8Array, pages: number, packCount: number): PageMap {
  if (bytes.length < 4 || bytes.length % 16 !== 4) throw new FormatError("its page map is cut");
  const words = new Uint32Array(bytes.slice().buffer);
  const runs = (words.length - 1) / 4;
  if (words[0] !== runs) throw new FormatError("its page map is not as long as it says");
  const column = (i: number) => words.subarray(1 + i * runs, 1 + (i + 1) * runs);
  const [firsts, counts, packs, indices] = [column(0), column(1), column(2), column(3)];
  let next = 0;
  for (let i = 0; i < runs; i++) {
    const [first, count, pack, index] = [firsts[i]!, counts[i]!, packs[i]!, indices[i]!];
    if (first < next || count === 0 || first + count > pages) {
      throw new FormatError(`run ${i} of its page map is out of order or outside memory`);
    }
    if (pack > packCount || (pack === 0 ? index !== 0 : index + count > PACK_PAGES_MAXIMUM)) {
      throw new FormatError(`run ${i} of its page map names pages of no pack`);
    }
    next = first + count;
  }
  return { firsts, counts, packs, indices };
}

/** Numbers packs of several maps as one list. */
class PackNumbers {
  readonly ids: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** Numbers of a list's packs, entry 0 standing for zeros. */
  of(packs: readonly string[]): Uint32Array {
    const numbers = new Uint32Array(packs.length + 1);
    packs.forEach((id, i) => {
      let number = this.#numbers.get(id);
      if (number === undefined) {
        number = this.ids.push(id);
        this.#numbers.set(id, number);
        if (number > PACKS_MAXIMUM) throw new FormatError("its pages lie in too many packs");
      }
      numbers[i + 1] = number;
    });
    return numbers;
  }
}

function overlay(
  { packOf, shiftOf, kept }: Omit<FlatMap, "packs">,
  { firsts, counts, packs, indices }: PageMap,
  numbers: Uint32Array,
  isFirst: boolean,
): void {
  for (let i = 0; i < firsts.length; i++) {
    const first = firsts[i]!;
    const end = first + counts[i]!;
    const pack = numbers[packs[i]!]!;
    // Memory that is zero stays untouched: most of a large guest's map is nothing else.
    if (pack === 0 && isFirst) continue;
    const isKept = pack === 0 ? 0 : 1;
    const shift = indices[i]! - first;
    // A call that fills costs more than filling a few.
    if (end - first > 8) {
      packOf.fill(pack, first, end);
      shiftOf.fill(shift, first, end);
      kept.fill(isKept, first, end);
      continue;
    }
    for (let page = first; page < end; page++) {
      packOf[page] = pack;
      shiftOf[page] = shift;
      kept[page] = isKept;
    }
  }
}

function newFlat(pages: number): Omit<FlatMap, "packs"> {
  return {
    packOf: new Uint16Array(pages),
    shiftOf: new Int32Array(pages),
    kept: new Uint8Array(pages),
  };
}

/** Where every page is, by a chain of maps from the root to the last child. */
export function flatten(chain: readonly PackedMap[], pages: number): FlatMap {
  const numbers = new PackNumbers();
  const flat = newFlat(pages);
  chain.forEach(({ map, packs }, i) => overlay(flat, map, numbers.of(packs), i === 0));
  return { ...flat, packs: numbers.ids };
}

/** One difference instead of two: what a child's is when its parent goes. Packs without pages are left out. */
export function mergeMaps(parent: PackedMap, child: PackedMap, pages: number): PackedMap {
  const numbers = new PackNumbers();
  const flat = newFlat(pages);
  const { packOf, shiftOf } = flat;
  packOf.fill(PARENTS);
  for (const { map, packs } of [parent, child]) overlay(flat, map, numbers.of(packs), false);
  const builder = new RunBuilder();
  for (let page = 0; page < pages; page++) {
    const pack = packOf[page]!;
    if (pack !== PARENTS) builder.add(page, pack, pack === 0 ? 0 : page + shiftOf[page]!);
  }
  return withoutUnusedPacks({ map: builder.finish(), packs: numbers.ids });
}

/** The same map with only the packs that it names. */
export function withoutUnusedPacks({ map, packs }: PackedMap): PackedMap {
  const numbers = new Uint32Array(packs.length + 1);
  for (const pack of map.packs) numbers[pack] = 1;
  const used: string[] = [];
  packs.forEach((id, i) => {
    if (numbers[i + 1] === 1) numbers[i + 1] = used.push(id);
  });
  numbers[0] = 0;
  return { map: { ...map, packs: map.packs.map((pack) => numbers[pack]!) }, packs: used };
}
