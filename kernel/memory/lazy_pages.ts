/**
 * Pages of a VM that was restored and are loaded when they are first touched, or in the background: the
 * service of the trace `absent` ("One mechanism", design.md; S19.6, S19.7, X1, X3). The VM blocks until the
 * page that it touches is there (lazy_source.ts loads it).
 *
 * Who asks. Accesses of the guest pass the trace: loads, stores (also on two pages), atomics, fetches, page
 * walks and their A and D bits, devices' DMA and the firmware (GuestMemory). Translations are made of pages
 * that were fetched, and `peekFetch` refuses pages with the trace, so that decoded pages, regions and the
 * translator's copies of code never see an absent one; it hints that the page would be good to have. Those who read past the traces ask first, with
 * `PageFlags.need`:
 *  - guest_view.ts: debuggers and plugins (debug/hart_memory.ts, plugin_view.ts), the instruction trace,
 *    and the page tables that they look through
 *  - page_hash.ts: state digests, epoch digests, page undo's look for zeros, a recording's start
 *    (replay/start_state.ts reads pages that it has asked to be zero or not; putting one back loads all)
 * Page undo and copying aside read a page when it is first written, which loads it before. A saver leaves
 * absent pages alone: they are what they were loaded from. `touchedBytes` counts them without loading.
 *
 * Invariants: a page that carries the trace is never read and never in a TLB; one that does not carry it
 * is present; a page is written by its source before it is present, and by the guest after it. The trace
 * may outlive the loading: it goes with the first touch, or with `settle`. Nothing here is machine state.
 */
import { assert } from "../base/assert.ts";
import { HostError } from "../base/errors.ts";
import { LAZY, LAZY_STATE, type LazyTable, lazyTableOf } from "./lazy_table.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { PAGE_FLAG, type PageFlags, type PageLoader } from "./page_flags.ts";
import { blockForWord, type WaitForWord } from "./wait_for_word.ts";

/** Pages that `settle` looks at in one call: about 20 µs. */
const SETTLE_PAGES = 4096;

/** What was loaded so far; never seen by the guest. */
export interface LazyCounters {
  /** Pages that were not present when the restored machine began. */
  readonly absent: number;
  /** First touches of pages that had to be waited for. */
  readonly demanded: number;
  /** Times that the VM slept for one. */
  readonly waits: number;
  /** Pages that were present when they were first touched, or that nobody has touched. */
  readonly background: number;
  /** Pages that are not present yet. */
  readonly left: number;
}

/** The VM's side of its lazy pages. */
export class LazyPages implements PageLoader {
  readonly #table: LazyTable;
  readonly #wait: WaitForWord;
  readonly #absent: number;
  #ended = false;
  #settled = 0;
  #demanded = 0;
  #waits = 0;

  /**
   * Begins: pages that the table does not call present carry the trace from now on. Between runs.
   * @param wait Atomics.wait by default
   */
  constructor(
    private readonly flags: PageFlags,
    private readonly plan: MemoryPlan,
    table: SharedArrayBuffer,
    wait?: WaitForWord,
  ) {
    this.#table = lazyTableOf(table);
    this.#wait = wait ?? blockForWord;
    const { header, states } = this.#table;
    assert(states.length === plan.ramPages, "the table has the VM's pages");
    this.#absent = Atomics.load(header, LAZY.left);
    // Those that are present lose it with their first touch, or with `settle`: a look at each takes longer.
    flags.setAll(PAGE_FLAG.absent);
    flags.register(PAGE_FLAG.absent, ({ gpa }) => {
      this.need((gpa - plan.ramStart) >>> 12);
      return false;
    });
    flags.attachLoader(this);
    this.settle();
  }

