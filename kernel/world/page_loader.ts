/**
 * Loads the pages of a VM that goes on from a checkpoint (S19.6, S19.7): those that it waits for at once,
 * with those that lie beside them, and the others in the background.
 *
 * Invariants: each page is loaded once; a page that cannot be read ends the VM when it wants it, not before;
 * other work of the kernel world has its turn between clusters.
 */
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { OpenCheckpoint } from "../checkpoint/open_checkpoint.ts";
import type { HostTimers } from "../host/timers.ts";
import { LazySource } from "../memory/lazy_source.ts";
import type { FirstPages } from "./spare_memory.ts";

/** Pages that are loaded together unless told otherwise: they are likely to be in one cluster. */
const NEIGHBOURS = 16;
/** Most of them. */
const NEIGHBOURS_MAXIMUM = 4096;

/** Looks at nothing after which it is seen whether anybody else has loaded anything since as many before. */
const QUIET_LOOKS = 5;

/** Milliseconds between two clusters that nobody waits for: the VM and its host have better things to do. */
const PACE_MILLISECONDS = 1;

/** How to load. */
export interface LoadOptions {
  /**
   * Which pages are there before the VM runs: those that it will use first, as far as that was learned or noted
   * when it was suspended, none, or all.
   */
  readonly first?: "active" | "none" | "all";
  /** Whether pages that nobody asks for are loaded, too; not for VMs that may never run. */
  readonly inBackground?: boolean;
  /**
   * Milliseconds for which those wait, so that they do not compete with what a guest does first, and a VM that
   * is short does without them; some hundred by default, 0: at once.
   */
  readonly backgroundAfter?: number;
  /**
   * Pages that are loaded when one of them is waited for, a power of two; 1: that one alone. By default 16, and
   * 1 where no others are loaded in the background: an idle fork would use one of ten.
   */
  readonly around?: number;
}

/** What a loader did. */
export interface LoadCounters {
  /** Pages that were there before the VM ran. */
  readonly first: number;
  /** Pages that the VM waited for. */
  readonly demanded: number;
  /** Pages that were loaded because they lay beside those. */
  readonly neighbours: number;
  readonly background: number;
}

/** Who is told of problems. */
export interface LoadProblems {
  /** A page cannot be read: a VM that wants it ends. */
  failed(error: Error): void;
  /** What would have helped cannot be read. */
  ignored(error: Error): void;
}

/** Loads one VM's pages. */
export class PageLoader {
  readonly #source: LazySource;
  readonly #ram: Uint8Array;
  readonly #around: number;
  #next = 0;
  #closed = false;
  readonly #ending = new AbortController();
  #done: Promise<void> = Promise.resolve();
  #hadWorkingSet = false;
  /** Why a page could not be read. */
  #failure: Error | undefined;
  /** First page and pages of each run that was loaded before the VM ran, but where all were. */
  readonly #first: number[] = [];
  #counters = { first: 0, demanded: 0, neighbours: 0, background: 0 };

