/**
 * Which pages a VM uses, in the order in which it first touches them: what is to be in memory before a
 * suspended VM goes on (S19.1 to S19.4, S19.8; N6). All pages get traces of reads and writes, the software
 * TLBs are emptied, and a page's first access ends its traces.
 *
 * Loads, stores, atomics, fetches, page walks and DMA count. Whoever reads VM memory past the traces, such
 * as a saver in another thread or a digest, touches nothing; nor does what a debugger does unseen. A store
 * of several bytes that lies on two pages touches both. A region that is entered touches all pages that it
 * has code in: a resumed machine cannot enter it without them.
 *
 * Invariants: a page is listed once; the guest cannot tell; once a page was touched, nothing is paid for it.
 * Watches stay what they are (watch.ts serves these traces). Nothing here is machine state.
 */
import type { MemoryPlan } from "./memory_plan.ts";
import type { TracedAccess } from "./page_flags.ts";
import type { FirstTouches, MemoryWatch } from "./watch.ts";

const FIRST_ROOM = 1024;

/** First touches by kind; never seen by the guest. */
export interface TouchCounters {
  readonly reads: number;
  readonly writes: number;
  readonly fetches: number;
  /** Page tables that were walked. */
  readonly walks: number;
  readonly dma: number;
}

/** The pages that one VM uses. */
export class ActivePages implements FirstTouches {
  #touched: Uint8Array | undefined;
  #pages = new Uint32Array(FIRST_ROOM);
  #count = 0;
  #counters = { reads: 0, writes: 0, fetches: 0, walks: 0, dma: 0 };

  constructor(private readonly watch: MemoryWatch, private readonly plan: MemoryPlan) {}

  /** Whether first touches are being noted. */
  get running(): boolean {
    return this.#touched !== undefined;
  }

  /** First touches since `begin`, by kind. */
  get counters(): TouchCounters {
    return { ...this.#counters };
  }

  /** The pages that were touched since `begin`, the first one first. */
  get pages(): Uint32Array<ArrayBuffer> {
    return this.#pages.slice(0, this.#count);
  }

  /** Begins: no page was touched. Between runs; begins anew when it runs already. */
  begin(): void {
    this.end();
    this.#touched = new Uint8Array(this.plan.ramPages);
    this.#count = 0;
    this.#counters = { reads: 0, writes: 0, fetches: 0, walks: 0, dma: 0 };
    this.watch.followTouches(this);
  }

  /** Ends all traces; gives the pages that were touched. */
  end(): Uint32Array<ArrayBuffer> {
    if (this.running) {
      this.#touched = undefined;
      this.watch.endTouches();
    }
    return this.pages;
  }

  has(page: number): boolean {
    return this.#touched?.[page] !== 0;
  }

  add(page: number, { kind, by }: TracedAccess): void {
    this.#touched![page] = 1;
    if (this.#count === this.#pages.length) {
      const more = new Uint32Array(4 * this.#pages.length);
      more.set(this.#pages);
      this.#pages = more;
    }
    this.#pages[this.#count++] = page;
    if (by === "dma") this.#counters.dma++;
    else if (by === "walk") this.#counters.walks++;
    else if (by === "fetch") this.#counters.fetches++;
    else if (kind === "write") this.#counters.writes++;
    else this.#counters.reads++;
  }
}
