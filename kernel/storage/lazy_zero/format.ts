/**
 * The format of lazily initialised images (S4): preallocated, made in no time whatever their size, and
 * never showing what lay below them before.
 *
 *     file      header, twice | table pages, each twice | data
 *     header    "CHRONLZI" | u32 version | u32 CRC-32 of the header with this field 0 | u64 sequence |
 *               16 bytes identity | u64 bytes of the disk | u32 bytes of a block | u32 zeroing |
 *               bitmap of the table pages that were ever made durable (from byte 128 to 8192)
 *     page      u32 CRC-32 of what follows | u32 number of the page | u64 sequence | identity | 1016 entries
 *     entry     u32: 0x80000000: the block need not be zeroed; less: it must be, but for so many sectors at
 *               its front, which hold data (S4.7)
 *
 * All numbers are little-endian. Block n lies at `dataOffset + n * blockBytes`: as a block is allocated with
 * its image, its address (S4.1) is a matter of arithmetic, and an entry need only hold the indicator.
 *
 * The indicators are at the head of the image and not in a file of their own, so that the two can neither
 * be parted nor paired wrongly, and so that an image can be a block device. A page is only believed if it
 * carries the identity of its image, which is random: so the table need not be written when the image is
 * made (S4.8), and no garbage below it, older images included, passes for a page.
 *
 * Invariants: of both copies of a header or page the older one is written, so that a write that is torn
 * leaves the other; a page in the bitmap was whole once, so that where none of its copies is, the image
 * is damaged and refused, never read as zeros.
 */
import { assert } from "../../base/assert.ts";
import { equalBytes } from "../../base/bytes.ts";
import { crc32 } from "../../base/checksum.ts";
import { ConfigError, FormatError } from "../../base/errors.ts";
import { formatSize, KiB, MiB } from "../../base/units.ts";
import { SECTOR_BYTES } from "../../limits.ts";

/** Version of the format. */
export const VERSION = 1;
/** Bytes of one copy of the header. */
export const HEADER_BYTES = 8 * KiB;
/** Bytes of one copy of a table page. */
export const PAGE_BYTES = 4 * KiB;
/** Entries of a table page. */
export const PAGE_ENTRIES = 1016;
/** Least bytes of a block. */
export const BLOCK_BYTES_MINIMUM = 4 * KiB;
/** Most bytes of a block. */
export const BLOCK_BYTES_MAXIMUM = 64 * MiB;
/** Bytes of an image's identity. */
export const IDENTITY_BYTES = 16;

const MAGIC = new TextEncoder().encode("CHRONLZI");
const BITMAP_START = 128;
const BITMAP_BITS = 8 * (HEADER_BYTES - BITMAP_START);
const PAGE_HEADER_BYTES = 32;
const TABLE_START = 2 * HEADER_BYTES;
const ALIGNMENT_MAXIMUM = 1 * MiB;
/** Entry of a block that need not be zeroed. */
const INITIALISED = 0x8000_0000;
/** TABLE of what is zeroed ahead of the first write to a block, by its number in the header. */
export const ZEROING = ["front", "whole"] as const;

assert(PAGE_HEADER_BYTES + 4 * PAGE_ENTRIES === PAGE_BYTES, "a table page is full");

/**
 * What is zeroed ahead of a write to a block that must be zeroed: "front", what is not initialised in
 * front of the written bytes (S4.7); "whole", all of the block but the written bytes (S4.4).
 */
export type Zeroing = (typeof ZEROING)[number];

/** Where everything is. */
export interface Geometry {
  /** Bytes of the disk. */
  readonly bytes: number;
  readonly blockBytes: number;
  /** Sectors of every block but perhaps the last. */
  readonly blockSectors: number;
  readonly blocks: number;
  readonly pages: number;
  /** Where block 0 begins in the file. */
  readonly dataOffset: number;
  /** Bytes of the file. */
  readonly fileBytes: number;
}

/** A header's content. */
export interface Header {
  readonly sequence: number;
  readonly identity: Uint8Array;
  readonly geometry: Geometry;
  readonly zeroing: Zeroing;
  /** A bit for each table page. */
  readonly bitmap: Uint8Array;
}

/** Where things of an image lie. Throws ConfigError when there can be no such image. */
export function geometryOf(bytes: number, blockBytes: number): Geometry {
  const isBlock = Number.isInteger(Math.log2(blockBytes)) && blockBytes >= BLOCK_BYTES_MINIMUM &&
    blockBytes <= BLOCK_BYTES_MAXIMUM;
  if (!isBlock) {
    throw new ConfigError(
      `${blockBytes} is no size of a lazily zeroed block: expected a power of two from ` +
        `${formatSize(BLOCK_BYTES_MINIMUM)} to ${formatSize(BLOCK_BYTES_MAXIMUM)}`,
    );
  }
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % SECTOR_BYTES !== 0) {
    throw new ConfigError(`${bytes} is no size of a disk: expected a multiple of 512 bytes`);
  }
  const blocks = Math.ceil(bytes / blockBytes);
  const pages = Math.ceil(blocks / PAGE_ENTRIES);
  if (pages > BITMAP_BITS) {
    const most = BITMAP_BITS * PAGE_ENTRIES * blockBytes;
    throw new ConfigError(
      `A lazily zeroed image with blocks of ${formatSize(blockBytes)} has at most ` +
        `${formatSize(most)}, not ${formatSize(bytes)}; larger blocks let it be larger`,
    );
  }
  const alignment = Math.min(blockBytes, ALIGNMENT_MAXIMUM);
  const tableEnd = TABLE_START + 2 * PAGE_BYTES * pages;
  const dataOffset = Math.ceil(tableEnd / alignment) * alignment;
  return {
    bytes,
    blockBytes,
    blockSectors: blockBytes / SECTOR_BYTES,
    blocks,
    pages,
    dataOffset,
    fileBytes: dataOffset + bytes,
  };
}

