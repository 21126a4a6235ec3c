/**
 * Traps: entry with delegation, vectored and direct, and the returns mret and sret; choice of the
 * interrupt to take (privileged ISA, "Trap handling" chapters of machine and supervisor levels).
 *
 * Invariant: a trap is taken at an instruction boundary; the hart's pc field is the address of the
 * instruction that caused it, or of the one that an interrupt precedes.
 */
import {
  control32,
  controlAddress,
  hart32,
  hart64,
  setHart32,
  setHart64,
} from "../memory/block_access.ts";
import { TRAPS_OBSERVED } from "../memory/control_layout.ts";
import { CAUSE, INTERRUPT, MSTATUS, PRIVILEGE } from "../memory/hart_layout.ts";
import { type Expression, type FunctionBuilder, i32, i64, type Local } from "../wasm/mod.ts";
import { setFault } from "../mmu/mmu_code.ts";
import type { CpuCode } from "./cpu_code.ts";

/** Bit 63 of a cause: an interrupt. */
export const INTERRUPT_CAUSE = 1n << 63n;

const bit = (value: Expression<"i64">, mask: bigint) => i64.ne(i64.and(value, mask), 0);

/** Generates the functions of this file. */
export function emitTraps(code: CpuCode): void {
  emitTrap(code);
  emitReturns(code);
  emitTakeInterrupt(code);
}

interface TrapRegisters {
  readonly cause: "mcause" | "scause";
  readonly epc: "mepc" | "sepc";
  readonly value: "mtval" | "stval";
  readonly vector: "mtvec" | "stvec";
}

function enter(
  f: FunctionBuilder,
  cause: Local<"i64">,
  value: Local<"i64">,
  registers: TrapRegisters,
): void {
  setHart64(f, registers.cause, cause);
  setHart64(f, registers.epc, hart64("pc"));
  setHart64(f, registers.value, value);
  const vector = f.let(hart64(registers.vector));
  const base = f.let(i64.and(vector, -4));
  const vectored = i32.and(i32.wrap(vector), i64.ltS(cause, 0));
  f.if(vectored, () => f.set(base, i64.add(base, i64.shl(i64.and(cause, 63), 2))));
  setHart64(f, "pc", base);
}

/** Counts a cause in one of the two tables of counters. */
function countCause(f: FunctionBuilder, cause: Local<"i64">): void {
  const slot = f.let(i32.shl(i32.and(i32.wrap(cause), 63), 3));
  const bump = (address: number) => f.store64(slot, address, i64.add(i64.load(slot, address), 1));
  f.if(
    i64.ltS(cause, 0),
    () => bump(controlAddress("statInterrupts")),
    () => {
      bump(controlAddress("statExceptions"));
      setHart64(f, "notRetired", i64.add(hart64("notRetired"), 1));
    },
  );
}

/** Tells whoever wants to know of such traps, before anything of the hart changes. */
function emitObserve(
  code: CpuCode,
  f: FunctionBuilder,
  cause: Local<"i64">,
  value: Local<"i64">,
): void {
  const isInterrupt = i64.ltS(cause, 0);
  const { exceptions, interrupts } = TRAPS_OBSERVED;
  const kind = i32.select(isInterrupt, interrupts, exceptions);
  f.if(
    i32.and(control32("observedTraps"), kind),
    () => f.call(code.imports.trapTaken, i32.and(i32.wrap(cause), 63), isInterrupt, value),
    undefined,
    "unlikely",
  );
}

function emitTrap(code: CpuCode): void {
  code.module.define(code.functions.trap, (f) => {
    const [cause, value] = f.parameters;
    emitObserve(code, f, cause, value);
    countCause(f, cause);
    const delegated = f.let(i64.select(i64.ltS(cause, 0), hart64("mideleg"), hart64("medeleg")));
    const status = f.let(hart64("mstatus"));
    const privilege = f.let(i64.extendI32U(hart32("privilege")));
    const toSupervisor = i32.and(
      i64.leU(privilege, PRIVILEGE.supervisor),
      i32.wrap(i64.and(i64.shrU(delegated, i64.and(cause, 63)), 1)),
    );
    f.if(toSupervisor, () => {
      enter(f, cause, value, { cause: "scause", epc: "sepc", value: "stval", vector: "stvec" });
      const kept = i64.and(status, ~(MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP));
      const previousEnable = i64.shl(i64.and(status, MSTATUS.SIE), 4);
      setHart64(f, "mstatus", i64.or(i64.or(kept, previousEnable), i64.shl(privilege, 8)));
      setHart32(f, "privilege", PRIVILEGE.supervisor);
    }, () => {
      enter(f, cause, value, { cause: "mcause", epc: "mepc", value: "mtval", vector: "mtvec" });
      const kept = i64.and(status, ~(MSTATUS.MIE | MSTATUS.MPIE | MSTATUS.MPP));
      const previousEnable = i64.shl(i64.and(status, MSTATUS.MIE), 4);
      setHart64(f, "mstatus", i64.or(i64.or(kept, previousEnable), i64.shl(privilege, 11)));
      setHart32(f, "privilege", PRIVILEGE.machine);
    });
  }, true);
}

