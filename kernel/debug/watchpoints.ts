/**
 * Watchpoints: ranges of virtual addresses, watched by way of the guest-physical memory that they lead to
 * (kernel/memory/watch.ts).
 *
 * A watchpoint belongs to the address space of the hart whose turn it is when it is added. It is looked up
 * there then, and again before each run; a page that is not mapped is not watched until a look finds it.
 * So a change of the mapping is seen at the end of the slice in which it is made, accesses to the same
 * memory by other addresses, spaces, harts and devices are seen too, and another process's memory at the
 * same address is not.
 *
 * Addresses of the upper half are a kernel's, the same in all spaces, which come and go with processes:
 * they are looked up in the space that is current, and where it does not have them they stay where they
 * were found last.
 *
 * Invariant: the watches that are set are those that the last look gave.
 */
import { ConfigError } from "../base/errors.ts";
import { addressSpace } from "../machine/guest_view.ts";
import type { Machine } from "../machine/machine.ts";
import type { TracedAccess } from "../memory/page_flags.ts";
import { type Watch, WATCH_BYTES_MAXIMUM, type WatchKind } from "../memory/watch.ts";
import { pageParts } from "./hart_memory.ts";

/** A range to watch. */
export interface WatchRange {
  /** Which accesses count. */
  readonly kind: WatchKind;
  /** Virtual address. */
  readonly address: bigint;
  /** Bytes, 1 to 4096. */
  readonly size: number;
}

/**
 * Told of an access before it happens.
 * @param address first virtual address of the range that it touches
 */
export type WatchpointService = (access: TracedAccess, address: bigint) => void;

interface Watchpoint {
  readonly range: WatchRange;
  readonly space: bigint;
  readonly service: WatchpointService;
  watches: readonly Watch[];
  /** Addresses of the page-table entries that led there at the last look. */
  readonly entries: bigint[];
}

const UPPER_HALF = 1n << 63n;

/** The watchpoints of one machine. */
export class Watchpoints {
  readonly #all = new Set<Watchpoint>();

  constructor(private readonly machine: Machine) {}

  /** The address space that a watchpoint which is added now belongs to. */
  get space(): bigint {
    return addressSpace(this.machine.core, this.machine.hart);
  }

  /**
   * Adds one; gives what takes it away. Throws ConfigError for a size that cannot be.
   * @param space as addressSpace gives it; 0: addresses are physical
   */
  add(range: WatchRange, service: WatchpointService, space: bigint = this.space): () => void {
    const { size } = range;
    if (!Number.isInteger(size) || size < 1 || size > WATCH_BYTES_MAXIMUM) {
      throw new ConfigError(`a watchpoint has 1 to ${WATCH_BYTES_MAXIMUM} bytes, not ${size}`);
    }
    const added = { range, space, service, watches: [], entries: [] };
    this.#all.add(added);
    this.#look(added);
    return () => {
      if (this.#all.delete(added)) this.#unwatch(added);
    };
  }

  /**
   * Guest pages without a write to which nothing that is watched is written: those that are watched, and
   * those of the tables that lead there.
   */
  get pages(): number[] {
    const { ramStart } = this.machine.core.plan;
    const pages = new Set<number>();
    for (const { watches, entries } of this.#all) {
      // A watch lies on one page.
      for (const { gpa } of watches) pages.add((gpa - ramStart) >>> 12);
      for (const entry of entries) pages.add((Number(entry) - ramStart) >>> 12);
    }
    return [...pages];
  }

  /** Looks all of them up again. */
  look(): void {
    for (const watchpoint of this.#all) this.#look(watchpoint);
  }

  #look(watchpoint: Watchpoint): void {
    const { range: { kind, address, size }, space, service } = watchpoint;
    const found: Watch[] = [];
    const isKernels = (address & UPPER_HALF) !== 0n;
    watchpoint.entries.length = 0;
    const met = (entry: bigint) => void watchpoint.entries.push(entry);
    const where = isKernels ? this.space : space;
    for (const part of pageParts(this.machine, where, address, size, met)) {
      if (part.gpa === undefined) {
        if (isKernels && watchpoint.watches.length > 0) return;
        continue;
      }
      const { gpa } = part;
      const told = (access: TracedAccess) =>
        service(access, part.address + BigInt(Math.max(0, access.gpa - gpa)));
      found.push({ kind, gpa, size: part.size, service: told });
    }
    const { watches } = watchpoint;
    const same = found.length === watches.length &&
      found.every(({ gpa }, i) => gpa === watches[i]!.gpa);
    if (same) return;
    this.#unwatch(watchpoint);
    for (const watch of found) this.machine.watch.add(watch);
    watchpoint.watches = found;
  }

  #unwatch(watchpoint: Watchpoint): void {
    for (const watch of watchpoint.watches) this.machine.watch.remove(watch);
    watchpoint.watches = [];
  }
}
