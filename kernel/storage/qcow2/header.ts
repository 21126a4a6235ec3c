/**
 * The header of a qcow2 image, versions 2 and 3 (QEMU docs/interop/qcow2.txt, "Header"; issue 5,
 * section 3).
 *
 * Invariant: a parsed header is within every limit below and names only places inside the file, so that
 * whoever uses it reads a bounded number of bytes; what this project cannot do (encryption, an external
 * data file, extended L2 entries, unknown incompatible features) is refused by name.
 */
import { FormatError } from "../../base/errors.ts";
import { formatSize, MiB } from "../../base/units.ts";
import type { HostFile } from "../../host/files.ts";
import { SECTOR_BYTES } from "../../limits.ts";

/** "QFI" and 0xfb, big endian. */
export const QCOW2_MAGIC = 0x5146_49fb;
/** Bytes of the header of version 2. */
export const HEADER_BYTES_V2 = 72;
/** Least bytes of the header of version 3. */
export const HEADER_BYTES_V3 = 104;
/** Bytes of the header that this project writes: with the compression type and its padding. */
export const HEADER_BYTES_WRITTEN = 112;

/** Least and most bits of an offset in a cluster: 512 bytes to 2 MiB. */
export const CLUSTER_BITS_MINIMUM = 9;
/** See above. */
export const CLUSTER_BITS_MAXIMUM = 21;
/** Most bytes of an L1 table (as in QEMU). */
export const L1_BYTES_MAXIMUM = 32 * MiB;
/** Most bytes of a refcount table (as in QEMU). */
export const REFCOUNT_TABLE_BYTES_MAXIMUM = 8 * MiB;
/** Most snapshots of an image (as in QEMU). */
export const SNAPSHOTS_MAXIMUM = 65_536;
/** Longest name of a backing file. */
export const BACKING_NAME_BYTES_MAXIMUM = 1023;
/** Bytes of an entry of the L1, L2 and refcount tables. */
export const ENTRY_BYTES = 8;

/** Where fields of the header lie that change after an image is made. */
export const HEADER_OFFSET = {
  refcountTable: 48,
  incompatible: 72,
  compatible: 80,
  autoclear: 88,
} as const;

/** Bits of the incompatible features' low word. */
export const INCOMPATIBLE = { dirty: 1, corrupt: 2, dataFile: 4, compression: 8, extendedL2: 16 };
/** Bit of the compatible features' low word: refcounts are brought up to date later. */
export const COMPATIBLE_LAZY_REFCOUNTS = 1;

/** Types of header extensions. */
export const EXTENSION = {
  end: 0,
  backingFormat: 0xe279_2aca,
  featureNames: 0x6803_f857,
  bitmaps: 0x2385_2875,
  encryption: 0x0537_be77,
  dataFile: 0x4441_5441,
} as const;

/** How clusters are compressed. */
export type CompressionType = "deflate" | "zstd";

/** What a header says. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes of a cluster. */
  readonly clusterBytes: number;
  /** Bytes of the disk that the guest sees. */
  readonly bytes: number;
  /** Name of the backing file as it is written there. */
  readonly backingName: string | undefined;
  /** Format of the backing file, when the image says it. */
  readonly backingFormat: string | undefined;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** log2 of the bits of a refcount, 0 to 6. */
  readonly refcountOrder: number;
  readonly snapshots: number;
  readonly snapshotsOffset: number;
  /** Whether refcounts may be out of date: the image was not closed. */
  readonly isDirty: boolean;
  /** Whether somebody found the image damaged; it must not be written to. */
  readonly isCorrupt: boolean;
  readonly lazyRefcounts: boolean;
  readonly compression: CompressionType;
  /** Persistent dirty bitmaps. */
  readonly bitmaps: number;
  /** Names of the features that are on, for people. */
  readonly features: readonly string[];
}

/** Whether bytes begin as a qcow2 image does. */
export function hasQcow2Magic(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(0) === QCOW2_MAGIC;
}

/** A view of bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The big-endian 64-bit number at a place; those above 2^53 lose their low bits. */
export function getNumber64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

/** Writes a big-endian 64-bit number. */
export function setNumber64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32));
  view.setUint32(at + 4, value % 2 ** 32);
}

/** Entries of the L1 table that a disk of so many bytes takes. */
export function l1EntriesFor(bytes: number, clusterBytes: number): number {
  return Math.ceil(bytes / (clusterBytes * clusterBytes / ENTRY_BYTES));
}

interface Extensions {
  backingFormat: string | undefined;
  bitmaps: number;
  readonly names: Map<string, string>;
}

/**
 * Reads a header from the first bytes of a file: at least the first cluster, or as much of it as there
 * is. Throws `FormatError` naming the file.
 */
export function parseHeader(path: string, head: Uint8Array, fileBytes: number): Qcow2Header {
  return new HeaderReader(path, head, fileBytes).read();
}

