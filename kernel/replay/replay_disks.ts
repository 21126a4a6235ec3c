/**
 * The disks of a replay: what the guest writes stays in memory over the disks as they were when the
 * recording began, which are only read (issue 4, "Replay").
 *
 * Invariants: a read sees what was written before it was asked for, as on the recording's host; an
 * interval's writes can be taken back, together with the requests under way.
 */
import { assert } from "../base/assert.ts";
import type { DiskRequest } from "../driver/mod.ts";
import { SECTOR_BYTES } from "../limits.ts";

/** Keys of the sectors of several disks share one number. */
const DISK_KEYS = 2 ** 44;

/** Reads a disk as it was when the recording began: whole sectors; undefined: it cannot be read. */
export type ReadBase = (
  disk: number,
  sector: number,
  bytes: number,
  arrived: (data: Uint8Array | undefined) => void,
) => void;

/** How a request ends. */
export interface DiskOutcome {
  readonly status: number;
  readonly data: Uint8Array | undefined;
}

interface Underway {
  readonly disk: number;
  readonly request: DiskRequest;
  outcome: DiskOutcome | undefined;
}

interface Interval {
  /** What the sectors written since held before; undefined: the base's contents. */
  readonly sectors: Map<number, Uint8Array | undefined>;
  readonly underway: ReadonlyMap<number, Underway>;
}

const key = (disk: number, tag: number) => disk * 0x10000 + tag;
const sectorKey = (disk: number, sector: number) => disk * DISK_KEYS + sector;
const DONE: DiskOutcome = { status: 0, data: undefined };

/** The disks of one replay. */
export class ReplayDisks {
  readonly #overlay = new Map<number, Uint8Array>();
  readonly #intervals: Interval[] = [];
  #underway = new Map<number, Underway>();

  /** @param read reads the disks as they were */
  constructor(private readonly read: ReadBase) {}

  /** The guest asks for something. */
  submit(disk: number, request: DiskRequest): void {
    const entry: Underway = { disk, request, outcome: undefined };
    this.#underway.set(key(disk, request.tag), entry);
    const { kind, length, data } = request;
    switch (kind) {
      case "read":
        return this.#read(entry);
      case "write":
        assert(data !== undefined && data.length === length);
        return this.#write(entry, data);
      case "zero":
      case "zeroUnmap":
        return this.#write(entry, new Uint8Array(length));
      default:
        // A discard is a hint, which the recording's disks did not follow either.
        entry.outcome = DONE;
    }
  }

  /** How a request ended; undefined: what it reads has not arrived. Ends it. */
  finish(disk: number, tag: number): DiskOutcome | undefined {
    const outcome = this.#underway.get(key(disk, tag))?.outcome;
    if (outcome !== undefined) this.#underway.delete(key(disk, tag));
    return outcome;
  }

  /** Forgets a request that failed on the recording's host. */
  fail(disk: number, tag: number): void {
    this.#underway.delete(key(disk, tag));
  }

  /** The guest reset itself: nobody waits for what it asked for. */
  forgetRequests(): void {
    this.#underway.clear();
  }

  /** Requests that are complete and not finished yet. */
  complete(): { readonly disk: number; readonly tag: number }[] {
    const complete: { readonly disk: number; readonly tag: number }[] = [];
    for (const { disk, request: { tag }, outcome } of this.#underway.values()) {
      if (outcome !== undefined) complete.push({ disk, tag });
    }
    return complete;
  }

  /** Begins an interval that `undoTo` can go back to the beginning of; gives its number. */
  begin(): number {
    this.#intervals.push({ sectors: new Map(), underway: new Map(this.#underway) });
    return this.#intervals.length - 1;
  }

  /** Takes back all since the beginning of an interval, which then begins anew. */
  undoTo(interval: number): void {
    assert(interval >= 0 && interval < this.#intervals.length, "the interval does not exist");
    while (this.#intervals.length > interval) {
      const { sectors, underway } = this.#intervals.pop()!;
      for (const [place, before] of sectors) {
        if (before === undefined) this.#overlay.delete(place);
        else this.#overlay.set(place, before);
      }
      this.#underway = new Map(underway);
    }
    this.begin();
  }

  /** Makes an interval and the one behind it one. */
  merge(interval: number): void {
    const [first, second] = [this.#intervals[interval], this.#intervals[interval + 1]];
    assert(first !== undefined && second !== undefined, "there are no two intervals to merge");
    for (const [place, before] of second.sectors) {
      if (!first.sectors.has(place)) first.sectors.set(place, before);
    }
    this.#intervals.splice(interval + 1, 1);
  }

  /** Forgets the oldest interval. */
  dropOldest(): void {
    this.#intervals.shift();
  }

  /** Forgets all intervals: nothing can be taken back. */
  forgetIntervals(): void {
    this.#intervals.length = 0;
  }

  /** Bytes that going back costs. */
  get heldBytes(): number {
    let sectors = 0;
    for (const interval of this.#intervals) sectors += interval.sectors.size;
    return sectors * SECTOR_BYTES;
  }

  #read(entry: Underway): void {
    const { disk, request: { sector, length } } = entry;
    const data = new Uint8Array(length);
    const missing: { at: number; bytes: number }[] = [];
    for (let at = 0; at < length; at += SECTOR_BYTES) {
      const written = this.#overlay.get(sectorKey(disk, sector + at / SECTOR_BYTES));
      const last = missing.at(-1);
      if (written !== undefined) data.set(written, at);
      else if (last !== undefined && last.at + last.bytes === at) last.bytes += SECTOR_BYTES;
      else missing.push({ at, bytes: SECTOR_BYTES });
    }
    let left = missing.length;
    let failed = false;
    const done = () => {
      entry.outcome = failed ? { status: 1, data: undefined } : { status: 0, data };
    };
    if (left === 0) return done();
    for (const { at, bytes } of missing) {
      this.read(disk, sector + at / SECTOR_BYTES, bytes, (got) => {
        if (got === undefined || got.length !== bytes) failed = true;
        else data.set(got, at);
        left--;
        if (left === 0) done();
      });
    }
  }

  #write(entry: Underway, data: Uint8Array): void {
    const { disk, request: { sector } } = entry;
    const interval = this.#intervals.at(-1);
    for (let at = 0; at < data.length; at += SECTOR_BYTES) {
      const place = sectorKey(disk, sector + at / SECTOR_BYTES);
      if (interval !== undefined && !interval.sectors.has(place)) {
        interval.sectors.set(place, this.#overlay.get(place));
      }
      this.#overlay.set(place, data.subarray(at, at + SECTOR_BYTES));
    }
    entry.outcome = DONE;
  }
}
