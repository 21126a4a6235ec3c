/**
 * Where the TLBs of an element lie and what `pageWritable` says, for TypeScript: what a VM world needs to
 * know of cache_group.ts without loading what generates it.
 */
import { type MemoryPlan, TLB_ENTRY_BYTES } from "../memory/memory_plan.ts";

/** Number of the entry of a virtual address, given as two words. */
export function entryNumber(plan: MemoryPlan, low: number, high: number): number {
  return (low >>> 12 ^ low >>> 22 ^ high << 10) & plan.tlbEntries - 1;
}

/** Byte offset of the write (1) or fetch (2) TLB in an element; the read TLB (0) comes first. */
export function tlbOffsetOf(plan: MemoryPlan, kind: 0 | 1 | 2): number {
  return kind * plan.tlbEntries * TLB_ENTRY_BYTES;
}

/** Values of MemoryPlan.pageWritable: the virtual page with this bit, or one of these in its place. */
export const WRITABLE_AT_ONE = 1;
export const WRITABLE_AT_SEVERAL = 2;
export const WRITABLE_BEFORE = 4;

/** Notes that the write TLBs, which were emptied, know none of some pages: see MemoryPlan.pageWritable. */
export function forgetWritable(
  buffer: ArrayBufferLike,
  plan: MemoryPlan,
  pages: Uint32Array,
): void {
  const words = new Int32Array(buffer, plan.pageWritable, 2 * plan.ramPages);
  for (let i = 0; i < pages.length; i++) {
    const at = 2 * pages[i]!;
    if (words[at] === 0) continue;
    words[at] = WRITABLE_BEFORE;
    words[at + 1] = 0;
  }
}