/** Most bytes that a disk in a file of a size can have; 0 when there is room for none. */
export function mostBytes(fileBytes: number, blockBytes: number): number {
  let fits = 0;
  let tooMany = Math.floor(fileBytes / SECTOR_BYTES) + 1;
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (geometryOf(middle * SECTOR_BYTES, blockBytes).fileBytes <= fileBytes) fits = middle;
    else tooMany = middle;
  }
  return fits * SECTOR_BYTES;
}

/** Sectors of a block. */
export function sectorsOf(geometry: Geometry, block: number): number {
  const left = geometry.bytes / SECTOR_BYTES - block * geometry.blockSectors;
  return Math.min(geometry.blockSectors, left);
}

/** Where a copy of the header lies. */
export const headerOffset = (copy: number): number => copy * HEADER_BYTES;

/** Where a copy of a table page lies. */
export const pageOffset = (page: number, copy: number): number =>
  TABLE_START + (2 * page + copy) * PAGE_BYTES;

/** Whether bytes from the start of a file's header say that they are one. */
export function hasMagic(bytes: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, MAGIC.length), MAGIC);
}

/** The bytes of a header. */
export function encodeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, VERSION, true);
  view.setBigUint64(16, BigInt(header.sequence), true);
  bytes.set(header.identity, 24);
  view.setBigUint64(40, BigInt(header.geometry.bytes), true);
  view.setUint32(48, header.geometry.blockBytes, true);
  view.setUint32(52, ZEROING.indexOf(header.zeroing), true);
  bytes.set(header.bitmap, BITMAP_START);
  view.setUint32(12, crc32(bytes), true);
  return bytes;
}

/** A bitmap in which no page is. */
export const emptyBitmap = (): Uint8Array => new Uint8Array(HEADER_BYTES - BITMAP_START);

/**
 * Reads a copy of a header; undefined when it is none or not whole. Throws FormatError when it is whole
 * and yet makes no sense, or has a version that we do not know.
 */
export function decodeHeader(bytes: Uint8Array, path: string): Header | undefined {
  if (bytes.length < HEADER_BYTES || !hasMagic(bytes)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const unsigned = bytes.slice();
  unsigned.fill(0, 12, 16);
  if (crc32(unsigned) !== view.getUint32(12, true)) return undefined;
  const version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new FormatError(
      `"${path}" is a lazily zeroed image of version ${version}: expected version ${VERSION}`,
    );
  }
  const zeroing = ZEROING[view.getUint32(52, true)];
  const sequence = Number(view.getBigUint64(16, true));
  if (zeroing === undefined || !Number.isSafeInteger(sequence)) {
    throw new FormatError(
      `"${path}" has the header of a lazily zeroed image with impossible values`,
    );
  }
  let geometry: Geometry;
  try {
    geometry = geometryOf(Number(view.getBigUint64(40, true)), view.getUint32(48, true));
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new FormatError(`"${path}" says of itself what cannot be: ${cause.message}`, { cause });
  }
  const identity = bytes.slice(24, 24 + IDENTITY_BYTES);
  return { sequence, identity, geometry, zeroing, bitmap: bytes.slice(BITMAP_START, HEADER_BYTES) };
}

/** A table page's content: for each block how many sectors at its front are initialised. */
export interface TablePage {
  readonly sequence: number;
  readonly initialised: Uint32Array;
}

/** The bytes of a table page. */
export function encodePage(header: Header, page: number, content: TablePage): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, page, true);
  view.setBigUint64(8, BigInt(content.sequence), true);
  bytes.set(header.identity, 16);
  const first = page * PAGE_ENTRIES;
  for (let i = 0; i < PAGE_ENTRIES && first + i < header.geometry.blocks; i++) {
    const sectors = content.initialised[i]!;
    const whole = sectors === sectorsOf(header.geometry, first + i);
    view.setUint32(PAGE_HEADER_BYTES + 4 * i, whole ? INITIALISED : sectors, true);
  }
  view.setUint32(0, crc32(bytes.subarray(4)), true);
  return bytes;
}

/**
 * Reads a copy of a table page; undefined when it is none of this image or not whole. Throws FormatError
 * when it is whole and says what cannot be.
 */
export function decodePage(
  header: Header,
  page: number,
  bytes: Uint8Array,
  path: string,
): TablePage | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isOurs = bytes.length === PAGE_BYTES && view.getUint32(4, true) === page &&
    equalBytes(bytes.subarray(16, 16 + IDENTITY_BYTES), header.identity);
  if (!isOurs || crc32(bytes.subarray(4)) !== view.getUint32(0, true)) return undefined;
  const sequence = Number(view.getBigUint64(8, true));
  const initialised = new Uint32Array(PAGE_ENTRIES);
  const first = page * PAGE_ENTRIES;
  for (let i = 0; i < PAGE_ENTRIES; i++) {
    const entry = view.getUint32(PAGE_HEADER_BYTES + 4 * i, true);
    const most = first + i < header.geometry.blocks ? sectorsOf(header.geometry, first + i) : 0;
    const partly = header.zeroing === "front" && entry < most;
    if (entry === INITIALISED && most > 0) initialised[i] = most;
    else if (entry === 0 || partly) initialised[i] = entry;
    else throw new FormatError(`"${path}" has the indicator ${entry} for block ${first + i}`);
  }
  if (!Number.isSafeInteger(sequence)) {
    throw new FormatError(`"${path}" has a table page with the number of writes ${sequence}`);
  }
  return { sequence, initialised };
}
