/**
 * The working set of a checkpoint: the pages that its VM uses first when it goes on, as they were learned from
 * one that did, laid together and not compressed, so that a few large reads bring them (S19.6 to S19.8; N6).
 * A file beside the checkpoint's, STORE/checkpoints/ID.working-set. Integers are little-endian.
 *
 *     header    "CHRONWKS" | u32 version | u32 guest pages of RAM | 16 bytes id of the checkpoint | u32 pages |
 *               u32 runs | u32 CRC-32 of the runs | u32 CRC-32 of the 44 bytes before
 *     parts     u32 CRC-32 of the contents, for each PART_PAGES pages
 *     runs      u32 first guest page | u32 pages; rising
 *     contents  the pages of the runs, one after another, from the next multiple of 4096 on
 *
 * Invariants: it says nothing that the checkpoint does not say itself, so one that is missing, damaged or not
 * this checkpoint's costs time and nothing else; a part's pages count as loaded only when its checksum holds.
 */
import { assert } from "../base/assert.ts";
import { FormatError } from "../base/errors.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { HostFile } from "../host/files.ts";
import type { PageCodec } from "../host/page_codec.ts";

/** Version of the file. */
export const WORKING_SET_VERSION = 1;
/** Most pages: 64 MiB. */
export const WORKING_SET_PAGES_MAXIMUM = 16_384;
/** Bytes of the header. */
export const WORKING_SET_HEADER_BYTES = 48;
/** Pages that are checked together: 1 MiB. */
const PART_PAGES = 256;
/** Pages that are read together: what is read fits into the host's caches, and takes little new memory. */
const PIECE_PAGES = 64;

const MAGIC = new TextEncoder().encode("CHRONWKS");

/** Which checkpoint a working set is of. */
export interface WorkingSetOf {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly memoryPages: number;
}

/**
 * Bytes of a working set.
 *
 * @param pages guest pages, each once, in any order; those beyond WORKING_SET_PAGES_MAXIMUM are left out
 * @param read gives a page's contents, asked in rising order
 */
export function writeWorkingSet(
  { id, memoryPages }: WorkingSetOf,
  pages: Uint32Array,
  read: (page: number, into: Uint8Array) => void,
  codec: PageCodec,
): Uint8Array<ArrayBuffer> {
  const sorted = pages.slice(0, WORKING_SET_PAGES_MAXIMUM).sort();
  const runs = runsOf(sorted);
  const place = placesOf(sorted.length, runs.length / 2);
  const bytes = new Uint8Array(place.contents + sorted.length * PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, WORKING_SET_VERSION, true);
  view.setUint32(12, memoryPages, true);
  bytes.set(idBytes(id), 16);
  view.setUint32(32, sorted.length, true);
  view.setUint32(36, runs.length / 2, true);
  runs.forEach((word, i) => view.setUint32(place.runs + 4 * i, word, true));
  sorted.forEach((page, i) => {
    const at = place.contents + i * PAGE_BYTES;
    read(page, bytes.subarray(at, at + PAGE_BYTES));
  });
  for (let part = 0; part < place.parts; part++) {
    const at = place.contents + part * PART_PAGES * PAGE_BYTES;
    const contents = bytes.subarray(at, at + PART_PAGES * PAGE_BYTES);
    view.setUint32(WORKING_SET_HEADER_BYTES + 4 * part, codec.crc32(contents), true);
  }
  const lists = bytes.subarray(WORKING_SET_HEADER_BYTES, place.end);
  view.setUint32(40, codec.crc32(lists), true);
  view.setUint32(44, codec.crc32(bytes.subarray(0, 44)), true);
  return bytes;
}

/**
 * Loads a working set into guest RAM, which may be shared memory. Throws FormatError, when pages of which
 * `loaded` was not told may hold anything, and HostError.
 *
 * @param loaded is told of each run of pages that is in its place
 */
export function loadWorkingSet(
  file: HostFile,
  of: WorkingSetOf,
  codec: PageCodec,
  ram: Uint8Array,
  loaded: (first: number, pages: number) => void,
): void {
  const { pages, runs, crcs, contents } = readLists(file, of, codec);
  const staging = new Uint8Array(Math.min(PIECE_PAGES, pages) * PAGE_BYTES);
  const place = new Runs(runs);
  for (let part = 0; part < crcs.length; part++) {
    const first = part * PART_PAGES;
    const end = Math.min(pages, first + PART_PAGES);
    const placed: number[] = [];
    let crc = 0;
    for (let piece = first; piece < end; piece += PIECE_PAGES) {
      const count = Math.min(PIECE_PAGES, end - piece);
      const bytes = staging.subarray(0, count * PAGE_BYTES);
      readWhole(file, contents + piece * PAGE_BYTES, bytes);
      crc = codec.crc32(bytes, crc);
      place.next(count, (page, some, taken) => {
        const from = staging.subarray(taken * PAGE_BYTES, (taken + some) * PAGE_BYTES);
        ram.set(from, page * PAGE_BYTES);
        placed.push(page, some);
      });
    }
    if (crc !== crcs[part]) {
      throw new FormatError(`the checksum of part ${part} does not hold`);
    }
    for (let i = 0; i < placed.length; i += 2) loaded(placed[i]!, placed[i + 1]!);
  }
}

