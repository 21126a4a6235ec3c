/**
 * Page traces: one byte of flags for each guest-physical page ("One mechanism", design.md; X1, S21).
 * A service that must know about memory sets a flag on a page and is called before the access.
 *
 * Invariant: a software-TLB entry that allows an access exists only while no flag on that page wants
 * to see that access; setting a flag therefore drops such entries before it returns.
 */
import { assert, unreachable } from "../base/assert.ts";
import { CONTROL } from "./control_layout.ts";
import { CONTROL_BLOCK, type MemoryPlan } from "./memory_plan.ts";

/** The trace flags of a page. */
export const PAGE_FLAG = {
  /** Not loaded yet: any access asks the lazy filler first. */
  absent: 1,
  /** Holds page-table entries that a cached translation came from (the T bit, S21). */
  table: 2,
  /** Holds instructions that were decoded or translated. */
  code: 4,
  /** Not written since the last checkpoint epoch. */
  clean: 8,
  /** Belongs to a checkpoint that is being saved. */
  frozen: 16,
  watchedRead: 32,
  watchedWrite: 64,
  /** Owned by someone else for now (HPDI, shared regions). */
  protected: 128,
} as const;

/** Flags that keep a page out of the read and fetch TLBs. */
export const READ_TRACES = PAGE_FLAG.absent | PAGE_FLAG.watchedRead;
/** Flags that keep a page out of the write TLB: all, because an atomic reads what it writes. */
export const WRITE_TRACES = 0xff;
/** Write traces whose services live in TypeScript; table and code are served by generated code. */
export const SERVICE_WRITE_TRACES = WRITE_TRACES &
  ~(PAGE_FLAG.table | PAGE_FLAG.code | PAGE_FLAG.watchedRead);

/**
 * Traces that end with the first write of a page, if a service has taken them over with `serveFirstWrites`:
 * generated code clears them, asks TypeScript for the copy of a frozen page alone, and lets the page into
 * the write TLB with the same store. Otherwise they are asked about as all others are.
 */
export const FIRST_WRITE_TRACES = PAGE_FLAG.clean | PAGE_FLAG.frozen;

/** An access that hit a trace. */
export interface TracedAccess {
  /** "read" or "write". */
  readonly kind: "read" | "write";
  /** Guest-physical address. */
  readonly gpa: number;
  /** Bytes accessed from there, within one page. */
  readonly size: number;
  /** Low 64 bits of the value about to be written; 0 for reads and DMA. */
  readonly value: bigint;
  /** The flags that were hit. */
  readonly flags: number;
  /**
   * Who accesses: an instruction, its fetch, the page walker, or a device or the kernel by way of
   * GuestMemory. When fetches and the walker's reads ask depends on what is cached.
   */
  readonly by: "instruction" | "fetch" | "walk" | "dma";
}

/** Loads pages that are absent. */
export interface PageLoader {
  /** Makes sure that a page is present and does not carry `absent` any more. Throws HostError. */
  need(page: number): void;
  /** Clears `absent` where a page is present; asks for it, and does not wait, where it is not. */
  hint(page: number): void;
}

/** Called before the access; returns whether the flag is to stay on the page. */
export type TraceService = (access: TracedAccess) => boolean;

/** Drops what the software TLBs hold of a page: supplied by the cpu floor. */
export interface TlbDropper {
  /** Drops read and fetch entries of a guest page. */
  dropReads(page: number): void;
  /** Drops write entries of a guest page. */
  dropWrites(page: number): void;
  /** Empties all write TLBs. The pages are all that had an entry there. */
  dropManyWrites(pages: Uint32Array): void;
  /** Empties all write TLBs. */
  dropAllWrites(): void;
  /** Empties all software TLBs. */
  dropAll(): void;
  /** Changes the flags of all pages: eight times those that stay, and eight times those that come. */
  sweep(stay: bigint, come: bigint): void;
}

/** A byte of flags, eight times. */
const EIGHT_TIMES = 0x0101_0101_0101_0101n;

