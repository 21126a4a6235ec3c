/**
 * Where a run of the interpreter is, and how it ends there: for all that writes parts of its function.
 */
import { control64, setControl64 } from "../memory/block_access.ts";
import { type Expression, type FunctionBuilder, i32, i64 } from "../wasm/mod.ts";
import type { RunLocals } from "./interpreter_ops.ts";

/** Address of the instruction of the current record. */
export function currentPc({ pointer, decoded, pageAddress }: RunLocals): Expression<"i64"> {
  return i64.add(pageAddress, i64.extendI32U(i32.shrU(i32.sub(pointer, decoded), 3)));
}

/** Ends the run where the hart's pc is, with all that is left of the budget. */
export function endRun(f: FunctionBuilder, left: Expression<"i64">, reason: number): void {
  setControl64(f, "budget", i64.add(left, control64("budgetAside")));
  setControl64(f, "budgetAside", 0);
  f.return(reason);
}
