/**
 * The interpreter tier: one generated WebAssembly function that runs predecoded records until its
 * budget is used, the hart waits, or TypeScript is wanted (design.md "Execution"; translator.md "What
 * follows" 1). Handlers are made from the instruction table through InterpreterOps.
 *
 * Invariants: exactly one unit of budget is used for each instruction executed, trapping ones
 * included; control leaves only between instructions, with the hart's pc and the budget written back.
 *
 *     check:   attention, interrupts, cache element          lookup:  pc → decoded page, record
 *     next:    one unit of budget, dispatch on the record's operation
 */
import {
  control32,
  control64,
  hart64,
  setControl32,
  setControl64,
  setHart64,
} from "../memory/block_access.ts";
import { CAUSE } from "../memory/hart_layout.ts";
import { HOT_COUNTERS, RECORD_BYTES } from "../memory/memory_plan.ts";
import type { LogStore } from "../memory/store_log.ts";
import { entryOffset, tlbOffset } from "../mmu/cache_group.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { call, type FunctionBuilder, i32, i64, type Label } from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";
import { emitInterpreterMark } from "./execution_marks.ts";
import { InterpreterOps, type RunLabels, type RunLocals } from "./interpreter_ops.ts";
import { emitRegionEntry } from "./region_entry.ts";
import { currentPc } from "./run_place.ts";
import { emitAskPoints, emitMarker, emitPoint } from "./point_code.ts";
import { RECORD, SPECIAL, SPECIALS } from "./record_layout.ts";
import { OPERATIONS, VARIANTS } from "./records.ts";
import { RUN_END } from "./run_end.ts";

/**
 * Generates the exported function `run`, which gives one of RUN_END; in the tier `check` also `runPlainly`,
 * which enters no regions and writes its stores down.
 */
export function emitInterpreter(code: CpuCode): void {
  emitRun(code, "run", undefined);
  if (code.check) emitRun({ ...code, heat: 0 }, "runPlainly", code.check.store);
}

function emitRun(code: CpuCode, name: string, log: LogStore | undefined): void {
  code.module.function(name, [], "i32", (f) => {
    const locals: RunLocals = {
      pointer: f.local("i32"),
      pageAddress: f.local("i64"),
      decoded: f.local("i32"),
      budget: f.local("i64"),
      element: f.local("i32"),
      pc: f.local("i64"),
      heated: f.local("i32"),
      heatedAt: f.local("i64"),
    };
    f.set(locals.heated, HOT_COUNTERS * 4);
    f.set(locals.budget, control64("budget"));
    f.loop((check) => {
      emitCheck(code, f, locals);
      f.loop((lookup) => {
        if (code.heat > 0) emitRegionEntry(code, f, locals, { check, lookup });
        if (log) emitEndOfBudget(f, locals, check);
        f.block((illegal) => {
          f.block((fault) => {
            emitLookup(code, f, locals, check);
            emitDispatch(code, f, locals, { check, lookup, fault, illegal }, log);
          });
          setHart64(f, "pc", currentPc(locals));
          emitFaultTrap(code, f, locals, check);
        });
        setHart64(f, "pc", currentPc(locals));
        setControl32(f, "faultCause", 0);
        setControl64(f, "budget", locals.budget);
        const bits = i64.load32U(locals.pointer, RECORD.bits);
        f.call(code.functions.trap, CAUSE.illegalInstruction, bits);
        f.br(check);
      });
    });
  }, true);
}

/** Traps with the fault that the control block holds. */
function emitFaultTrap(
  code: CpuCode,
  f: FunctionBuilder,
  { budget }: RunLocals,
  check: Label,
): void {
  f.scope(() => {
    const cause = f.let(i64.extendI32U(control32("faultCause")));
    setControl32(f, "faultCause", 0);
    setControl64(f, "budget", budget);
    f.call(code.functions.trap, cause, control64("faultValue"));
    f.br(check);
  });
}

/**
 * An instruction that cannot be fetched uses its unit like any other, so that a trap vector that cannot
 * be fetched either does not keep the run for ever. With no unit left it is fetched again next time.
 */
function emitFetchFault(code: CpuCode, f: FunctionBuilder, locals: RunLocals, check: Label): void {
  const { budget } = locals;
  f.if(i64.leS(budget, 0), () => {
    setControl32(f, "faultCause", 0);
    f.br(check);
  });
  f.set(budget, i64.sub(budget, 1));
  emitFaultTrap(code, f, locals, check);
}

/**
 * A run that stands for a region ends where the region did: the instruction behind is not even fetched, as
 * its walk might set an A bit.
 */
function emitEndOfBudget(f: FunctionBuilder, { budget, pc }: RunLocals, check: Label): void {
  f.if(i64.leS(budget, 0), () => {
    setHart64(f, "pc", pc);
    f.br(check);
  });
}

/** Attention, the end of the budget, interrupts, and the cache element of the hart's view. */
function emitCheck(code: CpuCode, f: FunctionBuilder, locals: RunLocals): void {
  const { budget } = locals;
  f.set(budget, i64.add(budget, control64("budgetAside")));
  setControl64(f, "budgetAside", 0);
  setControl64(f, "budget", budget);
  f.scope(() => {
    const attention = f.let(control32("attention"));
    f.if(
      attention,
      () => {
        setControl32(f, "attention", 0);
        f.if(i32.and(attention, ATTENTION.stop), () => f.return(RUN_END.attention));
      },
      undefined,
      "unlikely",
    );
  });
  f.if(i64.leS(budget, 0), () => f.return(RUN_END.budget), undefined, "unlikely");
  f.call(code.functions.takeInterrupt);
  // Who was told of an interrupt may want the run to end: behind the first instruction of its handler.
  f.if(
    i32.and(control32("attention"), ATTENTION.behind),
    () => {
      setControl64(f, "budgetAside", i64.sub(budget, 1));
      f.set(budget, 1);
      setControl64(f, "budget", budget);
    },
    undefined,
    "unlikely",
  );
  f.call(code.mmu.selectElement);
  f.set(locals.element, control32("element"));
  f.set(locals.pc, hart64("pc"));
}

