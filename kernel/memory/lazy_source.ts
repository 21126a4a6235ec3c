/**
 * Loads the pages of a VM that was restored while it runs: those that it waits for at once, the others in
 * the background (S19.6, S19.7). The bytes go straight into the VM's shared memory. Pure; it waits with
 * Atomics.waitAsync, so that the kernel world never blocks.
 *
 *     if (source.begin(page)) { write the bytes; source.done(page) }   or source.fail(page)
 *
 * Invariants: each page is written once, by the one whose `begin` gave true, and never after `done`: a page
 * that is present is the guest's. The bytes are written before the state that says so is stored, and the VM
 * loads that state before it reads them (ECMAScript memory model: `done` and `presentBefore` synchronise with the
 * VM's look). The VM executes nothing before `ready`.
 */
import { assert } from "../base/assert.ts";
import { LAZY, LAZY_STATE, type LazyTable, lazyTableOf, newLazyTable } from "./lazy_table.ts";

/** The loading side of one VM's lazy pages. */
export class LazySource {
  readonly #table: LazyTable;

  /** @param table made by `LazySource.make`; shared with the VM */
  constructor(table: SharedArrayBuffer) {
    this.#table = lazyTableOf(table);
  }

  /**
   * Makes the table of a VM that has not started.
   * @param pages guest pages
   * @param absent those that are loaded later; all others hold what they ought to hold
   */
  static make(pages: number, absent: Iterable<number>): LazySource {
    const { buffer, header, states } = newLazyTable(pages);
    let left = 0;
    for (const page of absent) {
      assert(page >= 0 && page < pages, `guest page ${page} does not exist`);
      if (states[page] === LAZY_STATE.absent) continue;
      states[page] = LAZY_STATE.absent;
      left++;
    }
    header[LAZY.left] = left;
    return new LazySource(buffer);
  }

  /**
   * Makes the table of a VM that has not started.
   * @param kept for each guest page, 0 when it holds zeros, 1 when it is loaded later
   */
  static makeFor(kept: Uint8Array): LazySource {
    const { buffer, header, states } = newLazyTable(kept.length);
    states.set(kept);
    // By what searches natively: a loop over all pages takes 13 ms where it is not compiled yet.
    for (let first = kept.indexOf(LAZY_STATE.absent); first >= 0;) {
      const zero = kept.indexOf(LAZY_STATE.present, first);
      const end = zero < 0 ? kept.length : zero;
      header[LAZY.left]! += end - first;
      first = kept.indexOf(LAZY_STATE.absent, end);
    }
    return new LazySource(buffer);
  }

  /** What the VM's side is handed. */
  get table(): SharedArrayBuffer {
    return this.#table.buffer;
  }

  /** Pages that are not present. */
  get left(): number {
    return Atomics.load(this.#table.header, LAZY.left);
  }

  /**
   * Pages are written that nobody else could have begun, because the VM does not execute yet. Its machine may be
   * made meanwhile, and look at them. Gives how many were absent.
   */
  presentBefore(first: number, pages: number): number {
    const { header, states } = this.#table;
    assert(Atomics.load(header, LAZY.ready) === 0, "the VM has not started");
    let count = 0;
    for (let page = first; page < first + pages; page++) {
      if (states[page] === LAZY_STATE.absent) count++;
      Atomics.store(states, page, LAZY_STATE.present);
    }
    Atomics.sub(header, LAZY.left, count);
    return count;
  }

  /** Takes a page on: true when it is the caller's to write, false when it is present or somebody else's. */
  begin(page: number): boolean {
    const { absent, loading } = LAZY_STATE;
    return Atomics.compareExchange(this.#table.states, page, absent, loading) === absent;
  }

  /** A page that was taken on is written. */
  done(page: number): void {
    this.#change(page, LAZY_STATE.present);
    Atomics.sub(this.#table.header, LAZY.left, 1);
    this.#ring(page);
  }

  /** A page that was taken on cannot be had: a VM that wants it ends. */
  fail(page: number): void {
    this.#change(page, LAZY_STATE.failed);
    this.#ring(page);
  }

  /** What is to be there first is there: the VM may execute. */
  ready(): void {
    const { header } = this.#table;
    Atomics.store(header, LAZY.ready, 1);
    Atomics.add(header, LAZY.changes, 1);
    Atomics.notify(header, LAZY.changes);
  }

  /** No further page will come: a VM that wants one ends, and so does who waits for its wishes. */
  close(): void {
    const { header } = this.#table;
    Atomics.store(header, LAZY.closed, 1);
    for (const word of [LAZY.changes, LAZY.wishes]) {
      Atomics.add(header, word, 1);
      Atomics.notify(header, word);
    }
  }

  /** The page that the VM waits for, or would like to have, and nobody has taken on; undefined when there is none. */
  wanted(): number | undefined {
    const { header, states } = this.#table;
    const page = Atomics.load(header, LAZY.wanted) - 1;
    if (page < 0 || page >= states.length) return undefined;
    return Atomics.load(states, page) === LAZY_STATE.absent ? page : undefined;
  }

  /**
   * Resolves when the VM may want a page that it did not want when `wanted` was last asked, or after so many
   * milliseconds, or when this side closes. It keeps no event loop going.
   */
  async wish(milliseconds = Infinity): Promise<void> {
    const { header } = this.#table;
    const seen = Atomics.load(header, LAZY.wishes);
    if (this.wanted() !== undefined) return;
    const wait = Atomics.waitAsync(header, LAZY.wishes, seen, milliseconds);
    if (wait.async) await wait.value;
  }

  /** The first page from a page on that nobody has taken on; undefined when there is none. */
  nextAbsent(from: number): number | undefined {
    const page = this.#table.states.indexOf(LAZY_STATE.absent, from);
    return page < 0 ? undefined : page;
  }

  #change(page: number, state: number): void {
    const before = Atomics.exchange(this.#table.states, page, state);
    assert(before === LAZY_STATE.loading, `guest page ${page} was not taken on`);
  }

  /** Wakes a VM that waits for the page. One that is about to wait finds that something changed. */
  #ring(page: number): void {
    const { header } = this.#table;
    Atomics.add(header, LAZY.changes, 1);
    if (Atomics.load(header, LAZY.wanted) === page + 1) Atomics.notify(header, LAZY.changes);
  }
}
