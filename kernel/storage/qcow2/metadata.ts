/**
 * The tables of an image that is open, and the order in which they reach the file (issue 5, section 3).
 *
 * A change stays in memory until it is committed, in this order, with a flush of the file between:
 *   1. refcounts, data and tables that nothing leads to yet
 *   2. entries of tables in use, which lead to those, or away from clusters that are freed
 *   3. freed clusters become free, in memory; their refcounts are written the next time
 *
 * Invariants: at whatever write the host stops, no entry in the file leads to a cluster whose contents are
 * not there, and a cluster is used again only when nothing in the file leads to its old contents. With
 * version 3 the image is marked dirty first, so that clusters a crash leaks are found on the next opening;
 * with lazy refcounts these are only written on closing.
 */
import { FormatError } from "../../base/errors.ts";
import { ClusterMap } from "./cluster_map.ts";
import type { Qcow2Header } from "./header.ts";
import { changeFeatures, type ImageFile } from "./image_file.ts";
import { Refcounts } from "./refcounts.ts";

/** Most clusters that wait to be freed. */
const FREED_MAXIMUM = 4096;

/** The tables of an image that may be changed. Whoever calls holds the image's lock. */
export class Metadata {
  /** Where clusters are. */
  readonly map: ClusterMap;
  readonly #refcounts: Refcounts;
  /** Clusters to free when what led to them is gone from the file. */
  #freed: number[] = [];
  /** Whether there is something that must be stable before entries lead to it. */
  #hasAllocated = false;
  #isMarked = false;
  /** Whether clusters became free, so that the file may become shorter. */
  #hasFreed = false;
  readonly #allocateOne = () => this.allocate(1);
  readonly #releaseOne = (host: number) => this.release(host);

  constructor(private readonly file: ImageFile, private readonly header: Qcow2Header) {
    this.map = new ClusterMap(file, header);
    this.#refcounts = new Refcounts(file, header, (offset) => this.holderOf(offset));
  }

  /** Whether the mapping changed since it was committed. */
  get isDirty(): boolean {
    return this.map.isDirty;
  }

  /** Clusters that the last `allocate` took. */
  get allocated(): number {
    return this.#refcounts.allocated;
  }

  /** Which table a cluster of the file holds, if it is one that must not be written as data. */
  holderOf(offset: number): string | undefined {
    if (offset === 0) return "header";
    if (this.map.isTable(offset)) return "L1 or L2 table";
    if (this.#refcounts.isTable(offset)) return "refcount table or block";
    const { snapshots, snapshotsOffset } = this.header;
    return snapshots > 0 && offset === snapshotsOffset ? "snapshot table" : undefined;
  }

  /** To be called before each change; keeps what is in memory little. */
  async prepare(): Promise<void> {
    if (!this.#isMarked) {
      if (this.header.version === 3) {
        changeFeatures(this.file, { dirty: true });
        await this.file.flush();
      }
      this.#isMarked = true;
    }
    const { map } = this;
    const refcounts = this.#refcounts;
    if (map.dirtyTables * 2 >= map.capacity || this.#freed.length >= FREED_MAXIMUM) {
      await this.commit();
    }
    if (refcounts.dirtyBlocks * 2 >= refcounts.capacity) {
      if (this.header.lazyRefcounts) refcounts.writeBlocks();
      else await this.commit();
    }
  }

  /** Takes up to so many clusters in a row; `allocated` says how many. Gives the first one's offset. */
  allocate(count: number): number {
    const host = this.#refcounts.allocate(count);
    this.#hasAllocated = true;
    return host;
  }

  /** Gives clusters back that nothing ever led to. */
  giveBack(host: number, count: number): void {
    this.#refcounts.release(host, count);
  }

  /** Notes that an entry leads to a cluster no more. */
  release(host: number): void {
    this.#freed.push(host);
  }

  /** The same for all clusters that a compressed one touches. */
  releaseBytes(host: number, bytes: number): void {
    const { clusterBytes } = this.header;
    const first = host - host % clusterBytes;
    for (let at = first; at < host + bytes; at += clusterBytes) this.release(at);
  }

  /** Makes entries of an offset of the disk changeable. */
  ensureTable(offset: number): void {
    this.map.ensureTable(offset, this.#allocateOne, this.#releaseOne);
  }

  /** Unmaps all that the table of an offset maps. */
  dropTable(offset: number): void {
    this.map.dropTable(offset, this.#releaseOne);
  }

  /** Brings the mapping to stable storage, with all data that was written. */
  async commit(): Promise<void> {
    const { map, file } = this;
    const refcounts = this.#refcounts;
    if (!map.isDirty) return await file.flush();
    if (!this.header.lazyRefcounts) {
      if (refcounts.isTableDirty) {
        refcounts.writeBlocks();
        await file.flush();
        await refcounts.writeTable();
      }
      refcounts.writeBlocks();
    }
    map.writeNewTables();
    if (this.#hasAllocated) await file.flush();
    this.#hasAllocated = false;
    map.writeAll();
    await file.flush();
    this.#free();
  }

  /** Brings everything to stable storage; the image is clean then. */
  async settle(): Promise<void> {
    await this.commit();
    const refcounts = this.#refcounts;
    while (refcounts.isDirty) {
      refcounts.writeBlocks();
      await this.file.flush();
      await refcounts.writeTable();
      await this.file.flush();
    }
    if (this.#hasFreed) {
      this.file.shrink(refcounts.usedBytes());
      this.#hasFreed = false;
    }
    if (!this.#isMarked) return;
    if (this.header.version === 3) {
      changeFeatures(this.file, { dirty: false });
      await this.file.flush();
    }
    this.#isMarked = false;
  }

  #free(): void {
    const freed = this.#freed;
    if (freed.length > 0) this.#hasFreed = true;
    this.#freed = [];
    let damage: FormatError | undefined;
    for (const host of freed) {
      this.map.forgetTable(host);
      try {
        this.#refcounts.release(host);
      } catch (error) {
        // One refcount that is wrong must not keep the others.
        if (!(error instanceof FormatError)) throw error;
        damage ??= error;
      }
    }
    if (damage !== undefined) throw damage;
  }
}
