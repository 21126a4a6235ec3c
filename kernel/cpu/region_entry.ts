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
import { JUMP, jumpEntry } from "../mmu/jump_cache.ts";
import {
  call,
  callIndirect,
  type FunctionBuilder,
  i32,
  i64,
  type Label,
  type Local,
} from "../wasm/mod.ts";
import type { CheckImports, CpuCode } from "./cpu_code.ts";
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

/** Instructions that make as much heat as a lookup, as a power of two. */
const HEAT_SHIFT = 3;
/** More instructions than lie between two lookups. */
const HEAT_MOST_EXECUTED = 1 << 14;

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
    const jump = jumpEntry(f, code.plan, element, pc);
    f.if(i64.eq(i64.load(jump, JUMP.address), pc), () => {
      setControl64(f, "budget", budget);
      f.set(locals.heated, HOT_COUNTERS * 4);
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
      const entry = i32.load(jump, JUMP.entry);
      const end = code.check === undefined
        ? f.let(callIndirect("i32", type, slot, entry, pc, slot))
        : emitCheckedCall(code.check, f, { pc, slot, entry: f.let(entry), type });
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

/** Runs a region between what the check does before and after it: its entry may be gone behind it. */
function emitCheckedCall(
  check: CheckImports,
  f: FunctionBuilder,
  region: {
    readonly pc: Local<"i64">;
    readonly slot: Local<"i32">;
    readonly entry: Local<"i32">;
    readonly type: number;
  },
): Local<"i32"> {
  const { pc, slot, entry, type } = region;
  setHart64(f, "pc", pc);
  f.call(check.begin);
  const end = f.let(callIndirect("i32", type, slot, entry, pc, slot));
  f.call(check.end, slot, entry, end);
  return end;
}

/**
 * A place becomes hotter by each lookup that no region answers, and by what the interpreter executes from
 * there to the next lookup: a long row of instructions is worth a region sooner than a short one.
 */
function emitHotCount(code: CpuCode, f: FunctionBuilder, locals: RunLocals, lookup: Label): void {
  const { pc, budget, heated, heatedAt } = locals;
  const { hotCounters } = code.plan;
  const executed = f.let(i32.wrap(i64.sub(heatedAt, budget)));
  // Not where the budget was set aside in between.
  f.if(i32.leU(executed, HEAT_MOST_EXECUTED), () => {
    const heat = i32.add(i32.load(heated, hotCounters), i32.shrU(executed, HEAT_SHIFT));
    f.store32(heated, hotCounters, heat);
  });
  f.set(heated, i32.and(i32.shl(i32.wrap(pc), 1), (HOT_COUNTERS - 1) << 2));
  f.set(heatedAt, budget);
  const heat = f.let(i32.add(i32.load(heated, hotCounters), 1));
  f.store32(heated, hotCounters, heat);
  f.if(
    i32.geS(heat, code.heat),
    () => {
      setHart64(f, "pc", pc);
      f.brIf(lookup, call(code.imports.hotPlace));
    },
    undefined,
    "unlikely",
  );
}