function emitReturns(code: CpuCode): void {
  code.module.define(code.functions.machineReturn, (f) => {
    f.if(i32.ne(hart32("privilege"), PRIVILEGE.machine), () => {
      setFault(f, CAUSE.illegalInstruction, 0);
      f.return();
    });
    const status = f.let(hart64("mstatus"));
    const previous = f.let(i64.and(i64.shrU(status, 11), 3));
    const enable = i64.and(i64.shrU(status, 4), MSTATUS.MIE);
    const kept = i64.and(status, ~(MSTATUS.MIE | MSTATUS.MPP));
    f.set(status, i64.or(i64.or(kept, enable), MSTATUS.MPIE));
    f.if(
      i64.ne(previous, PRIVILEGE.machine),
      () => f.set(status, i64.and(status, ~MSTATUS.MPRV)),
    );
    setHart64(f, "mstatus", status);
    setHart32(f, "privilege", i32.wrap(previous));
    setHart64(f, "pc", hart64("mepc"));
  });
  code.module.define(code.functions.supervisorReturn, (f) => {
    const status = f.let(hart64("mstatus"));
    const refused = i32.or(
      i32.eqz(hart32("privilege")),
      i32.and(i32.eq(hart32("privilege"), PRIVILEGE.supervisor), bit(status, MSTATUS.TSR)),
    );
    f.if(refused, () => {
      setFault(f, CAUSE.illegalInstruction, 0);
      f.return();
    });
    const previous = f.let(i64.and(i64.shrU(status, 8), 1));
    const enable = i64.and(i64.shrU(status, 4), MSTATUS.SIE);
    const kept = i64.and(status, ~(MSTATUS.SIE | MSTATUS.SPP | MSTATUS.MPRV));
    setHart64(f, "mstatus", i64.or(i64.or(kept, enable), MSTATUS.SPIE));
    setHart32(f, "privilege", i32.wrap(previous));
    setHart64(f, "pc", hart64("sepc"));
  });
}

/** Highest priority first (privileged ISA: MEI, MSI, MTI, SEI, SSI, STI). */
const PRIORITY = [
  INTERRUPT.MEI,
  INTERRUPT.MSI,
  INTERRUPT.MTI,
  INTERRUPT.SEI,
  INTERRUPT.SSI,
  INTERRUPT.STI,
];

/** Interrupts that are pending and enabled in mie, whatever the global enables say. */
export function pendingInterrupts(): Expression<"i64"> {
  return i64.and(i64.or(hart64("mipLines"), hart64("mipSoftware")), hart64("mie"));
}

function emitTakeInterrupt(code: CpuCode): void {
  code.module.define(code.functions.takeInterrupt, (f) => {
    const pending = f.let(pendingInterrupts());
    f.if(i64.eqz(pending), () => f.return(), undefined, "likely");
    f.if(control32("holdInterrupts"), () => f.return(), undefined, "unlikely");
    const status = f.let(hart64("mstatus"));
    const privilege = f.let(hart32("privilege"));
    const delegated = f.let(hart64("mideleg"));
    const machine = i32.or(i32.ltU(privilege, PRIVILEGE.machine), bit(status, MSTATUS.MIE));
    const chosen = f.let(
      i64.select(machine, i64.and(pending, i64.xor(delegated, -1)), 0),
    );
    f.if(i64.eqz(chosen), () => {
      const supervisor = i32.or(
        i32.ltU(privilege, PRIVILEGE.supervisor),
        i32.and(i32.eq(privilege, PRIVILEGE.supervisor), bit(status, MSTATUS.SIE)),
      );
      f.set(chosen, i64.select(supervisor, i64.and(pending, delegated), 0));
    });
    for (const number of PRIORITY) {
      f.if(bit(chosen, 1n << BigInt(number)), () => {
        f.call(code.functions.trap, INTERRUPT_CAUSE | BigInt(number), 0);
        f.return();
      });
    }
  }, true);
}

/** Whether any interrupt is pending and enabled in mie: what ends a WFI. */
export function wakes(): Expression<"i32"> {
  return i64.ne(pendingInterrupts(), 0);
}