  /**
   * Loads nothing yet. Throws ConfigError for options that make no sense.
   *
   * @param ram the VM's RAM, all zeros
   * @param told is told of what could not be read
   */
  constructor(
    private readonly checkpoint: OpenCheckpoint,
    ram: Uint8Array,
    private readonly timers: HostTimers,
    private readonly told: LoadProblems,
    private readonly options: LoadOptions = {},
  ) {
    this.#ram = ram;
    this.#around = options.around ?? (options.inBackground === false ? 1 : NEIGHBOURS);
    const isGood = this.#around >= 1 && this.#around <= NEIGHBOURS_MAXIMUM &&
      Number.isInteger(Math.log2(this.#around));
    if (!isGood) {
      throw new ConfigError(
        `around is ${this.#around}: expected a power of two up to ${NEIGHBOURS_MAXIMUM}`,
      );
    }
    this.#source = LazySource.makeFor(checkpoint.map.kept);
  }

  /** What the VM's world is handed. */
  get table(): SharedArrayBuffer {
    return this.#source.table;
  }

  /** Whether a working set was learned for the checkpoint, and is of use. */
  get hadWorkingSet(): boolean {
    return this.#hadWorkingSet;
  }

  /** Pages that were loaded before the VM ran, but where all were. */
  get firstPages(): FirstPages {
    return { ramPages: this.checkpoint.map.packOf.length, runs: this.#first };
  }

  /** What was done so far. */
  get counters(): LoadCounters {
    return { ...this.#counters };
  }

  /** Loads what is to be there first. Throws FormatError and HostError when it cannot be read. */
  loadFirst(): void {
    this.#loadFirst(this.options.first ?? "active");
    this.checkpoint.forgetPrepared();
  }

  /** Lets the VM run, and loads the rest meanwhile. */
  start(): void {
    this.#source.ready();
    this.#done = this.#serve();
  }

  /**
   * Loads all that is left, beside the VM. Rejects with what the first page could not be read for, whenever
   * that was, and with HostError when the VM ends first.
   */
  async loadAll(): Promise<void> {
    this.#next = 0;
    while (!this.#closed && this.#failure === undefined && this.#loadNext()) {
      await this.timers.yieldToOthers();
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed && this.#source.left > 0) {
      throw new HostError("The VM ended before all of its pages were loaded");
    }
  }

  /** Ends; a VM that wants one more page ends, too. Resolves when nothing is under way. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#ending.abort();
    this.#source.close();
    await this.#done;
    this.checkpoint.close();
  }

  #loadFirst(first: "active" | "none" | "all"): void {
    if (first === "none") return;
    const counters = this.#counters;
    if (first === "all") {
      for (let page = this.#source.nextAbsent(0); page !== undefined;) {
        this.#load(page, true);
        counters.first++;
        page = this.#source.nextAbsent(page + 1);
      }
      return;
    }
    const loaded = (page: number, pages: number) => {
      this.#first.push(page, pages);
      counters.first += this.#source.presentBefore(page, pages);
    };
    if (this.checkpoint.hasWorkingSet) {
      try {
        this.checkpoint.loadWorkingSet(this.#ram, loaded);
        this.#hadWorkingSet = true;
        return;
      } catch (error) {
        // It helps to be fast; what it says is said elsewhere, too.
        if (!(error instanceof FormatError)) throw error;
        this.told.ignored(error);
      }
    }
    this.checkpoint.loadActive(this.#ram, loaded);
  }

  async #serve(): Promise<void> {
    const { inBackground = true, backgroundAfter = 0 } = this.options;
    // Between two looks at nothing, though whoever wants something rings.
    const patience = 200;
    let quiet = 0;
    let uses = -1;
    let begins = inBackground && backgroundAfter === 0;
    if (inBackground && !begins) {
      void this.timers.delay(backgroundAfter, this.#ending.signal).then((now) => begins = now);
    }
    while (!this.#closed && this.#source.left > 0) {
      const wanted = this.#source.wanted();
      if (wanted !== undefined) this.#loadAround(wanted);
      else if (begins && this.#loadNext()) await this.#source.wish(PACE_MILLISECONDS);
      else {
        await this.#source.wish(patience);
        if (++quiet % QUIET_LOOKS === 0) uses = this.checkpoint.forgetUnused(uses);
      }
    }
  }

  /** A page that the VM waits for, and then those beside it. */
  #loadAround(page: number): void {
    if (this.#load(page)) this.#counters.demanded++;
    const first = page - page % this.#around;
    const { packOf } = this.checkpoint.map;
    for (let near = first; near < first + this.#around; near++) {
      if (packOf[near] !== packOf[page] || near === page) continue;
      if (this.#load(near)) this.#counters.neighbours++;
    }
  }

  /** The next pages that nobody asked for; false when there are none. */
  #loadNext(): boolean {
    const page = this.#source.nextAbsent(this.#next);
    if (page === undefined) return false;
    const end = page - page % NEIGHBOURS + NEIGHBOURS;
    for (let next = page; next < end; next++) {
      if (this.#load(next)) this.#counters.background++;
    }
    this.#next = end;
    return true;
  }

  /** @param strict whether a page that cannot be read is thrown about */
  #load(page: number, strict = false): boolean {
    if (!this.#source.begin(page)) return false;
    try {
      const into = this.#ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      this.checkpoint.readPage(page, into);
    } catch (error) {
      this.#source.fail(page);
      this.#failure ??= error as Error;
      if (strict) throw error;
      this.told.failed(error as Error);
      return false;
    }
    this.#source.done(page);
    return true;
  }
}
