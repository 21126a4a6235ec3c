/**
 * How often each cluster of an image is used, and which are free (qcow2, "Host cluster management").
 *
 *     refcount table  ->  blocks of refcounts, each one cluster; no block: all of its clusters are free
 *
 * Invariants: a cluster is handed out only when its refcount is 0 and no table that we know lies there;
 * no cluster below `#hint` is free. Changes are in memory until the image writes them, in the order
 * blocks, then table (issue 5, section 3: refcounts before what relies on them).
 */
import { assert } from "../../base/assert.ts";
import { FormatError, HostError } from "../../base/errors.ts";
import {
  ENTRY_BYTES,
  getNumber64,
  HEADER_OFFSET,
  type Qcow2Header,
  REFCOUNT_TABLE_BYTES_MAXIMUM,
  setNumber64,
  viewOf,
} from "./header.ts";
import type { ImageFile } from "./image_file.ts";
import { getRefcount, refcountMaximum, setRefcount } from "./refcount_entry.ts";
import { type Table, TableCache, tableCapacity } from "./table_cache.ts";

/** The refcounts of an image that is open for writing. */
export class Refcounts {
  readonly #blocks: TableCache;
  readonly #clusterBytes: number;
  readonly #order: number;
  /** Refcounts of a block. */
  readonly #perBlock: number;
  /** Offsets of the blocks; may be longer than the table in the file. */
  #table: Uint8Array;
  #view: DataView;
  #offset: number;
  /** Bytes of the table in the file. */
  #bytesInFile: number;
  #dirtyFrom = Infinity;
  #dirtyTo = 0;
  #hint = 0;

