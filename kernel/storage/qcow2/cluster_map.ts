/**
 * Where each cluster of the disk lies in the file (qcow2, "Cluster mapping").
 *
 *     guest offset = | L1 index | L2 index | offset in the cluster |
 *     L1 table (all in memory)  ->  L2 tables, each one cluster  ->  clusters of data
 *
 * Invariants: an entry that says COPIED is the only one that leads to its cluster, and only such
 * clusters and tables are changed in place; what an entry says is checked against the file before
 * anybody uses it. Changes are in memory until the image writes them.
 */
import { FormatError } from "../../base/errors.ts";
import { ENTRY_BYTES, type Qcow2Header, setNumber64, viewOf } from "./header.ts";
import type { ImageFile } from "./image_file.ts";
import { type Table, TableCache, tableCapacity } from "./table_cache.ts";

/** Bit 63 of an entry's high word: the refcount is exactly 1. */
export const COPIED = 0x8000_0000;
/** Bit 62 of an L2 entry's high word: the cluster is compressed. */
export const COMPRESSED = 0x4000_0000;
/** Bit 0 of an L2 entry's low word: the cluster reads as zeros. */
export const ZERO = 1;
/** Bits 32 to 55 of an entry: the high word of an offset. */
const OFFSET_HIGH = 0x00ff_ffff;

/**
 * What an L2 entry leads to: nothing, so that the disk has what the backing file has; zeros, for which a
 * cluster may be kept; a cluster of data; a compressed cluster.
 */
export type ClusterKind = "unallocated" | "zero" | "data" | "compressed";

/** Offset of an entry of the L1 or an L2 table, without its flags. */
export function entryOffset(view: DataView, at: number): number {
  const low = view.getUint32(at + 4);
  return (view.getUint32(at) & OFFSET_HIGH) * 2 ** 32 + low - low % 512;
}

/** Clusters of the disk and where they are. `find` says what it found in the fields. */
export class ClusterMap {
  /** What was found. */
  kind: ClusterKind = "unallocated";
  /** Where in the file the found bytes begin; 0 where there is nothing or a compressed cluster. */
  host = 0;
  /** How many bytes there are of the same kind that follow each other in the file. */
  bytes = 0;
  /** Whether the found clusters may be changed in place. */
  isCopied = false;

  readonly #l1: Uint8Array;
  readonly #l1View: DataView;
  readonly #tables: TableCache;
  readonly #clusterBytes: number;
  /** Bytes of the disk that one L2 table maps. */
  readonly #span: number;
  #l1DirtyFrom = Infinity;
  #l1DirtyTo = 0;