/** Reads the header of an open file. Throws `FormatError`. */
export function readHeader(file: HostFile): Qcow2Header {
  const start = new Uint8Array(24);
  const clusterBits = file.read(0, start) === start.length ? viewOf(start).getUint32(20) : 0;
  const wanted = 2 ** Math.max(9, Math.min(CLUSTER_BITS_MAXIMUM, clusterBits));
  const head = new Uint8Array(Math.min(file.size, wanted));
  return parseHeader(file.path, head.subarray(0, file.read(0, head)), file.size);
}

class HeaderReader {
  readonly #view: DataView;

  constructor(
    private readonly path: string,
    private readonly head: Uint8Array,
    private readonly fileBytes: number,
  ) {
    this.#view = viewOf(head);
  }

  read(): Qcow2Header {
    const view = this.#view;
    if (!hasQcow2Magic(this.head)) this.#refuse("is no qcow2 image");
    if (this.head.length < HEADER_BYTES_V2) this.#refuse("ends inside its header");
    const version = view.getUint32(4);
    if (version !== 2 && version !== 3) {
      this.#refuse(`has qcow2 version ${version}: expected 2 or 3`);
    }
    const isV3 = version === 3;
    if (isV3 && this.head.length < HEADER_BYTES_V3) this.#refuse("ends inside its header");
    const clusterBits = view.getUint32(20);
    if (clusterBits < CLUSTER_BITS_MINIMUM || clusterBits > CLUSTER_BITS_MAXIMUM) {
      this.#refuse(`has clusters of 2^${clusterBits} bytes: expected 2^9 to 2^21`);
    }
    const clusterBytes = 2 ** clusterBits;
    const headerBytes = isV3 ? view.getUint32(100) : HEADER_BYTES_V2;
    if (
      headerBytes > clusterBytes || headerBytes > this.head.length ||
      (isV3 && (headerBytes < HEADER_BYTES_V3 || headerBytes % 8 !== 0))
    ) {
      this.#refuse(`has a header of ${headerBytes} bytes, which no image has`);
    }
    if (view.getUint32(32) !== 0) this.#refuse("is encrypted, which is not supported");
    const extensions = this.#readExtensions(headerBytes, clusterBytes);
    const incompatible = isV3 ? this.#incompatible(extensions) : 0;
    const refcountOrder = isV3 ? view.getUint32(96) : 4;
    if (refcountOrder > 6) {
      this.#refuse(`has refcounts of 2^${refcountOrder} bits: expected at most 64 bits`);
    }
    const header: Qcow2Header = {
      version: version as 2 | 3,
      clusterBits,
      clusterBytes,
      bytes: this.#diskBytes(),
      backingName: this.#backingName(clusterBytes),
      backingFormat: extensions.backingFormat,
      l1Entries: view.getUint32(36),
      l1Offset: getNumber64(view, 40),
      refcountTableOffset: getNumber64(view, 48),
      refcountTableClusters: view.getUint32(56),
      refcountOrder,
      snapshots: view.getUint32(60),
      snapshotsOffset: getNumber64(view, 64),
      isDirty: (incompatible & INCOMPATIBLE.dirty) !== 0,
      isCorrupt: (incompatible & INCOMPATIBLE.corrupt) !== 0,
      lazyRefcounts: isV3 && (view.getUint32(84) & COMPATIBLE_LAZY_REFCOUNTS) !== 0,
      compression: this.#compression(headerBytes, incompatible),
      bitmaps: extensions.bitmaps,
      features: [],
    };
    this.#checkPlaces(header);
    return { ...header, features: featureNames(header) };
  }

