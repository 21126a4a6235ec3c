/**
 * Execution marks: which code ran since they were last taken, as a filter that never misses any. Going
 * backwards in a replay skips the past in which a breakpoint's code did not run (issue 4, "gdb"; kernel/
 * checkpoint/timeline.ts).
 *
 * A mark is a byte with a hash for its index: of the virtual page where a region's page 0 lies and of the
 * region's slot, or of the virtual page alone for what the interpreter executes. Cores that are made
 * without marks pay nothing.
 *
 * Invariant: whoever executes an instruction has set its mark since the marks were last taken.
 */
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { EXECUTION_MARKS } from "../memory/memory_plan.ts";
import { type Expression, type FunctionBuilder, i32, type I32Value, i64 } from "../wasm/mod.ts";

const SLOT_FACTOR = 0x9e35;
/** In place of a region's slot: the interpreter. */
export const INTERPRETER_SLOT = -1;

/** Index of a mark. @param page virtual page, modulo 2^32 */
export function markIndex(page: number, slot: number): number {
  return (page ^ Math.imul(slot, SLOT_FACTOR)) & (EXECUTION_MARKS - 1);
}

/** Sets the mark of an address for a region, or for the interpreter; nothing in a core without marks. */
export function emitExecutionMark(
  f: FunctionBuilder,
  plan: MemoryPlan,
  address: Expression<"i64">,
  slot: I32Value,
): void {
  if (plan.executionMarks === 0) return;
  const page = i32.wrap(i64.shrU(address, 12));
  const hash = i32.xor(page, i32.mul(slot, SLOT_FACTOR));
  f.store8(i32.and(hash, EXECUTION_MARKS - 1), plan.executionMarks, i64.const(1));
}
