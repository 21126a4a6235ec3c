/**
 * Counts how often each cluster of an image is used, by following everything that the header leads to:
 * what the refcounts should say (qcow2, "Host cluster management").
 *
 * Invariants: no entry is trusted: one that leads nowhere is counted as a corruption and not followed; no
 * table is followed twice from the same L1 table, and work and memory are bounded by the file and the
 * limits below.
 */
import { FormatError } from "../../base/errors.ts";
import { COMPRESSED, compressedPlace, COPIED, entryOffset, ZERO } from "./cluster_map.ts";
import { ENTRY_BYTES, getNumber64, L1_BYTES_MAXIMUM, type Qcow2Header, viewOf } from "./header.ts";
import type { ImageFile } from "./image_file.ts";

/** Most clusters of a file whose references are counted. */
const CLUSTERS_MAXIMUM = 2 ** 27;
/** Most entries of L1 and L2 tables that are followed. */
const ENTRIES_MAXIMUM = 2 ** 31;
/** Most that is counted of a cluster. */
const COUNT_MAXIMUM = 0xffff;
/** Most lines that say what is wrong. */
const PROBLEMS_MAXIMUM = 20;
/** Bytes of an entry of the snapshot table, without what varies. */
const SNAPSHOT_BYTES = 40;

/** What is wrong with an image. */
export class Problems {
  /** Places where data is or will be lost. */
  corruptions = 0;
  /** Clusters that nothing uses and that do not count as free. */
  leaks = 0;
  /** Reference counts, and flags by them, that are out of date and are mended when the image is next opened. */
  stale = 0;
  /** Whether that is so: the image says that it was not closed. */
  areMended = false;
  /** The first of them, for people. */
  readonly lines: string[] = [];

  /** Counts a corruption. */
  corruption(line: string): void {
    this.corruptions++;
    this.#add(line);
  }

  /** Counts a reference count that is too low, or a flag that does not fit its count. */
  mismatch(line: string): void {
    if (this.areMended) this.stale++;
    else this.corruption(line);
  }

  /** Counts a leak. */
  leak(line: string): void {
    this.leaks++;
    this.#add(line);
  }

  #add(line: string): void {
    if (this.lines.length < PROBLEMS_MAXIMUM) this.lines.push(line);
    else if (this.lines.length === PROBLEMS_MAXIMUM) this.lines.push("…");
  }
}

/** An entry of a table in use, as a visitor may change it. */
export interface EntryVisit {
  readonly table: "L1" | "L2";
  readonly view: DataView;
  readonly at: number;
  /** Whether it leads somewhere that can be. */
  readonly isGood: boolean;
}

/** Follows an image and counts. */
export class References {
  /** Uses of each cluster of the file, at most 65535. */
  readonly counts: Uint16Array;
  /** Clusters of the disk that have data, of these compressed. */
  allocated = 0;
  compressed = 0;
  readonly #clusterBytes: number;
  #entries = 0;

