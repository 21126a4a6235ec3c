/**
 * Live checkpoints, the VM's side: pages are frozen at one instant and saved behind it by a reader in
 * another thread (frozen_pages.ts), straight from the VM's memory; what is about to be written is copied
 * aside first ("One mechanism", design.md: the trace `frozen`; S17, S19.5, X1, X3).
 *
 *     begin    each page that is to be saved gets the state "to save"; all pages get the trace `frozen`,
 *              and all write TLBs are emptied, so that the first write of each page asks here
 *     thaw     the first write. state: to save → aside, if the reader has not saved the page; it is then
 *              copied to a slot of the ring, and the write goes on. Else the write goes on at once
 *     reader   copies a page out, then state: to save → saved; if the VM was first, it drops that copy,
 *              and takes the page from the ring
 *     end      the reader has had all pages. The trace stays: a page without it was written since `begin`
 *
 * Why the reader gets what a page held at `begin` (ECMAScript memory model; that of WebAssembly threads is
 * the same one): both changes of a state are sequentially consistent compareExchanges of one byte, so one
 * of them comes first and the other fails.
 *  - The reader was first. Its reads of the page come before its compareExchange in its own order. The VM
 *    reads the state, finds what the reader wrote, and so synchronises with it, before its first write of
 *    the page, because all ways to write a frozen page pass `thaw` before. The reads happen before the
 *    write and cannot see it. No write came before: there is none between `begin` and the page's `thaw`.
 *  - The VM was first. The reader's compareExchange fails, and whatever mixture it has read is dropped. The
 *    VM copies the page before it writes it, and stores `filled` behind the copy; the reader loads `filled`
 *    before it reads the slot, and stores `taken` behind its reading; the VM loads `taken` before it fills
 *    the slot again.
 * Why the reader misses none: it ends when it has walked all pages, finds `putting` 0, and then has taken
 * all that `filled` tells. The VM sets `putting` before it claims a page, and clears it behind `filled`. So
 * when the reader met a page as claimed, its later load of `putting` gives 1, or 0 and then `filled` counts it.
 * What the VM wrote before `begin` and the states themselves are stored before `phase`, which the reader
 * loads first.
 *
 * Invariants: while the traces are served, a page without `frozen` was written since the last `begin`, or
 * since `adopt`; the ring bounds memory, and a VM that is faster than the reader waits for it; page undo
 * (page_undo.ts) wants the same trace, so only one of the two is at work. Between runs only, but for thaw.
 */
import { assert } from "../base/assert.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { PAGE_FLAG, type PageFlags } from "./page_flags.ts";
import { blockForWord, type WaitForWord } from "./wait_for_word.ts";
import {
  newSaveArea,
  NOT_TO_SAVE,
  PAGE_BYTES,
  PAGE_STATE,
  SAVE,
  SAVE_PHASE,
  type SaveArea,
} from "./save_area.ts";

/** What copying aside needs of its VM. */
export interface CopyAsideOptions {
  readonly buffer: ArrayBufferLike;
  readonly plan: MemoryPlan;
  readonly flags: PageFlags;
  /** Pages that may have been copied aside and not read yet. */
  readonly slots?: number;
  /** Waits until a word of the area is not a value, or until it is told to look; Atomics.wait by default. */
  readonly wait?: WaitForWord;
}

/** What was done so far; never seen by the guest. */
export interface CopyAsideCounters {
  /** Saves that began. */
  readonly saves: number;
  /** First writes of frozen pages, while a save was under way or not. */
  readonly firstWrites: number;
  /** Pages that were copied aside. */
  readonly aside: number;
  /** First writes that found their page saved already. */
  readonly saved: number;
  /** Times that the ring was full. */
  readonly waits: number;
}

