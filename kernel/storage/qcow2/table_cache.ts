/**
 * Tables of an image (L2 tables, blocks of refcounts) that are in memory: each is one cluster.
 *
 * Invariants: a table that changed stays until it was written; no two tables have the same offset; there
 * are at most `capacity` tables, plus those that changed above it, which the image keeps few.
 */
import { assert } from "../../base/assert.ts";
import { viewOf } from "./header.ts";
import type { ImageFile } from "./image_file.ts";

/** A table in memory. */
export interface Table {
  /** Where it lies in the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** First changed byte; `dirtyTo` when nothing changed. */
  dirtyFrom: number;
  /** First byte behind what changed. */
  dirtyTo: number;
  /** Whether nothing in the file leads to it yet, and nothing of it is in the file. */
  isNew: boolean;
}

/** Tables in memory. */
export class TableCache {
  readonly #tables = new Map<number, Table>();
  /** The table used last: most uses are of the same one again. */
  #last: Table | undefined;
  /** Tables that changed. */
  readonly #dirty = new Set<Table>();

  /** @param capacity most tables, at least 2 */
  constructor(
    private readonly file: ImageFile,
    private readonly clusterBytes: number,
    readonly capacity: number,
  ) {}

  /** Tables that changed since they were written. */
  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** Whether there are changed tables that nothing in the file leads to yet. */
  get hasNew(): boolean {
    for (const table of this.#dirty) if (table.isNew) return true;
    return false;
  }

  /** Whether a table is here. */
  has(offset: number): boolean {
    return this.#tables.has(offset);
  }

  /** The table at an offset of the file, which the caller has checked. Throws `HostError`. */
  get(offset: number): Table {
    const last = this.#last;
    if (last !== undefined && last.offset === offset) return last;
    let table = this.#tables.get(offset);
    if (table === undefined) {
      const bytes = new Uint8Array(this.clusterBytes);
      this.file.read(offset, bytes);
      table = this.#add(offset, bytes, false);
    } else {
      this.#tables.delete(offset);
      this.#tables.set(offset, table);
    }
    return this.#last = table;
  }

  /** Makes a table in a cluster that was just allocated: of zeros, or the bytes, which it takes over. */
  create(offset: number, bytes = new Uint8Array(this.clusterBytes)): Table {
    assert(!this.#tables.has(offset), "a new table is not in memory yet");
    const table = this.#add(offset, bytes, true);
    this.markDirty(table, 0, bytes.length);
    return this.#last = table;
  }

  /** Notes that bytes of a table changed. */
  markDirty(table: Table, from: number, to: number): void {
    if (from < table.dirtyFrom) table.dirtyFrom = from;
    if (to > table.dirtyTo) table.dirtyTo = to;
    this.#dirty.add(table);
  }

  /** Forgets a table: its cluster is no table any more. */
  drop(offset: number): void {
    const table = this.#tables.get(offset);
    if (table === undefined) return;
    this.#tables.delete(offset);
    this.#dirty.delete(table);
    if (this.#last === table) this.#last = undefined;
  }

  /** Writes the changed tables, or only the new ones. Throws `HostError`; the rest stays changed. */
  write(which: "all" | "new"): void {
    for (const table of this.#dirty) {
      if (which === "new" && !table.isNew) continue;
      const { dirtyFrom, dirtyTo } = table;
      this.file.write(table.offset + dirtyFrom, table.bytes.subarray(dirtyFrom, dirtyTo));
      this.#dirty.delete(table);
      table.dirtyFrom = this.clusterBytes;
      table.dirtyTo = 0;
      table.isNew = false;
    }
  }

  #add(offset: number, bytes: Uint8Array, isNew: boolean): Table {
    if (this.#tables.size >= this.capacity) this.#evict();
    const view = viewOf(bytes);
    const table = { offset, bytes, view, dirtyFrom: this.clusterBytes, dirtyTo: 0, isNew };
    this.#tables.set(offset, table);
    return table;
  }

  /** Makes room: the tables unused for longest go first. */
  #evict(): void {
    for (const [offset, table] of this.#tables) {
      if (this.#tables.size < this.capacity) return;
      if (!this.#dirty.has(table)) this.#tables.delete(offset);
    }
  }
}

/** Bytes of tables of a kind that an image keeps in memory. */
const CACHE_BYTES = 2 * 1024 * 1024;
/** Fewest tables of a kind in memory. */
const TABLES_MINIMUM = 4;

/** How many tables of a kind an image keeps in memory. */
export function tableCapacity(clusterBytes: number): number {
  return Math.max(TABLES_MINIMUM, CACHE_BYTES / clusterBytes);
}
