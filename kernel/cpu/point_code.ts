/**
 * Handlers of the interpreter for instructions that ask before they are executed: those at points of
 * debuggers and observers, and markers of replay-only code (points.ts; S13).
 *
 * Invariants: a run that ends here has not executed the instruction, its unit of the budget is given back
 * and the hart's pc is its address; one that goes on executes it as if nothing had been asked.
 */
import { control32, controlAddress, setControl64, setHart64 } from "../memory/block_access.ts";
import { POINT_PAGES } from "../memory/control_layout.ts";
import { RECORD_BYTES } from "../memory/memory_plan.ts";
import { call, type FunctionBuilder, i32, type I32Value, i64, type Local } from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";
import type { RunLabels, RunLocals } from "./interpreter_ops.ts";
import { RECORD } from "./record_layout.ts";
import { RUN_END } from "./run_end.ts";
import { currentPc, endRun } from "./run_place.ts";

/** Asks the points at the current instruction, whose unit is used; ends the run when one wants to stop. */
export function emitAskPoints(code: CpuCode, f: FunctionBuilder, locals: RunLocals): void {
  f.scope(() => {
    const address = f.let(currentPc(locals));
    const page = f.let(i32.and(i32.wrap(i64.shrU(address, 12)), POINT_PAGES - 1));
    const bits = i32.load8U(i32.shrU(page, 3), controlAddress("pointPages"));
    f.if(
      i32.and(i32.shrU(bits, i32.and(page, 7)), 1),
      () => emitAsk(code, f, { locals, address, asked: 0, end: RUN_END.point }),
    );
  });
}

function emitAsk(
  code: CpuCode,
  f: FunctionBuilder,
  { locals: { budget }, address, asked, end }: {
    readonly locals: RunLocals;
    readonly address: Local<"i64">;
    readonly asked: I32Value;
    readonly end: number;
  },
): void {
  const before = i64.add(budget, 1);
  setControl64(f, "budget", before);
  const high = i32.wrap(i64.shrU(address, 32));
  f.if(call(code.imports.wantsStop, asked, i32.wrap(address), high), () => {
    setHart64(f, "pc", address);
    endRun(f, before, end);
  });
}

/** An instruction with a point that lies on one page: decoded each time, into the straddle records. */
export function emitPoint(
  code: CpuCode,
  f: FunctionBuilder,
  locals: RunLocals,
  labels: RunLabels,
): void {
  const { budget, pointer, decoded } = locals;
  emitAskPoints(code, f, locals);
  f.call(code.functions.decodePoint, pointer, decoded);
  f.set(decoded, i32.add(i32.sub(decoded, pointer), code.plan.straddle));
  f.set(pointer, code.plan.straddle);
  f.set(budget, i64.add(budget, 1));
  f.br(labels.next);
}

/** A marker: asks where that is wanted, and does nothing. */
export function emitMarker(
  code: CpuCode,
  f: FunctionBuilder,
  locals: RunLocals,
  labels: RunLabels,
): void {
  const { pointer } = locals;
  f.if(
    control32("markers"),
    () => {
      const address = f.let(currentPc(locals));
      const asked = i32.load(pointer, RECORD.bits);
      emitAsk(code, f, { locals, address, asked, end: RUN_END.marker });
    },
    undefined,
    "unlikely",
  );
  f.set(pointer, i32.add(pointer, 2 * RECORD_BYTES));
  f.br(labels.next);
}
