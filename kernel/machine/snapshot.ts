/**
 * Snapshots of a machine in memory: moments that it can be put back to, made of an image of its state
 * (machine_image.ts) and of what RAM has changed since (memory/page_undo.ts). What replay-only code, reverse
 * execution and history stand on (S13; issue 4).
 *
 *     take() → 0      take() → 1      take() → 2      now
 *     |---------------|---------------|---------------|      restore(1): 2 is gone, 1 stays
 *
 * Invariants: after `restore` the machine, run with the same inputs, is at every icount what it was the first
 * time; what was translated from pages that did not differ stays; snapshots follow each other in time, and
 * those behind the one that was restored are gone.
 */
import { assert } from "../base/assert.ts";
import type { DirtyPages } from "../memory/dirty_pages.ts";
import { PageUndo } from "../memory/page_undo.ts";
import type { Machine } from "./machine.ts";
import { type MachineImage, protectionOf, restoreImage, saveImage } from "./machine_image.ts";

/** Options of `Snapshots`. */
export interface SnapshotOptions {
  /** Most bytes that all snapshots hold: the oldest ones go first, so an owner thins them before. */
  readonly limitBytes: number;
  /** Dirty pages of the machine, if somebody tracks them: their list is restored too, if they were then. */
  readonly dirty?: DirtyPages;
}

/** A snapshot as told to its owner. */
export interface SnapshotInfo {
  readonly snapshot: number;
  readonly icount: number;
  /** Pages written from it to the next one. */
  readonly pages: number;
  readonly bytes: number;
}

interface Kept {
  readonly icount: number;
  readonly image: MachineImage;
  /** Pages that were dirty then. */
  readonly dirty: Uint32Array | undefined;
  readonly bytes: number;
}

/** Snapshots of one machine, taken and restored between runs. */
export class Snapshots {
  readonly #undo: PageUndo;
  readonly #kept = new Map<number, Kept>();

  constructor(private readonly machine: Machine, private readonly options: SnapshotOptions) {
    const { core } = machine;
    this.#undo = new PageUndo({
      buffer: core.buffer,
      plan: core.plan,
      flags: core.flags,
      limitBytes: options.limitBytes,
      isZero: (page) => core.hash.isZero(page),
      wrote: (gpa, length) => core.exports.dmaWrote(BigInt(gpa), length),
    });
  }

  /** The snapshots that can be restored, the oldest first. */
  get list(): SnapshotInfo[] {
    return this.#undo.intervals.map(({ interval, pages, bytes }) => {
      const kept = this.#kept.get(interval)!;
      return { snapshot: interval, icount: kept.icount, pages, bytes: bytes + kept.bytes };
    });
  }

  /** Bytes that all snapshots hold. */
  get bytes(): number {
    let bytes = this.#undo.bytes;
    for (const interval of this.#undo.intervals) bytes += this.#kept.get(interval.interval)!.bytes;
    return bytes;
  }

  /** Whether a snapshot can be restored; one that was too large, or too old for the limit, cannot. */
  has(snapshot: number): boolean {
    return this.#undo.has(snapshot);
  }

  /** Whether a guest page was written between a snapshot and the next one. */
  wrote(snapshot: number, page: number): boolean {
    return this.#undo.wrote(snapshot, page);
  }

  /** Takes a snapshot of now, when all output was taken. Gives its number, larger than all before. */
  take(): number {
    const { machine, options } = this;
    const image = saveImage(machine);
    const dirty = options.dirty?.running ? options.dirty.list() : undefined;
    const snapshot = this.#undo.begin();
    const bytes = imageBytes(image) + (dirty?.byteLength ?? 0);
    this.#kept.set(snapshot, { icount: machine.icount, image, dirty, bytes });
    this.#forgetLost();
    while (this.#kept.size > 1 && this.bytes > options.limitBytes) this.drop();
    return snapshot;
  }

  /** Makes the machine what it was when a snapshot was taken. Output that waits is forgotten. */
  restore(snapshot: number): void {
    const kept = this.#kept.get(snapshot);
    assert(kept !== undefined && this.has(snapshot), `snapshot ${snapshot} is not kept`);
    const { machine } = this;
    const protection = protectionOf(machine);
    // Caches stay warm: pages with tables or code that differ drop what came from them.
    this.#undo.undoTo(snapshot);
    restoreImage(machine, kept.image, true);
    if (protectionOf(machine) !== protection) machine.core.exports.flushAll();
    const { dirty } = this.options;
    if (kept.dirty !== undefined && dirty?.running) dirty.restore(kept.dirty);
    this.#forgetLost();
  }

  /** Forgets the snapshot behind this one; what it would have restored joins this one. */
  merge(snapshot: number): void {
    this.#undo.merge(snapshot);
    this.#forgetLost();
  }

  /** Forgets a snapshot; those before and behind it stay. */
  forget(snapshot: number): void {
    const kept = [...this.#kept.keys()];
    const index = kept.indexOf(snapshot);
    assert(index >= 0, `snapshot ${snapshot} is not kept`);
    if (index === 0) this.drop();
    else this.merge(kept[index - 1]!);
  }

  /** Forgets the oldest snapshot. */
  drop(): void {
    this.#undo.drop();
    this.#forgetLost();
  }

  /** Forgets all snapshots; nothing is paid until the next one. */
  stop(): void {
    this.#undo.stop();
    this.#kept.clear();
  }

  /** The limit, going back and merging end intervals: their images go too. */
  #forgetLost(): void {
    if (this.#kept.size === this.#undo.count) return;
    for (const snapshot of this.#kept.keys()) {
      if (!this.#undo.has(snapshot)) this.#kept.delete(snapshot);
    }
  }
}

function imageBytes({ harts, machine, devices, diskResults }: MachineImage): number {
  const states = [machine, ...devices].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const results = diskResults.reduce((sum, { data }) => sum + (data?.length ?? 0), 0);
  return harts.bytes.length + states + results;
}