/** The flags of all pages of one VM and the services that registered for them. */
export class PageFlags {
  readonly #flags: Uint8Array;
  readonly #services = new Map<number, TraceService>();
  /** How often each flag was hit, by the number of its bit; never seen by the guest. */
  readonly #hits = new Float64Array(8);
  #dropper: TlbDropper | undefined;
  /** Four pages a word; the bytes behind the last page are nobody's. */
  readonly #words: Int32Array;
  /** The field `firstWriteTraces` of the control block. */
  readonly #firstWriteTraces: Uint32Array;
  #thaw: (page: number) => void = () => {};
  #loader: PageLoader | undefined;

  /** @param buffer the VM's memory @param plan where the flags lie */
  constructor(buffer: ArrayBufferLike, private readonly plan: MemoryPlan) {
    this.#flags = new Uint8Array(buffer, plan.pageFlags, plan.ramPages);
    this.#words = new Int32Array(buffer, plan.pageFlags, Math.ceil(plan.ramPages / 4));
    const field = CONTROL_BLOCK + CONTROL.offset.firstWriteTraces;
    this.#firstWriteTraces = new Uint32Array(buffer, field, 1);
  }

  /** Names who keeps the software TLBs; called once when the machine is built. */
  attachDropper(dropper: TlbDropper): void {
    this.#dropper = dropper;
  }

