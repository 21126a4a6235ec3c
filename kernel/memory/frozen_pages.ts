/**
 * Live checkpoints, the reader's side: what each frozen page held when the save began (S17). It works in a
 * thread of its own, beside the VM; copy_aside.ts has the protocol and why it is right. Pure.
 *
 * Invariants: each page that is to be saved is given once, in no order that anybody may rely on; pages that
 * the VM copied aside come first, because it may be waiting for their slots; nothing of the VM is changed.
 */
import { assert } from "../base/assert.ts";
import {
  NOT_TO_SAVE,
  PAGE_BYTES,
  PAGE_STATE,
  SAVE,
  SAVE_PHASE,
  type SaveArea,
  saveAreaOf,
} from "./save_area.ts";

/** What `next` gives when it gives no page. */
export const NO_PAGE = {
  /** All pages were given: the save is whole. */
  finished: -1,
  /** The VM is copying a page aside at this moment: `wait`, or ask again. */
  later: -2,
  /** The save was given up: what was read is worthless. */
  aborted: -3,
} as const;

/** Where the reader finds a VM's pages. */
export interface FrozenPagesOptions {
  /** What `CopyAside.begin` gave. */
  readonly area: SharedArrayBuffer;
  /** The VM's memory. */
  readonly memory: ArrayBufferLike;
  /** Where RAM lies in it: MemoryPlan.ram. */
  readonly ram: number;
}

/** Reads the pages of one save. */
export class FrozenPages {
  readonly #area: SaveArea;
  readonly #ram: Uint8Array;
  readonly #pages: number;
  /** The next page of the walk. */
  #next = 0;
  #taken = 0;
  /** Whether all pages were given: the area may belong to the next save from then on. */
  #finished = false;
  #fromRing = 0;
  #direct = 0;
  #lost = 0;

  constructor({ area, memory, ram }: FrozenPagesOptions) {
    this.#area = saveAreaOf(area);
    this.#pages = this.#area.states.length;
    this.#ram = new Uint8Array(memory, ram, this.#pages * PAGE_BYTES);
    const phase = Atomics.load(this.#area.header, SAVE.phase);
    const wasTaken = Atomics.load(this.#area.header, SAVE.taken) !== 0;
    assert(phase !== SAVE_PHASE.idle && !wasTaken, "a save has one reader, behind its begin");
  }

  /** Pages that came from the ring, that were read directly, and whose reading the VM overtook. */
  get counters(): {
    readonly fromRing: number;
    readonly direct: number;
    readonly overtaken: number;
  } {
    return { fromRing: this.#fromRing, direct: this.#direct, overtaken: this.#lost };
  }

  /** Share of the walk that is done, 0 to 1. */
  get progress(): number {
    return this.#next / this.#pages;
  }

  /** Pages that are still to be given: what a progress line says. Looks at all of them. */
  left(): number {
    const { states, header } = this.#area;
    let left = Atomics.load(header, SAVE.filled) - this.#taken;
    for (let page = this.#next; page < this.#pages; page++) {
      if ((states[page]! & NOT_TO_SAVE) === 0) left++;
    }
    return left;
  }

  /**
   * Copies the next page out.
   * @param into gets its 4096 bytes, from `at` on; whatever they hold when no page is given
   * @returns the guest page, or one of NO_PAGE
   */
  next(into: Uint8Array, at = 0): number {
    const { header, states } = this.#area;
    if (this.#finished) return NO_PAGE.finished;
    if (Atomics.load(header, SAVE.phase) !== SAVE_PHASE.saving) return NO_PAGE.aborted;
    for (;;) {
      if (Atomics.load(header, SAVE.filled) !== this.#taken) return this.#takeSlot(into, at);
      if (this.#next === this.#pages) return this.#finish(into, at);
      const page = this.#next++;
      const state = Atomics.load(states, page);
      if ((state & NOT_TO_SAVE) !== 0) continue;
      const from = page * PAGE_BYTES;
      into.set(this.#ram.subarray(from, from + PAGE_BYTES), at);
      const saved = state | PAGE_STATE.saved;
      if (Atomics.compareExchange(states, page, state, saved) === state) {
        this.#direct++;
        return page;
      }
      this.#lost++;
    }
  }

  /**
   * Waits until the VM has done something, behind NO_PAGE.later. Blocks the thread.
   * @param milliseconds at most
   */
  wait(milliseconds = Infinity): void {
    const { header } = this.#area;
    const bell = Atomics.load(header, SAVE.readerBell);
    Atomics.store(header, SAVE.readerWaits, 1);
    const idle = Atomics.load(header, SAVE.phase) === SAVE_PHASE.saving &&
      Atomics.load(header, SAVE.filled) === this.#taken &&
      Atomics.load(header, SAVE.putting) !== 0;
    if (idle) Atomics.wait(header, SAVE.readerBell, bell, milliseconds);
    Atomics.store(header, SAVE.readerWaits, 0);
  }

  /**
   * Gives the save up, because what was read cannot be kept: a VM that waits goes on. Does nothing when all
   * pages were given: `CopyAside.abort` is the way then.
   */
  abort(): void {
    if (this.#finished) return;
    const { header } = this.#area;
    Atomics.compareExchange(header, SAVE.phase, SAVE_PHASE.saving, SAVE_PHASE.aborted);
    this.#ringVm();
  }

  /** All pages were walked: what is left is in the ring, or on its way there. */
  #finish(into: Uint8Array, at: number): number {
    const { header } = this.#area;
    if (Atomics.load(header, SAVE.putting) !== 0) return NO_PAGE.later;
    if (Atomics.load(header, SAVE.filled) !== this.#taken) return this.#takeSlot(into, at);
    const { saving, finished } = SAVE_PHASE;
    const before = Atomics.compareExchange(header, SAVE.phase, saving, finished);
    this.#finished = before === saving;
    return this.#finished ? NO_PAGE.finished : NO_PAGE.aborted;
  }

  #takeSlot(into: Uint8Array, at: number): number {
    const { header, slotPages, slots } = this.#area;
    const slot = this.#taken % slotPages.length;
    const page = slotPages[slot]!;
    assert(page >= 0 && page < this.#pages, "a slot holds a page of the VM");
    into.set(slots.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES), at);
    Atomics.store(header, SAVE.taken, ++this.#taken);
    this.#ringVm();
    this.#fromRing++;
    return page;
  }

  #ringVm(): void {
    const { header } = this.#area;
    Atomics.add(header, SAVE.vmBell, 1);
    if (Atomics.load(header, SAVE.vmWaits) !== 0) Atomics.notify(header, SAVE.vmBell);
  }
}