  /** What was loaded so far. */
  get counters(): LazyCounters {
    const left = Atomics.load(this.#table.header, LAZY.left);
    const absent = this.#absent;
    const background = absent - left - this.#demanded;
    return { absent, demanded: this.#demanded, waits: this.#waits, background, left };
  }

  /** Whether no page carries the trace any more, and nothing is paid. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Makes sure that a page is present. Throws HostError when it cannot be had, which ends the machine:
   * the instruction under way is not done.
   */
  need(page: number): void {
    const { header, states } = this.#table;
    const state = Atomics.load(states, page);
    if (state !== LAZY_STATE.present) this.#demand(page);
    this.flags.clear(page, PAGE_FLAG.absent);
    // What the VM wanted is there: it wants nothing now.
    if (state !== LAZY_STATE.present) Atomics.store(header, LAZY.wanted, 0);
  }

  /**
   * Waits until what is to be there first is there (S19.6). Throws HostError when the source closes before: the
   * machine must not execute.
   */
  waitUntilReady(): void {
    const { header } = this.#table;
    for (;;) {
      const changes = Atomics.load(header, LAZY.changes);
      if (Atomics.load(header, LAZY.ready) !== 0) return;
      if (Atomics.load(header, LAZY.closed) !== 0) {
        throw new HostError("the VM's memory was given up before it could go on");
      }
      this.#wait(header, LAZY.changes, changes);
    }
  }

  /** Asks for a page without waiting: the source finds the last one that was asked for. */
  hint(page: number): void {
    const { header, states } = this.#table;
    if (Atomics.load(states, page) === LAZY_STATE.present) {
      this.flags.clear(page, PAGE_FLAG.absent);
      return;
    }
    Atomics.store(header, LAZY.wanted, page + 1);
    Atomics.add(header, LAZY.wishes, 1);
    Atomics.notify(header, LAZY.wishes);
  }

  /** Loads all pages that are still absent, one by one, and ends. */
  loadAll(): void {
    if (this.#ended) return;
    this.flags.need(0, this.plan.ramPages);
    this.settle();
  }

  /** Between two runs, of which the machine sees to it: ends traces of pages that were loaded meanwhile, all of them when none is left. */
  settle(): void {
    if (this.#ended) return;
    const { flags, plan } = this;
    if (Atomics.load(this.#table.header, LAZY.left) === 0) {
      this.#ended = true;
      flags.clearAll(PAGE_FLAG.absent);
      flags.unregister(PAGE_FLAG.absent);
      flags.attachLoader(undefined);
      return;
    }
    const end = Math.min(plan.ramPages, this.#settled + SETTLE_PAGES);
    for (let page = this.#settled; page < end; page++) {
      if ((flags.get(page) & PAGE_FLAG.absent) === 0) continue;
      const state = Atomics.load(this.#table.states, page);
      if (state === LAZY_STATE.present) flags.clear(page, PAGE_FLAG.absent);
    }
    this.#settled = end === plan.ramPages ? 0 : end;
  }

  /** Waits for a page. */
  #demand(page: number): void {
    const { header, states } = this.#table;
    this.#demanded++;
    for (;;) {
      const changes = Atomics.load(header, LAZY.changes);
      const state = Atomics.load(states, page);
      if (state === LAZY_STATE.present) return;
      if (state === LAZY_STATE.failed) throw this.#lost(page, "could not be loaded");
      if (Atomics.load(header, LAZY.closed) !== 0) {
        throw this.#lost(page, "was not loaded before its source was closed");
      }
      this.#waits++;
      Atomics.store(header, LAZY.wanted, page + 1);
      Atomics.add(header, LAZY.wishes, 1);
      Atomics.notify(header, LAZY.wishes);
      // Ends at once if anything changed since it was counted above.
      this.#wait(header, LAZY.changes, changes);
    }
  }

  #lost(page: number, why: string): HostError {
    const address = (this.plan.ramStart + page * 4096).toString(16);
    return new HostError(
      `the guest needs page ${page} of its memory (address 0x${address}), which ${why}`,
    );
  }
}
