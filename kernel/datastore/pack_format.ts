/**
 * How a pack lies in bytes (S17, X5): the pages that one save was the first to have, in clusters, with an
 * index for random access. All integers are little-endian.
 *
 *     header     "CHRONPAK" | u32 version | u32 generation | 16 bytes id | u32 0 | u32 CRC of all before
 *     clusters   one after another, nothing between them
 *     directory  for each cluster: u32 stored bytes | u32 pages, bit 31: plain | u32 CRC of stored bytes
 *     numbers    u32 for each page, rising; only if pages were taken out since the pack was made
 *     hashes     16 bytes for each page: the first 128 bits of its SHA-256
 *     footer     u32 clusters | u32 pages | u32 numbers that were given | u32 generation
 *                | u32 CRC of directory | u32 CRC of numbers | u32 CRC of hashes
 *                | 16 bytes id | "CHRONEND" | u32 0 | u32 CRC of the footer before
 *
 * A page is named by its number in the pack, counted from 0 in the order in which pages came. A compressed
 * cluster is one zstd frame of so many pages; a plain one is the pages themselves, so that plain clusters
 * behind each other are one stretch of pages.
 *
 * Invariants: a pack never changes; it is replaced as a whole by one with the same id and the next
 * generation, in which numbers mean what they meant, or nothing. Lengths that do not add up to the size of
 * the file are damage, so a reader's memory is bounded by the size of the file.
 */
import { assert } from "../base/assert.ts";
import { FormatError } from "../base/errors.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { HASH_WORDS, type PageCodec } from "../host/page_codec.ts";
import { WordList } from "./word_list.ts";

/** Version of this format. */
export const PACK_VERSION = 1;
/** Bytes before the first cluster. */
export const PACK_HEADER_BYTES = 40;
/** Bytes at the end of a pack. */
export const PACK_FOOTER_BYTES = 60;
/** Bytes of a page's hash. */
export const HASH_BYTES = 4 * HASH_WORDS;
/** Pages of a compressed cluster as they are made. */
export const CLUSTER_PAGES = 16;
/** Most pages of a compressed cluster. */
export const CLUSTER_PAGES_MAXIMUM = 64;
/** Most pages of a plain cluster. */
export const PLAIN_PAGES_MAXIMUM = 4096;
/** Most pages of a pack: as many as two of the largest guests have. */
export const PACK_PAGES_MAXIMUM = 2 ** 21;

const MAGIC = new TextEncoder().encode("CHRONPAK");
const END = new TextEncoder().encode("CHRONEND");
const ID = /^[0-9a-f]{32}$/;
/** Words of a cluster's row in the directory. */
export const DIRECTORY_WORDS = 3;
const PLAIN = 0x8000_0000;

assert(new Uint8Array(Uint32Array.of(1).buffer)[0] === 1, "tables are read as this host's words");

/** Whether a text can be the id of a pack or checkpoint: 32 hexadecimal digits. */
export const isStoreId = (text: unknown): text is string =>
  typeof text === "string" && ID.test(text);

/** A cluster of pages, ready to be written. */
export interface EncodedCluster {
  /** Its pages, or their compressed form. */
  readonly stored: Uint8Array<ArrayBuffer>;
  readonly plain: boolean;
  readonly crc: number;
  /** Four words for each page. */
  readonly hashes: Uint32Array<ArrayBuffer>;
}

/** A pack's identity: two packs with the same id and generation are the same bytes. */
export interface PackIdentity {
  readonly id: string;
  readonly generation: number;
}

/** What a footer says. */
export interface PackFooter extends PackIdentity {
  readonly clusters: number;
  /** Pages that are there. */
  readonly pages: number;
  /** Numbers that were given: as many as pages, until some were taken out. */
  readonly numbers: number;
  readonly directoryCrc: number;
  readonly numbersCrc: number;
  readonly hashesCrc: number;
}

function putId(id: string, into: Uint8Array): void {
  for (let i = 0; i < 16; i++) into[i] = parseInt(id.slice(2 * i, 2 * i + 2), 16);
}

function idOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The head of a pack. */
export function packHeader(pack: PackIdentity, codec: PageCodec): Uint8Array<ArrayBuffer> {
  assert(isStoreId(pack.id), "a pack's id");
  const bytes = new Uint8Array(PACK_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, PACK_VERSION, true);
  view.setUint32(12, pack.generation, true);
  putId(pack.id, bytes.subarray(16));
  view.setUint32(36, codec.crc32(bytes.subarray(0, 36)), true);
  return bytes;
}

