/**
 * What regions of earlier runs were made from, as one buffer: a VM world looks code up in its bytes, and makes
 * objects only of the regions that it meets. It would hold, and unpack at its start, thousands of small arrays
 * otherwise. Each VM world has a copy: what it could write is nobody else's.
 *
 *     u32 regions | u32 entries | u32 parts | u32 halfwords
 *     for each region, and one behind the last:  u32 instructions, u32 first entry, u32 first part
 *     for each entry of a region:                u32 halfword from the region's page 0
 *     for each entry, by the key of its code:    u32 key, u32 region, u32 halfword from the region's page 0
 *     for each part:                             u32 page, u32 first halfword, u32 code, u32 halfwords
 *     the code, u16
 *
 * Invariant: nobody writes after `packShapes`. The region with index i has slot i + 1.
 */
import {
  codeAt,
  codeKey,
  type KnownEntry,
  type RegionShape,
  type Translation,
} from "./translation.ts";
import { PAGE_HALVES } from "./region.ts";

const HEAD_WORDS = 4;
const REGION_WORDS = 3;
const INDEX_WORDS = 3;
const PART_WORDS = 4;

/** Where the areas start, in words. */
function layout(regions: number, entries: number, parts: number) {
  const entriesAt = HEAD_WORDS + REGION_WORDS * (regions + 1);
  const indexAt = entriesAt + entries;
  const partsAt = indexAt + INDEX_WORDS * entries;
  return { entriesAt, indexAt, partsAt, codeAt: partsAt + PART_WORDS * parts };
}

/** Writes regions down. */
export function packShapes(regions: readonly RegionShape[]): ArrayBuffer {
  const entries = regions.flatMap((region, i) => region.entries.map((at) => ({ region, i, at })));
  const parts = regions.flatMap((region) => region.parts);
  const halves = parts.reduce((sum, { code }) => sum + code.length, 0);
  const at = layout(regions.length, entries.length, parts.length);
  const buffer = new ArrayBuffer(at.codeAt * 4 + halves * 2);
  const words = new Uint32Array(buffer, 0, at.codeAt);
  const code = new Uint16Array(buffer, at.codeAt * 4);
  words.set([regions.length, entries.length, parts.length, halves]);
  let [entry, part] = [0, 0];
  for (const [i, region] of regions.entries()) {
    words.set([region.instructions, entry, part], HEAD_WORDS + REGION_WORDS * i);
    entry += region.entries.length;
    part += region.parts.length;
  }
  words.set([0, entry, part], HEAD_WORDS + REGION_WORDS * regions.length);
  words.set(entries.map(({ at }) => at), at.entriesAt);
  const keyed = entries.map(({ region, i, at }) => [
    codeKey(at % PAGE_HALVES, codeAt(region, at)),
    i,
    at,
  ]);
  words.set(keyed.sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!).flat(), at.indexAt);
  let half = 0;
  for (const [i, { page, first, code: own }] of parts.entries()) {
    words.set([page, first, half, own.length], at.partsAt + PART_WORDS * i);
    code.set(own, half);
    half += own.length;
  }
  return buffer;
}

/** The regions that `packShapes` wrote down, as one VM knows them. */
export class KeptShapes {
  /** How many there are. */
  readonly count: number;
  readonly #words: Uint32Array;
  readonly #at: ReturnType<typeof layout>;
  readonly #entries: number;
  /** Those that were met. */
  readonly #met = new Map<number, Translation>();
  /** Slots of those that were forgotten. */
  readonly #gone = new Set<number>();

  constructor(private readonly buffer: ArrayBuffer) {
    const [regions = 0, entries = 0, parts = 0] = new Uint32Array(buffer, 0, HEAD_WORDS);
    this.count = regions;
    this.#entries = entries;
    this.#at = layout(regions, entries, parts);
    this.#words = new Uint32Array(buffer, 0, this.#at.codeAt);
  }

  /** Those that may be entered where code with this key lies. */
  find(key: number): KnownEntry[] {
    const found: KnownEntry[] = [];
    const words = this.#words;
    let at = this.#at.indexAt + INDEX_WORDS * this.#firstWith(key);
    for (; at < this.#at.partsAt && words[at] === key; at += INDEX_WORDS) {
      const translation = this.inSlot(words[at + 1]! + 1);
      if (translation !== undefined) found.push({ translation, at: words[at + 2]! });
    }
    return found;
  }

  /** The region whose function has a slot. */
  inSlot(slot: number): Translation | undefined {
    if (slot < 1 || slot > this.count || this.#gone.has(slot)) return undefined;
    const known = this.#met.get(slot);
    if (known !== undefined) return known;
    const translation = this.#read(slot);
    this.#met.set(slot, translation);
    return translation;
  }

  /** Forgets a region; false when it is none of these. */
  forget({ slot }: Translation): boolean {
    if (!this.#met.delete(slot)) return false;
    this.#gone.add(slot);
    return true;
  }

  /** Position in the index of the first entry whose key is not below. */
  #firstWith(key: number): number {
    const words = this.#words;
    const { indexAt } = this.#at;
    let [low, high] = [0, this.#entries];
    while (low < high) {
      const middle = low + high >> 1;
      if (words[indexAt + INDEX_WORDS * middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #read(slot: number): Translation {
    const words = this.#words;
    const { entriesAt, partsAt, codeAt } = this.#at;
    const at = HEAD_WORDS + REGION_WORDS * (slot - 1);
    const [instructions, entry, part, , nextEntry, nextPart] = words.subarray(at, at + 6);
    const entries = Array.from(words.subarray(entriesAt + entry!, entriesAt + nextEntry!));
    const parts = Array.from({ length: nextPart! - part! }, (_, i) => {
      const from = partsAt + PART_WORDS * (part! + i);
      const [page, first, start, halves] = words.subarray(from, from + PART_WORDS);
      const code = new Uint16Array(this.buffer, codeAt * 4 + start! * 2, halves);
      return { page: page!, first: first!, code };
    });
    return { slot, entries, parts, instructions: instructions! };
  }
}