/** Finds the record of `pc`, by way of the fetch TLB. */
function emitLookup(code: CpuCode, f: FunctionBuilder, locals: RunLocals, check: Label): void {
  const { pc, decoded, pageAddress, pointer, element, budget } = locals;
  const offset = tlbOffset(code.mmuCode, 2);
  f.scope(() => {
    const entry = f.let(i32.add(element, entryOffset(f, code.plan, pc)));
    f.set(pageAddress, i64.and(pc, -4096));
    f.if(i64.eq(i64.load(entry, offset), pageAddress), () => {
      f.set(decoded, i32.load(entry, offset + 8));
    }, () => {
      setHart64(f, "pc", pc);
      setControl64(f, "budget", budget);
      f.set(decoded, call(code.functions.fetchSlow, pc));
      f.if(
        control32("faultCause"),
        () => emitFetchFault(code, f, locals, check),
        undefined,
        "unlikely",
      );
      // Where PMP gives no one answer for the page, each instruction is looked up by itself; where a service
      // that the walk asked wants to stop, the run ends behind it.
      const stops = i32.and(control32("attention"), ATTENTION.behind);
      f.if(
        i32.or(i32.eqz(control32("pmpUniform")), stops),
        () => {
          f.brIf(check, i64.leS(budget, 0));
          setControl32(f, "attention", i32.or(control32("attention"), ATTENTION.refetch));
          setControl64(f, "budgetAside", i64.add(control64("budgetAside"), i64.sub(budget, 1)));
          f.set(budget, 1);
        },
        undefined,
        "unlikely",
      );
    }, "likely");
    const inPage = i32.and(i32.wrap(pc), 4095);
    f.set(pointer, i32.add(decoded, i32.shl(inPage, 3)));
  });
}

function emitDispatch(
  code: CpuCode,
  f: FunctionBuilder,
  locals: RunLocals,
  outer: Omit<RunLabels, "next">,
  log: LogStore | undefined,
): void {
  const { budget, pointer } = locals;
  f.loop((next) => {
    const labels = { ...outer, next };
    const ops = new InterpreterOps(f, code, locals, labels, log);
    const nest = (position: number, cases: Label[]): void => {
      if (position === OPERATIONS) {
        f.set(budget, i64.sub(budget, 1));
        f.if(
          i64.ltS(budget, 0),
          () => {
            f.set(budget, 0);
            setHart64(f, "pc", currentPc(locals));
            f.br(labels.check);
          },
          undefined,
          "unlikely",
        );
        emitInterpreterMark(f, code.plan, locals);
        f.brTable(i32.load16U(pointer, RECORD.operation), cases, cases[0]!);
        return;
      }
      f.block((label) => nest(position + 1, [label, ...cases]));
      f.scope(() => emitCase(code, f, locals, labels, ops, OPERATIONS - 1 - position));
    };
    nest(0, []);
  });
}

/** The handler of one operation number. */
function emitCase(
  code: CpuCode,
  f: FunctionBuilder,
  locals: RunLocals,
  labels: RunLabels,
  ops: InterpreterOps,
  operation: number,
): void {
  const { budget, pointer, decoded, pc } = locals;
  const again = () => f.set(budget, i64.add(budget, 1));
  switch (operation) {
    case SPECIAL.undecoded:
      again();
      f.call(code.functions.decodeRun, pointer, decoded);
      f.br(labels.next);
      return;
    case SPECIAL.pageEnd:
      again();
      f.set(pc, currentPc(locals));
      f.br(labels.lookup);
      return;
    case SPECIAL.straddle:
      return emitStraddle(code, f, locals, labels);
    case SPECIAL.illegal:
      f.br(labels.illegal);
      return;
    case SPECIAL.marker:
      return emitMarker(code, f, locals, labels);
    case SPECIAL.point:
      return emitPoint(code, f, locals, labels);
    case SPECIAL.straddlePoint:
      emitAskPoints(code, f, locals);
      return emitStraddle(code, f, locals, labels);
    default:
      ops.handler(VARIANTS[operation - SPECIALS]!);
  }
}

/** An instruction on two pages: fetched and decoded each time, as its second page may change. */
function emitStraddle(
  code: CpuCode,
  f: FunctionBuilder,
  locals: RunLocals,
  labels: RunLabels,
): void {
  const { budget, pointer, decoded } = locals;
  const address = f.let(currentPc(locals));
  setControl64(f, "budget", budget);
  const low = f.let(call(code.functions.fetchHalf, address));
  f.brIf(labels.fault, control32("faultCause"), "unlikely");
  const high = f.let(call(code.functions.fetchHalf, i64.add(address, 2)));
  f.brIf(labels.fault, control32("faultCause"), "unlikely");
  f.call(code.functions.decodeStraddle, i32.or(low, i32.shl(high, 16)));
  f.set(pointer, code.plan.straddle);
  f.set(decoded, code.plan.straddle - 2047 * RECORD_BYTES);
  // A service that the walks asked wants to stop: behind this instruction.
  f.if(
    i32.and(control32("attention"), ATTENTION.behind),
    () => {
      setControl64(f, "budgetAside", i64.add(control64("budgetAside"), budget));
      f.set(budget, 0);
    },
    undefined,
    "unlikely",
  );
  f.set(budget, i64.add(budget, 1));
  f.br(labels.next);
}