  /** Throws `FormatError` when the file is too large. */
  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
    readonly problems: Problems,
  ) {
    this.#clusterBytes = header.clusterBytes;
    const clusters = Math.ceil(file.end / header.clusterBytes);
    if (clusters > CLUSTERS_MAXIMUM) {
      throw new FormatError(`"${file.path}" has ${clusters} clusters, too many to be checked`);
    }
    this.counts = new Uint16Array(clusters);
  }

  /** Counts everything but the refcounts' own clusters. */
  countContents(): void {
    const { header } = this;
    if (header.bitmaps > 0) {
      throw new FormatError(`"${this.file.path}" has persistent bitmaps, which cannot be checked`);
    }
    this.#use("the header", 0, this.#clusterBytes);
    this.#countL1("", header.l1Offset, header.l1Entries, true);
    if (header.snapshots > 0) this.#countSnapshots();
  }

  /** Counts the refcount table and its blocks; gives the offset of each block, 0 for none. */
  countRefcounts(): Float64Array {
    const { refcountTableOffset, refcountTableClusters } = this.header;
    const table = this.#readTable(refcountTableOffset, refcountTableClusters * this.#clusterBytes);
    this.#use("the refcount table", refcountTableOffset, table.length);
    const blocks = new Float64Array(table.length / ENTRY_BYTES);
    const seen = new Set<number>();
    for (let index = 0; index < blocks.length; index++) {
      const offset = getNumber64(viewOf(table), index * ENTRY_BYTES);
      if (offset === 0) continue;
      const what = `refcount block ${index}`;
      if (!this.#use(what, offset, this.#clusterBytes)) continue;
      if (seen.has(offset)) this.problems.corruption(`${what} at ${offset} is used twice`);
      else blocks[index] = offset;
      seen.add(offset);
    }
    return blocks;
  }

  /**
   * Goes through the entries of the tables in use; a table is written back when the visitor says that it
   * changed an entry.
   */
  visitActive(visit: (entry: EntryVisit) => boolean): void {
    const { l1Offset, l1Entries } = this.header;
    const l1 = this.#readTable(l1Offset, l1Entries * ENTRY_BYTES);
    const tables = new Set<number>();
    let l1Changed = false;
    for (let at = 0; at < l1.length; at += ENTRY_BYTES) {
      const offset = entryOffset(viewOf(l1), at);
      if (offset === 0) continue;
      const isGood = this.#isCluster(offset) && !tables.has(offset);
      tables.add(offset);
      if (visit({ table: "L1", view: viewOf(l1), at, isGood })) l1Changed = true;
      if (isGood) this.#visitL2(offset, visit);
    }
    if (l1Changed) this.file.write(l1Offset, l1);
  }

  #visitL2(offset: number, visit: (entry: EntryVisit) => boolean): void {
    const table = this.#readTable(offset, this.#clusterBytes);
    const view = viewOf(table);
    let changed = false;
    for (let at = 0; at < table.length; at += ENTRY_BYTES) {
      if (view.getUint32(at) === 0 && view.getUint32(at + 4) === 0) continue;
      if (visit({ table: "L2", view, at, isGood: this.isGoodEntry(view, at) })) changed = true;
    }
    if (changed) this.file.write(offset, table);
  }

  /** Whether an L2 entry leads somewhere that can be. */
  isGoodEntry(view: DataView, at: number): boolean {
    if ((view.getUint32(at) & COMPRESSED) !== 0) {
      const { host } = compressedPlace(view, at, this.header.clusterBits);
      return host !== 0 && host < this.file.end;
    }
    const host = entryOffset(view, at);
    if ((view.getUint32(at + 4) & ZERO) !== 0 && this.header.version === 2) return false;
    return host === 0 || this.#isCluster(host);
  }

  #isCluster(offset: number): boolean {
    return offset !== 0 && offset % this.#clusterBytes === 0 && offset < this.file.end;
  }

  #readTable(offset: number, bytes: number): Uint8Array {
    const table = new Uint8Array(bytes);
    if (bytes > 0) this.file.read(offset, table);
    return table;
  }

  /** Counts the clusters of a range; false when there are none such. */
  #use(what: string, offset: number, bytes: number): boolean {
    if (bytes === 0) return true;
    const last = Math.ceil((offset + bytes) / this.#clusterBytes);
    if (offset % this.#clusterBytes !== 0 || last > this.counts.length) {
      this.problems.corruption(`${what} is at ${offset}, where there is no cluster`);
      return false;
    }
    for (let cluster = offset / this.#clusterBytes; cluster < last; cluster++) {
      if (this.counts[cluster]! < COUNT_MAXIMUM) this.counts[cluster]!++;
    }
    return true;
  }

  #countL1(whose: string, offset: number, entries: number, isActive: boolean): void {
    if (!this.#use(`the L1 table${whose}`, offset, entries * ENTRY_BYTES)) return;
    this.#countEntries(entries);
    const l1 = this.#readTable(offset, entries * ENTRY_BYTES);
    const tables = new Set<number>();
    for (let at = 0; at < l1.length; at += ENTRY_BYTES) {
      const table = entryOffset(viewOf(l1), at);
      if (table === 0) continue;
      const what = `L2 table ${at / ENTRY_BYTES}${whose}`;
      if (!this.#use(what, table, this.#clusterBytes)) continue;
      if (tables.has(table)) {
        this.problems.corruption(`${what} at ${table} is used twice`);
        continue;
      }
      tables.add(table);
      this.#countL2(what, table, isActive);
    }
  }

  #countL2(what: string, offset: number, isActive: boolean): void {
    const table = this.#readTable(offset, this.#clusterBytes);
    const view = viewOf(table);
    this.#countEntries(table.length / ENTRY_BYTES);
    for (let at = 0; at < table.length; at += ENTRY_BYTES) {
      const high = view.getUint32(at);
      if (high === 0 && view.getUint32(at + 4) === 0) continue;
      if (!this.isGoodEntry(view, at)) {
        this.problems.corruption(`entry ${at / ENTRY_BYTES} of ${what} leads to no cluster`);
      } else if ((high & COMPRESSED) !== 0) {
        this.#countCompressed(view, at);
        if (isActive) this.allocated++, this.compressed++;
      } else {
        const host = entryOffset(view, at);
        if (host === 0) continue;
        this.#use(what, host, this.#clusterBytes);
        if (isActive) this.allocated++;
      }
    }
  }

  #countEntries(entries: number): void {
    this.#entries += entries;
    if (this.#entries > ENTRIES_MAXIMUM) {
      throw new FormatError(`"${this.file.path}" has too many tables to be checked`);
    }
  }

  #countCompressed(view: DataView, at: number): void {
    const { host, bytes } = compressedPlace(view, at, this.header.clusterBits);
    const first = Math.floor(host / this.#clusterBytes);
    const end = Math.min(this.counts.length, Math.ceil((host + bytes) / this.#clusterBytes));
    for (let cluster = first; cluster < end; cluster++) {
      if (this.counts[cluster]! < COUNT_MAXIMUM) this.counts[cluster]!++;
    }
  }

  #countSnapshots(): void {
    const { snapshots, snapshotsOffset } = this.header;
    const entry = new Uint8Array(SNAPSHOT_BYTES);
    const view = viewOf(entry);
    let at = snapshotsOffset;
    for (let index = 0; index < snapshots; index++) {
      if (at + SNAPSHOT_BYTES > this.file.end) {
        return this.problems.corruption("the snapshot table ends before its last entry");
      }
      this.file.read(at, entry);
      const [l1Offset, l1Entries] = [getNumber64(view, 0), view.getUint32(8)];
      const varying = view.getUint32(36) + view.getUint16(12) + view.getUint16(14);
      at += Math.ceil((SNAPSHOT_BYTES + varying) / 8) * 8;
      if (l1Entries * ENTRY_BYTES > L1_BYTES_MAXIMUM) {
        this.problems.corruption(`snapshot ${index} has an L1 table of ${l1Entries} entries`);
        continue;
      }
      this.#countL1(` of snapshot ${index}`, l1Offset, l1Entries, false);
    }
    this.#use("the snapshot table", snapshotsOffset, at - snapshotsOffset);
  }
}

/** Whether an entry says that its cluster is used once. */
export function isCopied(view: DataView, at: number): boolean {
  return (view.getUint32(at) & COPIED) !== 0;
}
