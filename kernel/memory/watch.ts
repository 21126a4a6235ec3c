/**
 * Watches on guest-physical memory: the one service of the page traces watched-read and watched-write,
 * shared by all that want to know of accesses to a few bytes: watchpoints, observers, HTIF's `tohost`
 * ("One mechanism", design.md; X1), and by the one who wants to know of each page's first access
 * (active_pages.ts; S19.3, S19.4).
 *
 * Invariants: a page carries a watch trace while a watch of that kind lies on it, or while its first access
 * is waited for, and no longer; accesses beside the watched bytes are told to nobody. Fetches and the walker's reads of page tables are no
 * accesses here, because when they happen depends on what is cached; the A and D bits that it writes are. As first accesses
 * they all count.
 */
import { assert } from "../base/assert.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import { PAGE_FLAG, type PageFlags, type TracedAccess } from "./page_flags.ts";

/** Which accesses a watch wants to see. */
export type WatchKind = "read" | "write" | "access";

/** Told of an access that meets a watch, before it happens. */
export type WatchService = (access: TracedAccess) => void;

/** A watched range. */
export interface Watch {
  readonly kind: WatchKind;
  /** First guest-physical address, in RAM. */
  readonly gpa: number;
  /** Bytes, 1 to WATCH_BYTES_MAXIMUM, in RAM. */
  readonly size: number;
  readonly service: WatchService;
}

/** Told of the first access of each page. */
export interface FirstTouches {
  /** Whether a page was accessed already. */
  has(page: number): boolean;
  /** A page is accessed for the first time. */
  add(page: number, access: TracedAccess): void;
}

const WATCHED = PAGE_FLAG.watchedRead | PAGE_FLAG.watchedWrite;

/** Most bytes of one watch. */
export const WATCH_BYTES_MAXIMUM = 4096;

/** The watches of one VM. */
export class MemoryWatch {
  readonly #read = new TracedPages(PAGE_FLAG.watchedRead);
  readonly #write = new TracedPages(PAGE_FLAG.watchedWrite);
  #muted = false;
  #touches: FirstTouches | undefined;

  constructor(private readonly flags: PageFlags, private readonly plan: MemoryPlan) {
    for (const traced of [this.#read, this.#write]) {
      flags.register(traced.flag, (access) => {
        if (this.#muted) return true;
        const page = this.#pageOf(access.gpa);
        this.#touch(page, access);
        traced.tell(page, access);
        return traced.has(page);
      });
    }
  }

  /** Adds a watch. Several may lie on the same bytes. */
  add(watch: Watch): void {
    const { gpa, size } = watch;
    const { ramStart, ramBytes } = this.plan;
    assert(size >= 1 && size <= WATCH_BYTES_MAXIMUM, "a watch has 1 to 4096 bytes");
    assert(gpa >= ramStart && gpa + size <= ramStart + ramBytes, "a watch lies in RAM");
    for (const traced of this.#tracedBy(watch)) {
      for (const page of this.#pagesOf(watch)) {
        traced.add(page, watch);
        this.flags.set(page, traced.flag);
      }
    }
  }

  /** Takes a watch away; one that is not there is no error. */
  remove(watch: Watch): void {
    for (const traced of this.#tracedBy(watch)) {
      for (const page of this.#pagesOf(watch)) {
        const waited = this.#touches !== undefined && !this.#touches.has(page);
        if (traced.remove(page, watch) && !waited) this.flags.clear(page, traced.flag);
      }
    }
  }

  /** Tells of each page's first access from now on: all pages are traced. Between runs. */
  followTouches(touches: FirstTouches): void {
    assert(this.#touches === undefined, "the first accesses are followed already");
    this.#touches = touches;
    this.flags.setAll(WATCHED);
  }

  /** Ends what `followTouches` began: what is traced is what watches lie on. */
  endTouches(): void {
    this.#touches = undefined;
    this.flags.clearAll(WATCHED);
    for (const traced of [this.#read, this.#write]) {
      for (const page of traced.pages()) this.flags.set(page, traced.flag);
    }
  }

  /** Does something with memory that nobody is to be told of. */
  unseen<T>(body: () => T): T {
    this.#muted = true;
    try {
      return body();
    } finally {
      this.#muted = false;
    }
  }

  /** The first access ends the traces of its page, but for those of watches. */
  #touch(page: number, access: TracedAccess): void {
    const touches = this.#touches;
    if (touches === undefined || touches.has(page)) return;
    touches.add(page, access);
    for (const traced of [this.#read, this.#write]) {
      if (!traced.has(page)) this.flags.clear(page, traced.flag);
    }
  }

  #tracedBy({ kind }: Watch): TracedPages[] {
    return [
      ...kind === "write" ? [] : [this.#read],
      ...kind === "read" ? [] : [this.#write],
    ];
  }

  #pagesOf({ gpa, size }: Watch): number[] {
    const first = this.#pageOf(gpa);
    const last = this.#pageOf(gpa + size - 1);
    return first === last ? [first] : [first, last];
  }

  #pageOf(gpa: number): number {
    return (gpa - this.plan.ramStart) >>> 12;
  }
}

/** The watches that one trace flag serves, by page. */
class TracedPages {
  readonly #watches = new Map<number, Watch[]>();

  constructor(readonly flag: number) {}

  add(page: number, watch: Watch): void {
    const there = this.#watches.get(page);
    if (there === undefined) this.#watches.set(page, [watch]);
    else there.push(watch);
  }

  /** Whether a watch lies on a page. */
  has(page: number): boolean {
    return this.#watches.has(page);
  }

  /** The pages that watches lie on. */
  pages(): Iterable<number> {
    return this.#watches.keys();
  }

  /** True when the last one of the page went. */
  remove(page: number, watch: Watch): boolean {
    const left = this.#watches.get(page)?.filter((other) => other !== watch);
    if (left === undefined) return false;
    if (left.length > 0) this.#watches.set(page, left);
    else this.#watches.delete(page);
    return left.length === 0;
  }

  tell(page: number, access: TracedAccess): void {
    if (access.by === "fetch" || access.by === "walk" && access.kind === "read") return;
    const { gpa, size } = access;
    for (const watch of this.#watches.get(page) ?? []) {
      if (watch.gpa < gpa + size && gpa < watch.gpa + watch.size) watch.service(access);
    }
  }
}