/** Goes through the pages of runs, some at a time. */
class Runs {
  #run = 0;
  /** Pages of the run that were gone through. */
  #done = 0;

  constructor(private readonly runs: Uint32Array) {}

  /** The next pages: gives the first and the number of each stretch, and how many came before it. */
  next(count: number, each: (page: number, pages: number, before: number) => void): void {
    for (let taken = 0; taken < count;) {
      const [first, length] = [this.runs[2 * this.#run]!, this.runs[2 * this.#run + 1]!];
      const some = Math.min(length - this.#done, count - taken);
      each(first + this.#done, some, taken);
      taken += some;
      this.#done += some;
      if (this.#done < length) continue;
      this.#run++;
      this.#done = 0;
    }
  }
}

interface Lists {
  readonly pages: number;
  readonly runs: Uint32Array;
  readonly crcs: Uint32Array;
  /** Offset of the contents. */
  readonly contents: number;
}

function readLists(file: HostFile, of: WorkingSetOf, codec: PageCodec): Lists {
  const header = new Uint8Array(WORKING_SET_HEADER_BYTES);
  readWhole(file, 0, header);
  const view = new DataView(header.buffer);
  if (!MAGIC.every((byte, i) => header[i] === byte)) throw new FormatError("it is no working set");
  const version = view.getUint32(8, true);
  if (version !== WORKING_SET_VERSION) {
    throw new FormatError(`it has version ${version}; this program reads ${WORKING_SET_VERSION}`);
  }
  if (codec.crc32(header.subarray(0, 44)) !== view.getUint32(44, true)) {
    throw new FormatError("the checksum of its header does not hold");
  }
  const isOf = idBytes(of.id).every((byte, i) => header[16 + i] === byte) &&
    view.getUint32(12, true) === of.memoryPages;
  if (!isOf) throw new FormatError("it is of another checkpoint");
  const [pages, runCount] = [view.getUint32(32, true), view.getUint32(36, true)];
  if (pages > WORKING_SET_PAGES_MAXIMUM || runCount > pages || (runCount === 0) !== (pages === 0)) {
    throw new FormatError("its lengths make no sense");
  }
  const place = placesOf(pages, runCount);
  if (file.size !== place.contents + pages * PAGE_BYTES) throw new FormatError("it is cut short");
  const lists = new Uint32Array(place.parts + 2 * runCount);
  const bytes = new Uint8Array(lists.buffer);
  readWhole(file, WORKING_SET_HEADER_BYTES, bytes);
  if (codec.crc32(bytes) !== view.getUint32(40, true)) {
    throw new FormatError("the checksum of its lists does not hold");
  }
  const runs = lists.subarray(place.parts);
  checkRuns(runs, pages, of.memoryPages);
  return { pages, runs, crcs: lists.subarray(0, place.parts), contents: place.contents };
}

function checkRuns(runs: Uint32Array, pages: number, memoryPages: number): void {
  let [end, sum] = [0, 0];
  for (let i = 0; i < runs.length; i += 2) {
    const [first, count] = [runs[i]!, runs[i + 1]!];
    if (count === 0 || first < end || first + count > memoryPages) {
      throw new FormatError("its runs are not those of pages in memory");
    }
    end = first + count;
    sum += count;
  }
  if (sum !== pages) throw new FormatError("its runs do not have as many pages as it says");
}

/** Where the parts of a file lie. */
function placesOf(pages: number, runs: number) {
  const parts = Math.ceil(pages / PART_PAGES);
  const runsAt = WORKING_SET_HEADER_BYTES + 4 * parts;
  const end = runsAt + 8 * runs;
  return { parts, runs: runsAt, end, contents: Math.ceil(end / PAGE_BYTES) * PAGE_BYTES };
}

/** First page and pages of each run of rising pages. */
function runsOf(sorted: Uint32Array): Uint32Array {
  const runs: number[] = [];
  sorted.forEach((page, i) => {
    assert(i === 0 || page > sorted[i - 1]!, "a working set has each page once");
    if (i > 0 && page === sorted[i - 1]! + 1) runs[runs.length - 1]!++;
    else runs.push(page, 1);
  });
  return Uint32Array.from(runs);
}

function idBytes(id: string): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => parseInt(id.slice(2 * i, 2 * i + 2), 16));
}

function readWhole(file: HostFile, offset: number, into: Uint8Array): void {
  if (file.read(offset, into) < into.length) throw new FormatError("it is cut short");
}