  #refuse(what: string): never {
    throw new FormatError(`"${this.path}" ${what}`);
  }

  #diskBytes(): number {
    const bytes = getNumber64(this.#view, 24);
    if (Number.isSafeInteger(bytes) && bytes % SECTOR_BYTES === 0) return bytes;
    this.#refuse(`holds a disk of ${bytes} bytes: expected a multiple of 512 below 2^53`);
  }

  #incompatible({ names }: Extensions): number {
    const view = this.#view;
    const [high, low] = [view.getUint32(72), view.getUint32(76)];
    if ((low & INCOMPATIBLE.dataFile) !== 0) {
      this.#refuse("keeps its data in an external data file, which is not supported");
    }
    if ((low & INCOMPATIBLE.extendedL2) !== 0) {
      this.#refuse("has extended L2 entries (subclusters), which are not supported");
    }
    const known = Object.values(INCOMPATIBLE).reduce((all, bit) => all | bit, 0);
    for (let bit = 0; bit < 64; bit++) {
      const word = bit < 32 ? low & ~known : high;
      if ((word >>> bit % 32 & 1) === 0) continue;
      const name = names.get(`0:${bit}`);
      const called = name === undefined ? "" : ` (${name})`;
      this.#refuse(`needs the incompatible feature ${bit}${called}, which is not supported`);
    }
    return low;
  }

  #compression(headerBytes: number, incompatible: number): CompressionType {
    const type = headerBytes > HEADER_BYTES_V3 ? this.head[HEADER_BYTES_V3]! : 0;
    const isSaid = (incompatible & INCOMPATIBLE.compression) !== 0;
    if (type > 1) this.#refuse(`is compressed with the unknown type ${type}`);
    if (isSaid !== (type !== 0)) {
      this.#refuse("contradicts itself about the type of its compression");
    }
    return type === 0 ? "deflate" : "zstd";
  }

  #readExtensions(from: number, clusterBytes: number): Extensions {
    const found: Extensions = { backingFormat: undefined, bitmaps: 0, names: new Map() };
    const nameAt = getNumber64(this.#view, 8);
    const end = Math.min(this.head.length, clusterBytes, nameAt === 0 ? Infinity : nameAt);
    for (let at = from; at + 8 <= end;) {
      const type = this.#view.getUint32(at);
      const length = this.#view.getUint32(at + 4);
      at += 8;
      if (type === EXTENSION.end) break;
      if (length > end - at) {
        this.#refuse(`has a header extension of ${length} bytes, which does not fit`);
      }
      this.#readExtension(type, this.head.subarray(at, at + length), found);
      at += Math.ceil(length / 8) * 8;
    }
    return found;
  }

  #readExtension(type: number, data: Uint8Array, found: Extensions): void {
    switch (type) {
      case EXTENSION.backingFormat:
        found.backingFormat = text(data.subarray(0, 16));
        break;
      case EXTENSION.featureNames:
        for (let at = 0; at + 48 <= data.length; at += 48) {
          const name = text(data.subarray(at + 2, at + 48)).replaceAll("\0", "");
          found.names.set(`${data[at]}:${data[at + 1]}`, name);
        }
        break;
      case EXTENSION.bitmaps:
        if (data.length < 24) this.#refuse("has a damaged extension for bitmaps");
        found.bitmaps = viewOf(data).getUint32(0);
        break;
      case EXTENSION.encryption:
        this.#refuse("is encrypted, which is not supported");
        break;
      default: // Others do not change what the clusters mean.
    }
  }

  #backingName(clusterBytes: number): string | undefined {
    const at = getNumber64(this.#view, 8);
    const length = this.#view.getUint32(16);
    if (at === 0) return undefined;
    const isInside = at + length <= Math.min(clusterBytes, this.head.length);
    if (!isInside || length === 0 || length > BACKING_NAME_BYTES_MAXIMUM) {
      this.#refuse(`says that the name of its backing file is ${length} bytes at ${at}`);
    }
    const name = text(this.head.subarray(at, at + length));
    if (name.includes("\0")) this.#refuse("has a backing file whose name is no name");
    return name;
  }

  /** Whether all tables are where tables can be. */
  #checkPlaces(header: Qcow2Header): void {
    const { clusterBytes, l1Entries, l1Offset, refcountTableClusters } = header;
    const needed = l1EntriesFor(header.bytes, clusterBytes);
    const l1Bytes = l1Entries * ENTRY_BYTES;
    if (l1Bytes > L1_BYTES_MAXIMUM) {
      this.#refuse(`has an L1 table of ${l1Entries} entries, more than is supported`);
    }
    if (l1Entries < needed) {
      const disk = formatSize(header.bytes);
      this.#refuse(`has ${l1Entries} entries in its L1 table, too few for a disk of ${disk}`);
    }
    this.#checkPlace("L1 table", l1Offset, l1Bytes, clusterBytes);
    const tableBytes = refcountTableClusters * clusterBytes;
    if (tableBytes > REFCOUNT_TABLE_BYTES_MAXIMUM || refcountTableClusters === 0) {
      this.#refuse(`has a refcount table of ${refcountTableClusters} clusters`);
    }
    this.#checkPlace("refcount table", header.refcountTableOffset, tableBytes, clusterBytes);
    if (header.snapshots > SNAPSHOTS_MAXIMUM) {
      this.#refuse(`has ${header.snapshots} snapshots: expected at most ${SNAPSHOTS_MAXIMUM}`);
    }
    if (header.snapshots > 0) {
      this.#checkPlace("snapshot table", header.snapshotsOffset, 1, clusterBytes);
    }
  }

  #checkPlace(what: string, offset: number, bytes: number, clusterBytes: number): void {
    if (bytes === 0) return;
    if (offset === 0 || offset % clusterBytes !== 0) {
      this.#refuse(`has its ${what} at ${offset}, where no cluster begins`);
    }
    const end = Math.ceil(this.fileBytes / clusterBytes) * clusterBytes;
    if (offset + bytes > end) this.#refuse(`has its ${what} beyond the end of the file`);
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function featureNames(header: Qcow2Header): string[] {
  const features: string[] = [];
  if (header.isDirty) features.push("dirty");
  if (header.isCorrupt) features.push("corrupt");
  if (header.lazyRefcounts) features.push("lazy-refcounts");
  if (header.compression === "zstd") features.push("zstd");
  if (header.bitmaps > 0) features.push("bitmaps");
  return features;
}