/** Freezes the pages of one VM, and copies them aside. */
export class CopyAside {
  readonly #ram: Uint8Array;
  readonly #wait: WaitForWord;
  /** Made when it is wanted: most machines that were restored are not saved again soon. */
  #made: SaveArea | undefined;
  #serves = false;
  /** A save is under way. */
  #saving = false;
  /** What was written since the last whole save is not known: an aborted one has taken the traces. */
  #lost = false;
  #filled = 0;
  #saves = 0;
  #firstWrites = 0;
  #aside = 0;
  #savedBefore = 0;
  #waits = 0;

  constructor(private readonly options: CopyAsideOptions) {
    const { buffer, plan, wait } = options;
    this.#ram = new Uint8Array(buffer, plan.ram, plan.ramBytes);
    this.#wait = wait ?? blockForWord;
  }

  get #area(): SaveArea {
    const { plan, slots } = this.options;
    return this.#made ??= newSaveArea(plan.ramPages, slots);
  }

  /** Whether a save is under way: `begin` was called, and neither `end` nor `abort` since. */
  get saving(): boolean {
    return this.#saving;
  }

  /** Whether it is known what was written since the last save: a `begin` that does not want all takes that. */
  get knowsWritten(): boolean {
    return this.#serves && !this.#lost;
  }

  /** Whether the reader, or whoever holds the area, has given the save up: `abort` is to be called. */
  get aborted(): boolean {
    return this.#saving && Atomics.load(this.#area.header, SAVE.phase) === SAVE_PHASE.aborted;
  }

  /** Whether the reader has had all pages: `end` is to be called. */
  get finished(): boolean {
    return this.#saving && Atomics.load(this.#area.header, SAVE.phase) === SAVE_PHASE.finished;
  }

  /** What was done so far. */
  get counters(): CopyAsideCounters {
    return {
      saves: this.#saves,
      firstWrites: this.#firstWrites,
      aside: this.#aside,
      saved: this.#savedBefore,
      waits: this.#waits,
    };
  }

  /**
   * Makes the area, and touches the memory that `begin` fills, so that it need not wait for the host then.
   * Changes nothing.
   */
  prepare(): void {
    if (!this.#saving) this.#area.states.fill(0);
  }

  /**
   * Freezes all pages as they are now; gives the area that the save's reader is to be handed. Pages that are
   * absent are never saved: they are what they were loaded from.
   * @param all whether all pages are saved, or those that were written since the last `begin` or `adopt`:
   *   all others are in earlier saves. The first time, and after an aborted save, all are
   */
  begin({ all }: { readonly all: boolean }): SharedArrayBuffer {
    assert(!this.#saving, "a save is under way");
    const { flags } = this.options;
    const whole = all || !this.knowsWritten;
    const { header, states, buffer } = this.#area;
    if (whole) this.#markAll();
    else flags.copyTo(states);
    this.#serve();
    flags.setAll(PAGE_FLAG.frozen);
    for (const word of [SAVE.filled, SAVE.taken, SAVE.putting]) header[word] = 0;
    this.#filled = 0;
    this.#lost = false;
    this.#saving = true;
    this.#saves++;
    Atomics.store(header, SAVE.phase, SAVE_PHASE.saving);
    return buffer;
  }

  /**
   * The machine was restored: it is what the checkpoint says, so that the next save takes what was written
   * since now.
   */
  adopt(): void {
    assert(!this.#saving, "a save is under way");
    this.#serve();
    this.options.flags.setAll(PAGE_FLAG.frozen);
    this.#lost = false;
  }

  /**
   * Ends a save whose reader has had all pages. The ring's memory stays for the next one: memory that the host
   * has to find first costs a guest ten times as much for each page.
   */
  end(): void {
    assert(this.finished, "the reader has had all pages");
    this.#saving = false;
    Atomics.store(this.#area.header, SAVE.phase, SAVE_PHASE.idle);
  }

  /** Gives a save up; the next one takes all pages, because what this one has is no base for it. */
  abort(): void {
    if (!this.#saving) return;
    this.#saving = false;
    this.#lost = true;
    const { header } = this.#area;
    Atomics.store(header, SAVE.phase, SAVE_PHASE.aborted);
    Atomics.add(header, SAVE.readerBell, 1);
    Atomics.notify(header, SAVE.readerBell);
    // Its reader may still be at work there.
    this.#renew();
  }

  /** Ends all: nothing is paid until the next `begin`, which saves all pages. */
  stop(): void {
    this.abort();
    if (!this.#serves) return;
    this.#serves = false;
    this.options.flags.endFirstWrites(PAGE_FLAG.frozen);
  }

  /**
   * The pages that were written since the last `begin` or `adopt`, in ascending order; all that are not
   * absent when that is not known.
   */
  writtenPages(): Uint32Array<ArrayBuffer> {
    const { flags } = this.options;
    const without = this.#serves && !this.#lost ? PAGE_FLAG.frozen : PAGE_FLAG.absent;
    const pages = flags.pagesWithout(without);
    if (!flags.mayBeAbsent) return pages;
    return pages.filter((page) => (flags.get(page) & PAGE_FLAG.absent) === 0);
  }

  /** Gives the room back. The next save gets some that nobody else knows. */
  #renew(): void {
    this.#made = undefined;
  }

  #serve(): void {
    if (this.#serves) return;
    const { flags } = this.options;
    assert(
      !flags.servesFirstWrites(PAGE_FLAG.frozen),
      "snapshots have frozen this machine's pages: they end before a checkpoint is made",
    );
    flags.serveFirstWrites(PAGE_FLAG.frozen, (page) => this.#thaw(page));
    this.#serves = true;
  }

  /** All pages are to be saved, but for those that are absent. */
  #markAll(): void {
    const { flags } = this.options;
    const { states } = this.#area;
    states.fill(0);
    if (!flags.mayBeAbsent) return;
    for (let page = 0; page < states.length; page++) {
      if ((flags.get(page) & PAGE_FLAG.absent) !== 0) states[page] = PAGE_STATE.saved;
    }
  }

  /** A frozen page is about to be written. */
  #thaw(page: number): void {
    this.#firstWrites++;
    if (!this.#saving) return;
    const { header, states } = this.#area;
    const state = Atomics.load(states, page);
    if ((state & NOT_TO_SAVE) !== 0) {
      this.#savedBefore++;
      return;
    }
    Atomics.store(header, SAVE.putting, 1);
    const before = Atomics.compareExchange(states, page, state, state | PAGE_STATE.aside);
    if (before === state) this.#put(page);
    else this.#savedBefore++;
    Atomics.store(header, SAVE.putting, 0);
    Atomics.add(header, SAVE.readerBell, 1);
    if (Atomics.load(header, SAVE.readerWaits) !== 0) Atomics.notify(header, SAVE.readerBell);
  }

  #put(page: number): void {
    const { header, slotPages, slots } = this.#area;
    const count = slotPages.length;
    while (this.#filled - Atomics.load(header, SAVE.taken) >= count) {
      if (!this.#waitForSlot()) return;
    }
    const slot = this.#filled % count;
    slotPages[slot] = page;
    const from = page * PAGE_BYTES;
    slots.set(this.#ram.subarray(from, from + PAGE_BYTES), slot * PAGE_BYTES);
    Atomics.store(header, SAVE.filled, ++this.#filled);
    this.#aside++;
  }

  /** Waits while the ring is full; false when the save was given up. */
  #waitForSlot(): boolean {
    const { header, slotPages } = this.#area;
    const bell = Atomics.load(header, SAVE.vmBell);
    Atomics.store(header, SAVE.vmWaits, 1);
    const isFull = this.#filled - Atomics.load(header, SAVE.taken) >= slotPages.length;
    const goesOn = Atomics.load(header, SAVE.phase) === SAVE_PHASE.saving;
    if (isFull && goesOn) {
      this.#waits++;
      this.#wait(header, SAVE.vmBell, bell);
    }
    Atomics.store(header, SAVE.vmWaits, 0);
    return goesOn;
  }
}
