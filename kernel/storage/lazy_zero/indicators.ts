/**
 * The indicators of a lazily initialised image: which blocks must be zeroed still, in memory as things
 * are and in the file as they were when they were last made durable (S4.1, S4.6).
 *
 * Invariants: an indicator in the file never says more than what had reached stable storage before it
 * was written; the copy of a page that holds what was made durable last is not written to; a page that
 * was changed stays in memory until it is durable. Between `keep` and `settle` or `giveBack` nobody else
 * calls `keep`.
 */
import { FormatError } from "../../base/errors.ts";
import type { HostFile } from "../../host/files.ts";
import {
  decodePage,
  encodeHeader,
  encodePage,
  type Header,
  headerOffset,
  PAGE_BYTES,
  PAGE_ENTRIES,
  pageOffset,
} from "./format.ts";

/** Most pages in memory that could be read again: 16 MiB. */
const PAGES_KEPT = 4096;

interface Page {
  /** For each block how many sectors at its front are initialised. */
  readonly initialised: Uint32Array;
  sequence: number;
  /** The copy that is durable; what is written goes to the other one. */
  copy: number;
}

/** Bytes for the file, as they were when a flush began. */
interface Kept {
  readonly page: number;
  readonly sequence: number;
  readonly copy: number;
  readonly bytes: Uint8Array;
}

/** The indicators of one image. */
export class Indicators {
  /** What was done, for people and tests. */
  readonly counters = { indicatorReads: 0, indicatorWrites: 0, headerWrites: 0 };
  readonly #pages = new Map<number, Page>();
  readonly #changed = new Set<number>();
  /** Pages that are being made durable. */
  readonly #held = new Set<number>();
  #header: Header;
  #headerCopy: number;
  /** Whether pages became durable that the bitmap in the file does not have. */
  #headerChanged = false;

  /** @param headerCopy which copy of the header it is */
  constructor(private readonly file: HostFile, header: Header, headerCopy: number) {
    this.#header = header;
    this.#headerCopy = headerCopy;
  }

  /** Sectors at the front of a block that are initialised: 0: it must be zeroed. Throws FormatError, HostError. */
  get(block: number): number {
    return this.#page(Math.floor(block / PAGE_ENTRIES)).initialised[block % PAGE_ENTRIES]!;
  }

  /** Says how many sectors at the front of a block are initialised from now on. */
  set(block: number, sectors: number): void {
    const number = Math.floor(block / PAGE_ENTRIES);
    const { initialised } = this.#page(number);
    if (initialised[block % PAGE_ENTRIES] === sectors) return;
    initialised[block % PAGE_ENTRIES] = sectors;
    this.#changed.add(number);
  }

  /** Whether the bitmap lags behind: it is written with the next flush. */
  get isBitmapChanged(): boolean {
    return this.#headerChanged;
  }

  /** The changed pages as they are now. */
  keep(): Kept[] {
    const kept: Kept[] = [];
    for (const number of this.#changed) {
      const { initialised, sequence, copy } = this.#pages.get(number)!;
      const bytes = encodePage(this.#header, number, { sequence: sequence + 1, initialised });
      this.#held.add(number);
      kept.push({ page: number, sequence: sequence + 1, copy: 1 - copy, bytes });
    }
    this.#changed.clear();
    return kept;
  }

  /** Writes pages to the file. What they say is on stable storage. Throws HostError. */
  write(kept: readonly Kept[]): void {
    for (const { page, copy, bytes } of kept) {
      this.counters.indicatorWrites++;
      this.file.write(pageOffset(page, copy), bytes);
    }
  }

  /** The pages are on stable storage. */
  settle(kept: readonly Kept[]): void {
    this.#held.clear();
    for (const { page, sequence, copy } of kept) {
      Object.assign(this.#pages.get(page)!, { sequence, copy });
      const bit = 1 << (page & 7);
      if ((this.#header.bitmap[page >> 3]! & bit) !== 0) continue;
      this.#header.bitmap[page >> 3]! |= bit;
      this.#headerChanged = true;
    }
  }

  /** The pages could not be written: they are as changed as before. */
  giveBack(kept: readonly Kept[]): void {
    this.#held.clear();
    for (const { page } of kept) this.#changed.add(page);
  }

  /** Writes the bitmap. Throws HostError. */
  writeBitmap(): void {
    this.counters.headerWrites++;
    const header = { ...this.#header, sequence: this.#header.sequence + 1 };
    this.file.write(headerOffset(1 - this.#headerCopy), encodeHeader(header));
    this.#header = header;
    this.#headerCopy = 1 - this.#headerCopy;
    this.#headerChanged = false;
  }

  #page(number: number): Page {
    const known = this.#pages.get(number);
    if (known !== undefined) return known;
    if (this.#pages.size >= PAGES_KEPT) this.#forgetOne();
    const page = this.#read(number);
    this.#pages.set(number, page);
    return page;
  }

  #read(number: number): Page {
    const { path } = this.file;
    let found: Page | undefined;
    for (const copy of [0, 1]) {
      const bytes = new Uint8Array(PAGE_BYTES);
      this.counters.indicatorReads++;
      if (this.file.read(pageOffset(number, copy), bytes) < PAGE_BYTES) continue;
      const content = decodePage(this.#header, number, bytes, path);
      if (content === undefined || content.sequence <= (found?.sequence ?? 0)) continue;
      found = { ...content, copy };
    }
    if (found !== undefined) return found;
    if ((this.#header.bitmap[number >> 3]! & 1 << (number & 7)) !== 0) {
      throw new FormatError(`"${path}" is damaged: both copies of its table page ${number} are`);
    }
    return { initialised: new Uint32Array(PAGE_ENTRIES), sequence: 0, copy: 1 };
  }

  #forgetOne(): void {
    for (const number of this.#pages.keys()) {
      if (this.#changed.has(number) || this.#held.has(number)) continue;
      this.#pages.delete(number);
      return;
    }
  }
}