  /**
   * @param isTaken says what a cluster holds, if it is a table that is not told by its refcount alone
   */
  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
    private readonly isTaken: (offset: number) => string | undefined,
  ) {
    const { clusterBytes, refcountOrder, refcountTableOffset, refcountTableClusters } = header;
    this.#clusterBytes = clusterBytes;
    this.#order = refcountOrder;
    this.#perBlock = clusterBytes * 8 / 2 ** refcountOrder;
    this.#blocks = new TableCache(file, clusterBytes, tableCapacity(clusterBytes));
    this.#offset = refcountTableOffset;
    this.#bytesInFile = refcountTableClusters * clusterBytes;
    this.#table = new Uint8Array(this.#bytesInFile);
    this.#view = viewOf(this.#table);
    file.read(this.#offset, this.#table);
  }

  /** Blocks that changed. */
  get dirtyBlocks(): number {
    return this.#blocks.dirtyCount;
  }

  /** Blocks that may be in memory. */
  get capacity(): number {
    return this.#blocks.capacity;
  }

  /** Whether anything changed. */
  get isDirty(): boolean {
    return this.#blocks.dirtyCount > 0 || this.isTableDirty;
  }

  /** Whether the table changed, so that blocks must be stable before it is written. */
  get isTableDirty(): boolean {
    return this.#dirtyTo > 0;
  }

  /** Whether a cluster is the refcount table or a block that is in memory. */
  isTable(offset: number): boolean {
    return (offset >= this.#offset && offset < this.#offset + this.#bytesInFile) ||
      this.#blocks.has(offset);
  }

  /** Refcount of a cluster, by its number. Throws `FormatError` and `HostError`. */
  get(cluster: number): number {
    const block = this.#block(Math.floor(cluster / this.#perBlock));
    return block === undefined ? 0 : getRefcount(block.view, this.#order, cluster % this.#perBlock);
  }

  /**
   * Takes the first free clusters, up to `count` that follow each other; `allocated` says how many they
   * are. Returns the offset of the first.
   */
  allocate(count: number): number {
    const first = this.#firstFree(this.#hint);
    this.#hint = first;
    // Blocks that are made on the way take clusters, too.
    if (this.#ensureBlocks(first, 1)) return this.allocate(count);
    let end = first + 1;
    while (end - first < count && end % this.#perBlock !== 0 && this.get(end) === 0) end++;
    this.#take(first, end - first);
    this.#hint = end;
    this.allocated = end - first;
    return first * this.#clusterBytes;
  }

  /** How many clusters the last `allocate` took. */
  allocated = 0;

  /** Gives a use of a cluster back; at 0 it is free. Throws `FormatError` when it was not used. */
  release(offset: number, count = 1): void {
    const first = offset / this.#clusterBytes;
    assert(Number.isInteger(first), "a cluster is released as a whole");
    for (let cluster = first; cluster < first + count; cluster++) {
      const uses = this.get(cluster);
      if (uses === 0) this.#refuse(`the cluster at ${offset} is used, but its refcount is 0`);
      this.#set(cluster, uses - 1);
      if (uses === 1 && cluster < this.#hint) this.#hint = cluster;
    }
  }

  /** End of the last cluster that is used, in bytes of the file. */
  usedBytes(): number {
    let cluster = Math.ceil(this.file.end / this.#clusterBytes);
    while (cluster > 0 && this.get(cluster - 1) === 0) cluster--;
    return cluster * this.#clusterBytes;
  }

  /** Writes the blocks that changed. Throws `HostError`. */
  writeBlocks(): void {
    this.#blocks.write("all");
  }

  /**
   * Writes the table, after the blocks are stable. When it has moved, it is flushed before the header
   * says so, and the old one is released after.
   */
  async writeTable(): Promise<void> {
    if (!this.isTableDirty) return;
    if (this.#table.length === this.#bytesInFile) {
      this.file.write(
        this.#offset + this.#dirtyFrom,
        this.#table.subarray(this.#dirtyFrom, this.#dirtyTo),
      );
      this.#cleanTable();
      return;
    }
    await this.#moveTable();
  }

  async #moveTable(): Promise<void> {
    let clusters: number;
    let first: number;
    do {
      clusters = this.#table.length / this.#clusterBytes;
      first = this.#freeRun(clusters);
      // Blocks for the new place may have made the table longer still.
    } while (clusters * this.#clusterBytes !== this.#table.length);
    this.#take(first, clusters);
    this.writeBlocks();
    const offset = first * this.#clusterBytes;
    this.file.write(offset, this.#table);
    await this.file.flush();
    const field = new Uint8Array(12);
    setNumber64(viewOf(field), 0, offset);
    viewOf(field).setUint32(8, clusters);
    this.file.write(HEADER_OFFSET.refcountTable, field);
    await this.file.flush();
    const [old, oldBytes] = [this.#offset, this.#bytesInFile];
    this.#offset = offset;
    this.#bytesInFile = this.#table.length;
    this.#cleanTable();
    this.release(old, oldBytes / this.#clusterBytes);
  }

  #cleanTable(): void {
    this.#dirtyFrom = Infinity;
    this.#dirtyTo = 0;
  }

  #refuse(what: string): never {
    throw new FormatError(`"${this.file.path}" is damaged: ${what}; \`disk check\` says more`);
  }

  #block(index: number): Table | undefined {
    const at = index * ENTRY_BYTES;
    if (at >= this.#table.length) return undefined;
    const offset = getNumber64(this.#view, at);
    if (offset === 0) return undefined;
    if (offset % this.#clusterBytes !== 0 || offset >= this.file.end && !this.#blocks.has(offset)) {
      this.#refuse(`block ${index} of its refcounts is at ${offset}`);
    }
    return this.#blocks.get(offset);
  }

  #set(cluster: number, value: number): void {
    assert(value <= refcountMaximum(this.#order), "a refcount fits its bits");
    const block = this.#block(Math.floor(cluster / this.#perBlock))!;
    const index = cluster % this.#perBlock;
    setRefcount(block.view, this.#order, index, value);
    const bit = index * 2 ** this.#order;
    this.#blocks.markDirty(block, bit >>> 3, (bit + 2 ** this.#order + 7) >>> 3);
  }

  #take(first: number, count: number): void {
    for (let cluster = first; cluster < first + count; cluster++) {
      const taken = this.isTaken(cluster * this.#clusterBytes);
      if (taken !== undefined) this.#refuse(`its ${taken} counts as free`);
    }
    for (let cluster = first; cluster < first + count; cluster++) this.#set(cluster, 1);
  }

  /** The first free cluster at or behind one. */
  #firstFree(from: number): number {
    let cluster = from;
    for (;;) {
      const block = this.#block(Math.floor(cluster / this.#perBlock));
      if (block === undefined) return cluster;
      const end = (Math.floor(cluster / this.#perBlock) + 1) * this.#perBlock;
      for (; cluster < end; cluster++) {
        if (getRefcount(block.view, this.#order, cluster % this.#perBlock) === 0) return cluster;
      }
    }
  }

  /** The first of so many free clusters in a row, all of which have blocks. */
  #freeRun(count: number): number {
    let first = this.#firstFree(this.#hint);
    for (let end = first; end - first < count; end++) {
      if (this.get(end) !== 0) first = this.#firstFree(end + 1), end = first - 1;
    }
    return this.#ensureBlocks(first, count) ? this.#freeRun(count) : first;
  }

  /** Makes the blocks that hold the refcounts of clusters; says whether any was made. */
  #ensureBlocks(first: number, count: number): boolean {
    let made = false;
    const last = Math.floor((first + count - 1) / this.#perBlock);
    for (let index = Math.floor(first / this.#perBlock); index <= last; index++) {
      while (this.#block(index) === undefined) {
        this.#makeBlock(index);
        made = true;
      }
    }
    return made;
  }

  /** Makes a block, or the one that its own cluster's refcount needs before. */
  #makeBlock(index: number): void {
    this.#growTable(index + 1);
    const cluster = this.#firstFree(this.#hint);
    const own = Math.floor(cluster / this.#perBlock);
    if (own !== index && this.#block(own) === undefined) return this.#makeBlock(own);
    const offset = cluster * this.#clusterBytes;
    const taken = this.isTaken(offset);
    if (taken !== undefined) this.#refuse(`its ${taken} counts as free`);
    this.#blocks.create(offset);
    const at = index * ENTRY_BYTES;
    setNumber64(this.#view, at, offset);
    this.#dirtyFrom = Math.min(this.#dirtyFrom, at);
    this.#dirtyTo = Math.max(this.#dirtyTo, at + ENTRY_BYTES);
    this.#set(cluster, 1);
    this.#hint = cluster + 1;
  }

  /** Makes the table in memory long enough; it moves when it is written. */
  #growTable(entries: number): void {
    if (entries * ENTRY_BYTES <= this.#table.length) return;
    const wanted = Math.max(entries * ENTRY_BYTES, this.#table.length * 2);
    const bytes = Math.ceil(wanted / this.#clusterBytes) * this.#clusterBytes;
    if (bytes > REFCOUNT_TABLE_BYTES_MAXIMUM) {
      throw new HostError(`"${this.file.path}" cannot grow: its refcount table is full`);
    }
    const table = new Uint8Array(bytes);
    table.set(this.#table);
    this.#table = table;
    this.#view = viewOf(table);
    this.#dirtyFrom = 0;
    this.#dirtyTo = bytes;
  }
}
