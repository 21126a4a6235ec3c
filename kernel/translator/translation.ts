/**
 * What passes between the translator of a VM and whoever makes its regions: plain data, so that it can
 * cross to another worker and be kept in a file (issue 3 section 1, "Persistent profiles").
 *
 * Invariant: a translation says all that it was made from - the bytes of its instructions and where they
 * lie to each other - so that it may be used wherever the same bytes lie in the same way.
 */
import type { FinishedFunction } from "../wasm/mod.ts";
import { PAGE_HALVES } from "./region.ts";

/** Pages before and after the hot one that a region may take code from. */
export const PAGES_AROUND = 4;

/** Instructions of a region that lie in a row in one page. */
export interface CodePart {
  /** Number of the page in the region: the hot place lies in page PAGES_AROUND. */
  readonly page: number;
  /** Halfword in the page. */
  readonly first: number;
  /** The code itself. */
  readonly code: Uint16Array;
}

/** What a region is, apart from its function. */
export interface RegionShape {
  readonly parts: readonly CodePart[];
  /** Where it may be entered, by entry number: halfwords from its page 0. */
  readonly entries: readonly number[];
  /** Number of its instructions. */
  readonly instructions: number;
}

/** A region whose function is in the table of functions. */
export interface Translation extends RegionShape {
  readonly slot: number;
}

/** A region that was made, with its function as bytes. */
export interface MadeRegion extends RegionShape {
  readonly finished: FinishedFunction;
}

/** A page of guest code at the moment when a place in it was hot. */
export interface CodePage {
  readonly halves: Uint16Array<ArrayBuffer>;
  /** One bit for each halfword: whether the instruction there has been near execution. */
  readonly near: Uint8Array<ArrayBuffer>;
}

/** A place that is to become a region. */
export interface HotPlace {
  /** Halfword from the first page of `pages`. */
  readonly start: number;
  /** Guest pages around it, as the fetch TLB knew them. */
  readonly pages: readonly (number | undefined)[];
  /** Low word of its virtual address. */
  readonly low: number;
}

/** A hot place and the slot that its function will have. */
export interface Order extends HotPlace {
  /** Warm places nearby, such as the cases of a switch: they become entries too. */
  readonly near: readonly number[];
  readonly slot: number;
}

/** Regions to be made together. */
export interface Batch {
  readonly orders: readonly Order[];
  /** The code, by guest page. */
  readonly code: ReadonlyMap<number, CodePage>;
}

/** A batch that was made: to be instantiated, which puts its functions into the table. */
export interface MadeBatch {
  /** What its regions are (kept_shapes.ts), if they were kept from an earlier run, not ordered. */
  readonly kept: ArrayBuffer | undefined;
  /** Undefined when no order became a region. */
  readonly module: WebAssembly.Module | undefined;
  /** The regions that were ordered. */
  readonly translations: readonly Translation[];
  /** Bytes of the module. */
  readonly bytes: number;
}

/** Who makes regions for a translator: at once, or elsewhere while the VM goes on. */
export interface RegionCompiler {
  /**
   * The first slot of the table for orders: those before are for regions that are kept. Those that have come take
   * as many as they are, and orders the slots behind them.
   */
  readonly firstSlot: number;
  /** Whether a batch is under way or has not been taken. One at a time is. */
  readonly busy: boolean;
  /** Starts to make a batch. */
  submit(batch: Batch): void;
  /** The next batch that is ready. */
  take(): MadeBatch | undefined;
}

/** The key of a place: guest page × 2048 + halfword. */
export function placeKey(pages: HotPlace["pages"], at: number): number {
  return pages[Math.floor(at / PAGE_HALVES)]! * PAGE_HALVES + at % PAGE_HALVES;
}

/** A translation and one of its entries. */
export interface KnownEntry {
  readonly translation: Translation;
  /** Halfword from the region's page 0. */
  readonly at: number;
}

/** The first halfword of the instruction at an entry. */
export function codeAt({ parts }: RegionShape, at: number): number {
  const page = Math.floor(at / PAGE_HALVES);
  const slot = at % PAGE_HALVES;
  const part = parts.find(({ page: number, first, code }) =>
    number === page && first <= slot && slot < first + code.length
  );
  return part!.code[slot - part!.first]!;
}

/** The key by which entries are found: halfword of the page, and the code there. */
export function codeKey(slot: number, half: number): number {
  return slot * 65536 + half;
}