  constructor(private readonly file: ImageFile, private readonly header: Qcow2Header) {
    const { clusterBytes } = header;
    this.#clusterBytes = clusterBytes;
    this.#span = clusterBytes * clusterBytes / ENTRY_BYTES;
    this.#l1 = new Uint8Array(header.l1Entries * ENTRY_BYTES);
    this.#l1View = viewOf(this.#l1);
    this.#tables = new TableCache(file, clusterBytes, tableCapacity(clusterBytes));
    if (header.l1Entries > 0) file.read(header.l1Offset, this.#l1);
  }

  /** Tables that changed. */
  get dirtyTables(): number {
    return this.#tables.dirtyCount;
  }

  /** Tables that may be in memory. */
  get capacity(): number {
    return this.#tables.capacity;
  }

  /** Whether anything changed. */
  get isDirty(): boolean {
    return this.#tables.dirtyCount > 0 || this.#l1DirtyTo > 0;
  }

  /** Bytes of the disk up to the end of what the table of an offset maps. */
  untilNextTable(offset: number): number {
    return this.#span - offset % this.#span;
  }

  /** Whether the cluster at an offset of the file is the L1 table or an L2 table in memory. */
  isTable(offset: number): boolean {
    const { l1Offset } = this.header;
    return (offset >= l1Offset && offset < l1Offset + this.#l1.length) || this.#tables.has(offset);
  }

  /**
   * Finds what the disk has at an offset, as far as it goes on in the same way, up to so many bytes.
   * Throws `FormatError` when the tables are damaged.
   */
  find(offset: number, bytes: number): void {
    const inSpan = offset % this.#span;
    const table = this.#tableOf(offset);
    if (table === undefined) {
      this.kind = "unallocated";
      this.host = 0;
      this.isCopied = false;
      this.bytes = Math.min(bytes, this.#span - inSpan);
      return;
    }
    const index = Math.floor(inSpan / this.#clusterBytes);
    const inCluster = inSpan % this.#clusterBytes;
    this.#decode(table, index);
    const { kind, host, isCopied } = this;
    let end = this.#clusterBytes - inCluster;
    if (kind !== "compressed") {
      const entries = this.#clusterBytes / ENTRY_BYTES;
      for (let next = index + 1; end < bytes && next < entries; next++) {
        this.#decode(table, next);
        const expected = host === 0 ? 0 : host + (next - index) * this.#clusterBytes;
        if (this.kind !== kind || this.host !== expected || this.isCopied !== isCopied) break;
        end += this.#clusterBytes;
      }
      this.kind = kind;
      this.isCopied = isCopied;
      this.host = host === 0 ? 0 : host + inCluster;
    }
    this.bytes = Math.min(bytes, end);
  }

  /** The bytes of a compressed cluster: `host` is its offset, `bytes` what it takes at most. */
  compressedPlace(offset: number): { readonly host: number; readonly bytes: number } {
    const table = this.#tableOf(offset)!;
    const at = Math.floor(offset % this.#span / this.#clusterBytes) * ENTRY_BYTES;
    return compressedPlace(table.view, at, this.header.clusterBits);
  }

  /**
   * Makes sure that the entries of an offset can be changed: the table is made, or copied when it is
   * shared with a snapshot. `allocate` gives a cluster, `release` is told of one that is left.
   */
  ensureTable(
    offset: number,
    allocate: () => number,
    release: (host: number) => void,
  ): void {
    const at = this.#l1At(offset);
    const old = entryOffset(this.#l1View, at);
    if (old !== 0 && (this.#l1View.getUint32(at) & COPIED) !== 0) return;
    const bytes = old === 0 ? undefined : this.#tableOf(offset)!.bytes.slice();
    const made = allocate();
    this.#tables.create(made, bytes);
    this.#setL1(at, made, COPIED);
    if (old !== 0) release(old);
  }

  /** Maps clusters to ones that follow each other in the file, after `ensureTable`. */
  mapData(offset: number, clusters: number, host: number): void {
    const table = this.#tableOf(offset)!;
    const first = Math.floor(offset % this.#span / this.#clusterBytes);
    for (let i = 0; i < clusters; i++) {
      const at = (first + i) * ENTRY_BYTES;
      setNumber64(table.view, at, host + i * this.#clusterBytes);
      table.view.setUint32(at, table.view.getUint32(at) | COPIED);
    }
    this.#tables.markDirty(table, first * ENTRY_BYTES, (first + clusters) * ENTRY_BYTES);
  }

  /**
   * Makes a cluster read as zeros (or what the backing file has), after `ensureTable`. `keepsCluster`: the
   * cluster of data that is mapped stays there for later.
   */
  mapNothing(offset: number, reads: "zeros" | "backing", keepsCluster: boolean): void {
    const table = this.#tableOf(offset)!;
    const at = Math.floor(offset % this.#span / this.#clusterBytes) * ENTRY_BYTES;
    if (!keepsCluster) setNumber64(table.view, at, 0);
    const low = table.view.getUint32(at + 4);
    table.view.setUint32(at + 4, reads === "zeros" ? low | ZERO : low & ~ZERO);
    this.#tables.markDirty(table, at, at + ENTRY_BYTES);
  }

  /** Unmaps all that the table of an offset maps; `release` is told of the table. */
  dropTable(offset: number, release: (host: number) => void): void {
    const at = this.#l1At(offset);
    const old = entryOffset(this.#l1View, at);
    if (old === 0) return;
    this.#setL1(at, 0, 0);
    release(old);
  }

  /** Forgets a table whose cluster is used for something else. */
  forgetTable(host: number): void {
    this.#tables.drop(host);
  }

  /** Whether there is a table that nothing in the file leads to yet. */
  get hasNewTables(): boolean {
    return this.#tables.hasNew;
  }

  /** Writes the tables that nothing in the file leads to yet. */
  writeNewTables(): void {
    this.#tables.write("new");
  }

  /** Writes all else that changed: the new tables, and what they lead to, are stable. */
  writeAll(): void {
    this.#tables.write("all");
    if (this.#l1DirtyTo === 0) return;
    const bytes = this.#l1.subarray(this.#l1DirtyFrom, this.#l1DirtyTo);
    this.file.write(this.header.l1Offset + this.#l1DirtyFrom, bytes);
    this.#l1DirtyFrom = Infinity;
    this.#l1DirtyTo = 0;
  }

  #refuse(what: string): never {
    throw new FormatError(`"${this.file.path}" is damaged: ${what}; \`disk check\` says more`);
  }

  #l1At(offset: number): number {
    return Math.floor(offset / this.#span) * ENTRY_BYTES;
  }

  #setL1(at: number, host: number, flags: number): void {
    setNumber64(this.#l1View, at, host);
    this.#l1View.setUint32(at, (this.#l1View.getUint32(at) | flags) >>> 0);
    this.#l1DirtyFrom = Math.min(this.#l1DirtyFrom, at);
    this.#l1DirtyTo = Math.max(this.#l1DirtyTo, at + ENTRY_BYTES);
  }

  #tableOf(offset: number): Table | undefined {
    const host = entryOffset(this.#l1View, this.#l1At(offset));
    if (host === 0) return undefined;
    if (!this.#tables.has(host)) this.#checkHost("an L2 table", host);
    return this.#tables.get(host);
  }

  #checkHost(what: string, host: number): void {
    if (host % this.#clusterBytes !== 0) this.#refuse(`${what} at ${host} is not a whole cluster`);
    if (host >= this.file.end) this.#refuse(`${what} at ${host} lies beyond the end of the file`);
  }

  /** Reads an entry into the fields. */
  #decode(table: Table, index: number): void {
    const at = index * ENTRY_BYTES;
    const high = table.view.getUint32(at);
    const low = table.view.getUint32(at + 4);
    if ((high & COMPRESSED) !== 0) {
      this.kind = "compressed";
      this.host = 0;
      this.isCopied = false;
      return;
    }
    const host = entryOffset(table.view, at);
    this.host = host;
    this.isCopied = host !== 0 && (high & COPIED) !== 0;
    this.kind = (low & ZERO) !== 0 ? "zero" : host === 0 ? "unallocated" : "data";
    if (host !== 0) this.#checkHost("a cluster", host);
    if (this.kind === "zero" && this.header.version === 2) {
      this.#refuse("it has clusters of zeros, which version 2 has not");
    }
  }
}

/** Where the compressed cluster of an L2 entry lies ("Compressed Clusters Descriptor"). */
export function compressedPlace(
  view: DataView,
  at: number,
  clusterBits: number,
): { readonly host: number; readonly bytes: number } {
  // Bits 0 to x-1 are the offset, x to 61 the number of further sectors.
  const highBits = 62 - (clusterBits - 8) - 32;
  const high = view.getUint32(at) & 0x3fff_ffff;
  const host = high % 2 ** highBits * 2 ** 32 + view.getUint32(at + 4);
  const sectors = Math.floor(high / 2 ** highBits) + 1;
  return { host, bytes: sectors * 512 - host % 512 };
}