  /** Registers the one service of a flag. Throws `Broken` when the flag has one already. */
  register(flag: number, service: TraceService): void {
    assert(!this.#services.has(flag), `trace flag ${flag} has a service`);
    this.#services.set(flag, service);
  }

  /** Removes the service of a flag; flags still set then only slow accesses down. */
  unregister(flag: number): void {
    this.#services.delete(flag);
  }

  /** Flags of a page. */
  get(page: number): number {
    return this.#flags[this.#checked(page)]!;
  }

  /** Sets flags on a page and drops the TLB entries that would bypass them. */
  set(page: number, flags: number): void {
    const before = this.#flags[this.#checked(page)]!;
    const added = flags & ~before;
    if (added === 0) return;
    this.#flags[page] = before | flags;
    if ((added & READ_TRACES) !== 0) this.#dropper?.dropReads(page);
    if ((added & WRITE_TRACES) !== 0) this.#dropper?.dropWrites(page);
  }

  /** Clears flags on a page. */
  clear(page: number, flags: number): void {
    this.#flags[this.#checked(page)]! &= ~flags;
  }

  /** Sets flags on all pages, and drops all TLB entries that would bypass them. */
  setAll(flags: number): void {
    this.#sweep(-1n, BigInt(flags) * EIGHT_TIMES);
    if ((flags & READ_TRACES) !== 0) this.#dropper!.dropAll();
    else this.#dropper!.dropAllWrites();
  }

  /** Clears flags on all pages. */
  clearAll(flags: number): void {
    this.#sweep(BigInt(~flags & 0xff) * EIGHT_TIMES, 0n);
  }

  /** Copies the flags of all pages, in the order of the pages. */
  copyTo(bytes: Uint8Array): void {
    bytes.set(this.#flags);
  }

  /**
   * Names who loads pages that are absent, for those who read guest memory past the traces; undefined when
   * none is absent any more. The service of `absent` is registered besides.
   */
  attachLoader(loader: PageLoader | undefined): void {
    this.#loader = loader;
  }

  /** It would be good to have a page, which may be absent: whoever asks does not wait for it. */
  hint(page: number): void {
    this.#loader?.hint(page);
  }

  /**
   * Makes sure that pages hold what they ought to hold. Whoever reads guest memory past the traces calls it
   * first: looks of debuggers and plugins, digests and hashes, copies for a recording.
   * @param end the page behind the last one
   */
  need(page: number, end = page + 1): void {
    const loader = this.#loader;
    if (loader === undefined) return;
    for (let at = page; at < end; at++) {
      if ((this.#flags[at]! & PAGE_FLAG.absent) !== 0) loader.need(at);
    }
  }

  /** The same for bytes, which lie in RAM. */
  needBytes(gpa: number, length: number): void {
    if (this.#loader === undefined || length <= 0) return;
    const at = gpa - this.plan.ramStart;
    this.need(at >>> 12, ((at + length - 1) >>> 12) + 1);
  }

  /** Whether pages may be absent. */
  get mayBeAbsent(): boolean {
    return this.#loader !== undefined;
  }

  /** Asks the services of every flag that an access hits; called before the access happens. */
  hit(
    kind: "read" | "write",
    gpa: number,
    size: number,
    value: bigint,
    by: TracedAccess["by"],
  ): void {
    const page = (gpa - this.plan.ramStart) >>> 12;
    const wanted = kind === "read" ? READ_TRACES : SERVICE_WRITE_TRACES;
    const flags = this.get(page) & wanted;
    const asked = flags & ~this.#firstWriteTraces[0]!;
    for (let flag = 1; flag <= 0x80; flag <<= 1) {
      if ((asked & flag) === 0) continue;
      this.#hits[31 - Math.clz32(flag)]!++;
      const stay = this.#services.get(flag)?.({ kind, gpa, size, value, flags, by }) ?? true;
      if (!stay) this.clear(page, flag);
    }
    if (kind === "write") this.#firstWrite(page);
  }

  /**
   * Takes a flag of FIRST_WRITE_TRACES over, or gives it back: it then ends with the first write.
   * @param thaw for `frozen`: keeps the content of a page that is about to be written
   */
  serveFirstWrites(flag: number, thaw?: (page: number) => void): void {
    assert((flag & FIRST_WRITE_TRACES) === flag && !this.#services.has(flag));
    assert(!this.servesFirstWrites(flag), `trace flag ${flag} has a service`);
    this.#firstWriteTraces[0]! |= flag;
    if (thaw !== undefined) this.#thaw = thaw;
  }

  /** Whether somebody has taken a flag of FIRST_WRITE_TRACES over. */
  servesFirstWrites(flag: number): boolean {
    return (this.#firstWriteTraces[0]! & flag) !== 0;
  }

  /** Ends what `serveFirstWrites` began; no page has the flag afterwards. */
  endFirstWrites(flag: number): void {
    this.#firstWriteTraces[0]! &= ~flag;
    if (flag === PAGE_FLAG.frozen) this.#thaw = () => {};
    this.clearAll(flag);
  }

  /** A frozen page is about to be written: generated code asks, and clears the flag then. */
  thaws(page: number): void {
    this.#thaw(page);
  }

  /** The pages that have no such flag, in ascending order. */
  pagesWithout(flag: number): Uint32Array<ArrayBuffer> {
    const words = this.#words;
    const { ramPages } = this.plan;
    const mask = flag * 0x0101_0101 | 0;
    let pages = new Uint32Array(1024);
    let found = 0;
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      if ((word & mask) === mask) continue;
      if (found + 4 > pages.length) {
        const more = new Uint32Array(4 * pages.length);
        more.set(pages);
        pages = more;
      }
      for (let byte = 0; byte < 4; byte++) {
        const page = 4 * i + byte;
        if ((word >>> 8 * byte & flag) === 0 && page < ramPages) pages[found++] = page;
      }
    }
    return pages.slice(0, found);
  }

  /**
   * Sets a flag of FIRST_WRITE_TRACES on pages, and so ends all write entries at once: the pages must be
   * all that have no such flag, because what has it is in no write TLB.
   */
  setOnRest(pages: Uint32Array, flag: number): void {
    const flags = this.#flags;
    for (let i = 0; i < pages.length; i++) flags[pages[i]!]! |= flag;
    this.#dropper?.dropManyWrites(pages);
  }

  /** How often services were asked, by the name of their flag. */
  hits(): Record<keyof typeof PAGE_FLAG, number> {
    const entries = Object.entries(PAGE_FLAG) as [keyof typeof PAGE_FLAG, number][];
    const hits = entries.map(([name, flag]) => [name, this.#hits[31 - Math.clz32(flag)]!] as const);
    return Object.fromEntries(hits) as Record<keyof typeof PAGE_FLAG, number>;
  }

  /** What a write by TypeScript ends, as `firstWrite` of generated code does. */
  #firstWrite(page: number): void {
    const ended = this.#flags[page]! & this.#firstWriteTraces[0]!;
    if (ended === 0) return;
    if ((ended & PAGE_FLAG.frozen) !== 0) this.#thaw(page);
    this.clear(page, ended);
  }

  #sweep(stay: bigint, come: bigint): void {
    assert(this.#dropper !== undefined, "the software TLBs are attached");
    this.#dropper.sweep(stay, come);
  }

  #checked(page: number): number {
    if (page >= 0 && page < this.plan.ramPages) return page;
    // Not by `assert`, whose message would be made for every page that is asked for.
    return unreachable(`guest page ${page} does not exist`);
  }
}
