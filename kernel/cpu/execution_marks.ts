/**
 * Execution marks: which code ran since they were last taken, as a filter that never misses any. Going
 * backwards in a replay skips the past in which a breakpoint's code did not run (issue 4, "gdb"; kernel/
 * checkpoint/timeline.ts).
 *
 * A mark is a byte with a hash for its index: of the virtual page where a region's page 0 lies and of the
 * region's slot; or of the 64 virtual bytes where an instruction lies that the interpreter executes. Cores
 * that are made without marks pay nothing.
 *
 * Invariant: whoever executes an instruction has set its mark since the marks were last taken.
 */
import { type MemoryPlan, RECORD_BYTES } from "../memory/memory_plan.ts";
import { EXECUTION_MARKS } from "../memory/memory_plan.ts";
import {
  type Expression,
  type FunctionBuilder,
  i32,
  type I32Value,
  i64,
  type Local,
} from "../wasm/mod.ts";

const SLOT_FACTOR = 0x9e35;
/** Marks of regions; behind them lie those of the interpreter. */
const REGION_MARKS = EXECUTION_MARKS / 2;
const INTERPRETER_MARKS = EXECUTION_MARKS - REGION_MARKS;
/** Bytes of code that share a mark of the interpreter, as a power of two. */
const CHUNK_SHIFT = 6;
/** The same in records: one for each halfword. */
const RECORDS_SHIFT = CHUNK_SHIFT - 1 + Math.log2(RECORD_BYTES);

/** Index of a region's mark. @param page virtual page of its page 0, modulo 2^32 */
export function markIndex(page: number, slot: number): number {
  return (page ^ Math.imul(slot, SLOT_FACTOR)) & (REGION_MARKS - 1);
}

/** Index of the interpreter's mark of an address. */
export function interpreterMark(address: bigint): number {
  const chunk = Number(BigInt.asUintN(32, address >> BigInt(CHUNK_SHIFT)));
  return REGION_MARKS + (chunk & (INTERPRETER_MARKS - 1));
}

/** Sets a region's mark; nothing in a core without marks. */
export function emitExecutionMark(
  f: FunctionBuilder,
  plan: MemoryPlan,
  address: Expression<"i64">,
  slot: I32Value,
): void {
  if (plan.executionMarks === 0) return;
  const page = i32.wrap(i64.shrU(address, 12));
  const hash = i32.xor(page, i32.mul(slot, SLOT_FACTOR));
  f.store8(i32.and(hash, REGION_MARKS - 1), plan.executionMarks, i64.const(1));
}

/** Sets the mark of the instruction that the interpreter executes next; nothing in a core without marks. */
export function emitInterpreterMark(
  f: FunctionBuilder,
  plan: MemoryPlan,
  { pageAddress, pointer, decoded }: {
    readonly pageAddress: Local<"i64">;
    readonly pointer: Local<"i32">;
    readonly decoded: Local<"i32">;
  },
): void {
  if (plan.executionMarks === 0) return;
  const page = i32.wrap(i64.shrU(pageAddress, CHUNK_SHIFT));
  const chunk = i32.add(page, i32.shrU(i32.sub(pointer, decoded), RECORDS_SHIFT));
  const mark = i32.and(chunk, INTERPRETER_MARKS - 1);
  f.store8(mark, plan.executionMarks + REGION_MARKS, i64.const(1));
}
