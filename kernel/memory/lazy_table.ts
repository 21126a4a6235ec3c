/**
 * The shared memory through which a VM asks for pages that are not loaded yet, and gets them (S19.6, S19.7;
 * lazy_pages.ts is the VM's side, lazy_source.ts the one that loads). Pure: both sides import it.
 *
 *     header     Int32 words, LAZY
 *     states     one byte for each guest page, LAZY_STATE
 *
 * Invariant: a page's state goes absent → loading → present or failed, and no way back; whoever changes it
 * to loading is the only one that writes the page until it is present.
 */
import { assert } from "../base/assert.ts";

/** Words of the header. */
export const LAZY = {
  /** Guest pages. */
  pages: 0,
  /** The page that the VM waits for, or would like to have, plus one; 0: none. */
  wanted: 1,
  /** Counts what the VM wanted: the source waits for a change. */
  wishes: 2,
  /** Counts what the source has done: the VM waits for a change. */
  changes: 3,
  /** Pages that are not present. */
  left: 4,
  /** 1 when the source has gone: no further page will ever come. */
  closed: 5,
  /** 1 when what is to be there first is there: the VM executes nothing before. */
  ready: 6,
} as const;

const HEADER_WORDS = 16;

/** States of a page. All but `present` are odd. */
export const LAZY_STATE = {
  present: 0,
  absent: 1,
  /** The source is writing it. */
  loading: 3,
  /** It cannot be had. */
  failed: 5,
} as const;

/** The table as both sides see it. */
export interface LazyTable {
  readonly buffer: SharedArrayBuffer;
  readonly header: Int32Array<SharedArrayBuffer>;
  readonly states: Uint8Array<SharedArrayBuffer>;
}

/** Makes a table in which all pages are present. */
export function newLazyTable(pages: number): LazyTable {
  assert(Number.isInteger(pages) && pages > 0, "a VM has pages");
  const buffer = new SharedArrayBuffer(HEADER_WORDS * 4 + pages);
  new Int32Array(buffer, 0, HEADER_WORDS)[LAZY.pages] = pages;
  return lazyTableOf(buffer);
}

/** Views a table that the other side made. */
export function lazyTableOf(buffer: SharedArrayBuffer): LazyTable {
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  const pages = header[LAZY.pages]!;
  assert(buffer.byteLength === HEADER_WORDS * 4 + pages, "the buffer is a table of lazy pages");
  return { buffer, header, states: new Uint8Array(buffer, HEADER_WORDS * 4, pages) };
}
