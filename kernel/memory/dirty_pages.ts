/**
 * Which guest pages were written since a moment, the epoch ("One mechanism", design.md: the trace `clean`;
 * X1, S13). A page that was not written carries `PAGE_FLAG.clean`; its first write, by a store, DMA or the
 * page walker, clears the flag in generated code and lets the page into the write TLBs with the same store,
 * so that the list of what was written is what has no flag.
 *
 * Invariants: a page is dirty exactly if it was written, with the same value or another one, since the
 * epoch began: an access that faults and an SC that fails write nothing; a page in a write TLB is dirty.
 * Without an epoch nothing has the flag, and nothing is paid. Between runs only.
 */
import { assert } from "../base/assert.ts";
import { PAGE_FLAG, type PageFlags } from "./page_flags.ts";

/** The dirty pages of one VM. */
export class DirtyPages {
  #running = false;

  /** @param flags the page traces of the VM */
  constructor(private readonly flags: PageFlags) {}

  /** Whether epochs are under way. */
  get running(): boolean {
    return this.#running;
  }

  /** Begins the first epoch: no page is dirty. */
  start(): void {
    assert(!this.#running, "dirty pages are tracked already");
    this.#running = true;
    this.flags.serveFirstWrites(PAGE_FLAG.clean);
    this.take();
  }

  /** Ends tracking. */
  stop(): void {
    if (!this.#running) return;
    this.#running = false;
    this.flags.endFirstWrites(PAGE_FLAG.clean);
  }

  /** Ends an epoch and begins the next one. Gives the pages that were written, in ascending order. */
  take(): Uint32Array<ArrayBuffer> {
    const pages = this.list();
    this.flags.setOnRest(pages, PAGE_FLAG.clean);
    return pages;
  }

  /** The pages that were written so far in this epoch, in ascending order. */
  list(): Uint32Array<ArrayBuffer> {
    assert(this.#running, "dirty pages are not tracked");
    return this.flags.pagesWithout(PAGE_FLAG.clean);
  }

  /** Makes the given pages the ones that were written in this epoch, as `list` gave them before. */
  restore(pages: Uint32Array): void {
    this.take();
    for (const page of pages) this.flags.clear(page, PAGE_FLAG.clean);
  }
}
