/**
 * The shared memory through which a VM and the reader of its frozen pages agree who keeps a page (S17; see
 * copy_aside.ts for the protocol and why it is right). Pure: both sides import it, in any thread.
 *
 *     header       Int32 words, SAVE
 *     states       one byte for each guest page
 *     slot pages   Int32: guest page of each slot
 *     slots        4 KiB each: a ring of pages that were copied aside
 *
 * Invariant: sizes never change; a reader belongs to one save, and an area whose save was aborted is
 * never used again, so that a late reader can claim nothing of another save.
 */
import { assert } from "../base/assert.ts";
import { GUEST_MEMORY_MAXIMUM } from "../limits.ts";

/** Bytes of a guest page. */
export const PAGE_BYTES = 4096;

/** Words of the header. */
export const SAVE = {
  /** One of SAVE_PHASE. */
  phase: 0,
  /** Guest pages. */
  pages: 1,
  /** Slots of the ring. */
  slots: 2,
  /** Slots that the VM has filled since the save began: at most one for each page. */
  filled: 3,
  /** Slots that the reader has taken. */
  taken: 4,
  /** 1 while the VM may have claimed a page whose slot is not filled yet. */
  putting: 5,
  /** Counts what the VM waits for: slots that were taken, the end of a save. */
  vmBell: 6,
  /** 1 while the VM waits. */
  vmWaits: 7,
  /** Counts what the reader waits for: slots that were filled, the end of a save. */
  readerBell: 8,
  /** 1 while the reader waits. */
  readerWaits: 9,
} as const;

const HEADER_WORDS = 16;

/** What becomes of a save. */
export const SAVE_PHASE = {
  idle: 0,
  /** The reader reads. */
  saving: 1,
  /** The reader has had all pages. */
  finished: 2,
  /** One side has given up: what was read is no whole. */
  aborted: 3,
} as const;

/**
 * A page's state is its trace flags when the save began, of which a whole save takes `frozen` away, and
 * what became of it since. The page is to be saved while none of these bits is set.
 */
export const PAGE_STATE = {
  /** It was absent, or the reader has saved it. */
  saved: 1,
  /** It was frozen, which means that it is in an earlier save, or the VM copies it aside. */
  aside: 16,
} as const;

/** A page with none of these is to be saved. */
export const NOT_TO_SAVE = PAGE_STATE.saved | PAGE_STATE.aside;

/** Slots of a ring unless told otherwise: 4 MiB. */
export const SAVE_SLOTS_DEFAULT = 1024;
/** Most slots of a ring: as many as the largest guest has pages. What is never filled takes no memory. */
const SAVE_SLOTS_MAXIMUM = GUEST_MEMORY_MAXIMUM / PAGE_BYTES;

/** The area as both sides see it. */
export interface SaveArea {
  readonly buffer: SharedArrayBuffer;
  readonly header: Int32Array<SharedArrayBuffer>;
  readonly states: Uint8Array<SharedArrayBuffer>;
  readonly slotPages: Int32Array<SharedArrayBuffer>;
  readonly slots: Uint8Array<SharedArrayBuffer>;
}

function statesBytes(pages: number): number {
  return Math.ceil(pages / 64) * 64;
}

function slotsStart(pages: number, slots: number): number {
  const end = HEADER_WORDS * 4 + statesBytes(pages) + slots * 4;
  return Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
}

/**
 * Makes an area.
 * @param pages guest pages
 * @param slots pages that may have been copied aside and not read yet: 1 to SAVE_SLOTS_MAXIMUM
 */
export function newSaveArea(pages: number, slots: number = SAVE_SLOTS_DEFAULT): SaveArea {
  assert(Number.isInteger(pages) && pages > 0, "a VM has pages");
  assert(Number.isInteger(slots) && slots > 0 && slots <= SAVE_SLOTS_MAXIMUM, "a ring has slots");
  const buffer = new SharedArrayBuffer(slotsStart(pages, slots) + slots * PAGE_BYTES);
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  header[SAVE.pages] = pages;
  header[SAVE.slots] = slots;
  const area = saveAreaOf(buffer);
  // Memory that was touched: the VM stands still when a save begins.
  area.states.fill(NOT_TO_SAVE);
  return area;
}

/** Gives a save up for a VM that died, perhaps while it was copying a page aside. */
export function abortSave(buffer: SharedArrayBuffer): void {
  const { header } = saveAreaOf(buffer);
  Atomics.compareExchange(header, SAVE.phase, SAVE_PHASE.saving, SAVE_PHASE.aborted);
  Atomics.add(header, SAVE.readerBell, 1);
  Atomics.notify(header, SAVE.readerBell);
}

/** Views an area that the other side made. */
export function saveAreaOf(buffer: SharedArrayBuffer): SaveArea {
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  const pages = header[SAVE.pages]!;
  const slots = header[SAVE.slots]!;
  const start = slotsStart(pages, slots);
  assert(buffer.byteLength === start + slots * PAGE_BYTES, "the buffer is a save area");
  const states = HEADER_WORDS * 4;
  return {
    buffer,
    header,
    states: new Uint8Array(buffer, states, pages),
    slotPages: new Int32Array(buffer, states + statesBytes(pages), slots),
    slots: new Uint8Array(buffer, start, slots * PAGE_BYTES),
  };
}