/** Reads a head. Throws FormatError. */
export function readPackHeader(bytes: Uint8Array, codec: PageCodec): PackIdentity {
  if (bytes.length < PACK_HEADER_BYTES) throw new FormatError("it is cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new FormatError("it is no pack of pages");
  const version = view.getUint32(8, true);
  if (version !== PACK_VERSION) {
    throw new FormatError(`it has format version ${version}; this program reads ${PACK_VERSION}`);
  }
  if (codec.crc32(bytes.subarray(0, 36)) !== view.getUint32(36, true)) {
    throw new FormatError("the checksum of its head does not hold");
  }
  return { id: idOf(bytes.subarray(16, 32)), generation: view.getUint32(12, true) };
}

/** A cluster's row in the directory. */
export interface DirectoryRow {
  readonly storedBytes: number;
  readonly pages: number;
  readonly plain: boolean;
  readonly crc: number;
}

/** Makes the row of a cluster. */
export function directoryRow({ stored, plain, crc, hashes }: EncodedCluster): Uint32Array {
  return Uint32Array.of(stored.length, hashes.length / HASH_WORDS + (plain ? PLAIN : 0), crc);
}

/** Reads a row; its numbers may make no sense. */
export function readDirectoryRow(directory: Uint32Array, index: number): DirectoryRow {
  const [storedBytes = 0, word = 0, crc = 0] = directory.subarray(DIRECTORY_WORDS * index);
  const plain = word >= PLAIN;
  return { storedBytes, pages: plain ? word - PLAIN : word, plain, crc };
}

/** Collects the tables of a pack while its clusters are written. */
export class PackTables {
  /** Bytes of the clusters so far. */
  storedBytes = 0;
  readonly #directory = new WordList();
  readonly #hashes = new WordList();
  readonly #numbers = new WordList();

  /** Pages so far. */
  get pages(): number {
    return this.#hashes.length / HASH_WORDS;
  }

  /** Adds a cluster; numbers are given when pages were taken out. */
  add(cluster: EncodedCluster, numbers?: Uint32Array): void {
    const pages = cluster.hashes.length / HASH_WORDS;
    const { stored, plain } = cluster;
    assert(pages > 0 && pages <= (plain ? PLAIN_PAGES_MAXIMUM : CLUSTER_PAGES_MAXIMUM));
    assert(plain ? stored.length === pages * PAGE_BYTES : stored.length < pages * PAGE_BYTES);
    assert(numbers === undefined || numbers.length === pages, "a number for each page");
    assert(this.pages + pages <= PACK_PAGES_MAXIMUM, "a pack has room for all pages of a save");
    this.#directory.append(directoryRow(cluster));
    this.#hashes.append(cluster.hashes);
    if (numbers) this.#numbers.append(numbers);
    this.storedBytes += stored.length;
  }

  /** The tables and the footer. */
  finish(pack: PackIdentity, numbers: number, codec: PageCodec): Uint8Array<ArrayBuffer> {
    const tables = [this.#directory, this.#numbers, this.#hashes].map((list) => {
      const words = list.view();
      return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    });
    const tableBytes = tables.reduce((sum, { length }) => sum + length, 0);
    const bytes = new Uint8Array(tableBytes + PACK_FOOTER_BYTES);
    let at = 0;
    for (const table of tables) {
      bytes.set(table, at);
      at += table.length;
    }
    const footer = bytes.subarray(at);
    const view = new DataView(bytes.buffer, at);
    view.setUint32(0, this.#directory.length / DIRECTORY_WORDS, true);
    view.setUint32(4, this.pages, true);
    view.setUint32(8, numbers, true);
    view.setUint32(12, pack.generation, true);
    tables.forEach((table, i) => view.setUint32(16 + 4 * i, codec.crc32(table), true));
    putId(pack.id, footer.subarray(28));
    footer.set(END, 44);
    view.setUint32(56, codec.crc32(footer.subarray(0, 56)), true);
    return bytes;
  }
}

/** Reads a footer of a pack of so many bytes. Throws FormatError. */
export function readPackFooter(
  bytes: Uint8Array,
  fileBytes: number,
  codec: PageCodec,
): PackFooter {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isWhole = bytes.length === PACK_FOOTER_BYTES &&
    END.every((byte, i) => bytes[44 + i] === byte) &&
    codec.crc32(bytes.subarray(0, 56)) === view.getUint32(56, true);
  if (!isWhole) throw new FormatError("it is cut short, or its end is damaged");
  const word = (at: number) => view.getUint32(at, true);
  const footer: PackFooter = {
    clusters: word(0),
    pages: word(4),
    numbers: word(8),
    generation: word(12),
    directoryCrc: word(16),
    numbersCrc: word(20),
    hashesCrc: word(24),
    id: idOf(bytes.subarray(28, 44)),
  };
  const { clusters, pages, numbers } = footer;
  const fits = clusters <= pages && pages <= numbers && numbers <= PACK_PAGES_MAXIMUM &&
    PACK_HEADER_BYTES + tableBytes(footer) + PACK_FOOTER_BYTES <= fileBytes;
  if (!fits) throw new FormatError("the sizes of its tables make no sense");
  return footer;
}

/** Bytes of each table, in their order. */
export function tableSizes(footer: PackFooter): [number, number, number] {
  const { clusters, pages, numbers } = footer;
  return [4 * DIRECTORY_WORDS * clusters, pages === numbers ? 0 : 4 * pages, HASH_BYTES * pages];
}

function tableBytes(footer: PackFooter): number {
  return tableSizes(footer).reduce((sum, bytes) => sum + bytes, 0);
}

/** Where clusters and pages are. */
export interface PackDirectory {
  /** Offset of each cluster in the file, and of what follows the last. */
  readonly offsets: Float64Array;
  /** Place of each cluster's first page among all pages, and how many pages there are. */
  readonly firsts: Uint32Array;
  readonly crcs: Uint32Array;
  /** 1 where a cluster is plain. */
  readonly plain: Uint8Array;
  /** Numbers of the pages; undefined: page n has number n. */
  readonly numbers: Uint32Array | undefined;
}

/** Reads directory and numbers of a pack of so many bytes. Throws FormatError. */
export function readPackDirectory(
  words: Uint32Array,
  footer: PackFooter,
  fileBytes: number,
  codec: PageCodec,
): PackDirectory {
  const { clusters, pages } = footer;
  const directory = words.subarray(0, DIRECTORY_WORDS * clusters);
  const numbers = words.subarray(DIRECTORY_WORDS * clusters);
  checkTable(directory, footer.directoryCrc, "directory", codec);
  checkTable(numbers, footer.numbersCrc, "page numbers", codec);
  const offsets = new Float64Array(clusters + 1);
  const firsts = new Uint32Array(clusters + 1);
  const crcs = new Uint32Array(clusters);
  const plain = new Uint8Array(clusters);
  let [offset, first] = [PACK_HEADER_BYTES, 0];
  for (let i = 0; i < clusters; i++) {
    offsets[i] = offset;
    firsts[i] = first;
    const stored = directory[3 * i]!;
    const word = directory[3 * i + 1]!;
    const [count, isPlain] = word >= PLAIN ? [word - PLAIN, true] : [word, false];
    const fits = isPlain
      ? count <= PLAIN_PAGES_MAXIMUM && stored === count * PAGE_BYTES
      : count <= CLUSTER_PAGES_MAXIMUM && stored < count * PAGE_BYTES;
    if (count === 0 || !fits) throw new FormatError(`cluster ${i} has sizes that make no sense`);
    plain[i] = isPlain ? 1 : 0;
    crcs[i] = directory[3 * i + 2]!;
    offset += stored;
    first += count;
  }
  offsets[clusters] = offset;
  firsts[clusters] = first;
  if (first !== pages || offset + tableBytes(footer) + PACK_FOOTER_BYTES !== fileBytes) {
    throw new FormatError("its clusters are not as many or as long as it says");
  }
  if (numbers.length > 0) checkNumbers(numbers, footer.numbers);
  return { offsets, firsts, crcs, plain, numbers: numbers.length > 0 ? numbers : undefined };
}

function checkNumbers(numbers: Uint32Array, end: number): void {
  for (let i = 0, last = -1; i < numbers.length; last = numbers[i++]!) {
    if (numbers[i]! <= last || numbers[i]! >= end) {
      throw new FormatError("its page numbers are out of order");
    }
  }
}

/** Throws FormatError unless a table's checksum holds. */
export function checkTable(words: Uint32Array, crc: number, what: string, codec: PageCodec): void {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  if (codec.crc32(bytes) !== crc) {
    throw new FormatError(`the checksum of its ${what} does not hold`);
  }
}
