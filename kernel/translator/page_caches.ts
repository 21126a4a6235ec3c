/**
 * The page that a base register last led to, kept in memory so that the next access to it needs no index
 * into the TLB (docs/decisions/0006).
 *
 * Invariant: a page cache stays true inside a region, where nothing drops TLB entries or sets a trace; it is
 * emptied before a region runs when something did (CONTROL.pageCachesStale).
 */
import { ROWS } from "../cpu/isa/table.ts";
import { type MemoryPlan, PAGE_CACHE_BYTES } from "../memory/memory_plan.ts";
import type { Block } from "./region.ts";

/** Where the page of a base register is remembered, for reads or for writes. */
export interface PageCache {
  /** Where its virtual page lies, -1 when it is empty. */
  readonly tag: number;
  /** Where the host address minus the virtual address lies. */
  readonly addend: number;
}

/** Number of the page cache of a base register for reads (0) or writes (1). */
export function pageCacheKey(register: number, kind: 0 | 1): number {
  return register << 1 | kind;
}

/** Page caches for the base registers of loads and stores, by their numbers. */
export function pageCachesOf(
  blocks: readonly Block[],
  plan: MemoryPlan,
): ReadonlyMap<number, PageCache> {
  const caches = new Map<number, PageCache>();
  for (const { instructions } of blocks) {
    for (const { row, rs1 } of instructions) {
      const { operands } = ROWS[row]!;
      if (!/[oq]\(s\)/.test(operands)) continue;
      const key = pageCacheKey(rs1, operands.includes("q") ? 1 : 0);
      const tag = plan.pageCaches + key * PAGE_CACHE_BYTES;
      caches.set(key, { tag, addend: tag + 8 });
    }
  }
  return caches;
}
