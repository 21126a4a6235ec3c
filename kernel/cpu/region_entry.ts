/**
 * Where the interpreter hands over to regions of the translator tier, and what the two have agreed on: the
 * type of a region's function and how it may end (design.md "Execution").
 *
 * Invariant: which tier runs is never visible to the guest; only places that are looked up (targets of
 * jumps that go far or back) are entered or counted.
 */
import {
  control32,
  control64,
  count,
  hart64,
  setControl32,
  setControl64,
  setHart64,
} from "../memory/block_access.ts";
import { HOT_COUNTERS, PAGE_CACHE_BYTES, PAGE_CACHES } from "../memory/memory_plan.ts";
import { JUMP, jumpOffset } from "../mmu/cache_group.ts";
import { call, callIndirect, type FunctionBuilder, i32, i64, type Label } from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";
import type { RunLocals } from "./interpreter_ops.ts";

/**
 * Type of a region's function: (entry number << 16 | halfword of the entry, virtual address, slot of the
 * table that the function has).
 */
export const REGION_TYPE = { parameters: ["i32", "i64", "i32"], result: "i32" } as const;
/** How a region was left; the hart's pc and the budget are written back. */
export const REGION_END = {
  /** Go on at the hart's pc. */
  lookUp: 0,
  /** Attention was raised: look for interrupts first. */
  check: 1,
  /** The instruction at the hart's pc is for the interpreter. */
  step: 2,
  /** The budget is too small for a region. */
  budget: 3,
} as const;

/**
 * Runs the region that the jump cache knows for `pc`; counts places that have none, and reports the hot
 * ones. Falls through when the interpreter is to run.
 */
export function emitRegionEntry(
  code: CpuCode,
  f: FunctionBuilder,
  locals: RunLocals,
  labels: { readonly check: Label; readonly lookup: Label },
): void {
  const { pc, element, budget } = locals;
  f.scope(() => {
    const jump = f.let(i32.add(element, jumpOffset(code.plan, pc)));
    f.if(i64.eq(i64.load(jump, JUMP.address), pc), () => {
      setControl64(f, "budget", budget);
      f.if(
        control32("pageCachesStale"),
        () => {
          f.fill(code.plan.pageCaches, 0xff, PAGE_CACHES * PAGE_CACHE_BYTES);
          setControl32(f, "pageCachesStale", 0);
        },
        undefined,
        "unlikely",
      );
      count(f, "statRegionEntries");
      const type = code.module.typeIndex(REGION_TYPE.parameters, REGION_TYPE.result);
      const slot = f.let(i32.load(jump, JUMP.slot));
      const end = f.let(callIndirect("i32", type, slot, i32.load(jump, JUMP.entry), pc, slot));
      setControl64(
        f,
        "statRegionInstructions",
        i64.add(control64("statRegionInstructions"), i64.sub(budget, control64("budget"))),
      );
      f.set(budget, control64("budget"));
      f.set(pc, hart64("pc"));
      f.brIf(labels.lookup, i32.eq(end, REGION_END.lookUp));
      f.if(i32.eq(end, REGION_END.check), () => {
        count(f, "statRegionChecks");
        f.br(labels.check);
      });
      // One instruction here, then the place behind it may be an entry again.
      f.if(i32.and(i32.eq(end, REGION_END.step), i64.gtS(budget, 1)), () => {
        count(f, "statRegionSteps");
        setControl64(f, "budgetAside", i64.sub(budget, 1));
        f.set(budget, 1);
      });
    }, () => emitHotCount(code, f, locals, labels.lookup));
  });
}

function emitHotCount(code: CpuCode, f: FunctionBuilder, locals: RunLocals, lookup: Label): void {
  const { pc } = locals;
  const counter = f.let(i32.and(i32.wrap(pc), (HOT_COUNTERS - 1) << 1));
  const counted = f.let(i32.add(i32.load16U(counter, code.plan.hotCounters), 1));
  f.store16(counter, code.plan.hotCounters, counted);
  f.if(
    i32.eq(counted, code.hotLookups),
    () => {
      setHart64(f, "pc", pc);
      f.brIf(lookup, call(code.imports.hotPlace));
    },
    undefined,
    "unlikely",
  );
}
