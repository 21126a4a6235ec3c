/**
 * The interpreter tier's reading of the operations in isa/ops.ts: operands come from the predecoded
 * record that `pointer` points at, registers live in the hart block.
 *
 * Invariants: a meaning that faults leaves through `fault` or `illegal` before it wrote anything; every
 * slow access writes the budget back first, so that devices see the exact icount; and after it looks
 * for attention.
 */
import {
  control32,
  control64,
  hart32,
  hart64,
  hartAddress,
  setControl64,
  setHart32,
  setHart64,
} from "../memory/block_access.ts";
import { CAUSE, MSTATUS, PRIVILEGE } from "../memory/hart_layout.ts";
import { HART_BLOCK } from "../memory/memory_plan.ts";
import { type LogStore, logStore } from "../memory/store_log.ts";
import { entryOffset, tlbOffset } from "../mmu/cache_group.ts";
import { setFault } from "../mmu/mmu_code.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  i64,
  type Label,
  type Local,
  type WasmType,
} from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";
import type { I32, I64, Ops, Width } from "./isa/ops.ts";
import { changedCsr, CSR_MIP, SharedOps, withoutLines } from "./isa/shared_ops.ts";
import { ROWS } from "./isa/table.ts";
import { ifAbandoned } from "./nondeterminism.ts";
import { RECORD } from "./record_layout.ts";
import type { Variant } from "./records.ts";
import { RUN_END } from "./run_end.ts";
import { currentPc, endRun } from "./run_place.ts";
import type { FloatFunctionName } from "./softfloat/names.ts";
import { loadFrom, signExtend, storeTo } from "./sized_access.ts";
import { wakes } from "./trap.ts";

/** Locals of the run function. */
export interface RunLocals {
  /** Address of the current record. */
  readonly pointer: Local<"i32">;
  /** Virtual address of the current page. */
  readonly pageAddress: Local<"i64">;
  /** Address of the current decoded page. */
  readonly decoded: Local<"i32">;
  readonly budget: Local<"i64">;
  /** Address of the current cache element. */
  readonly element: Local<"i32">;
  /** Address to look up next. */
  readonly pc: Local<"i64">;
  /** Offset of the heat counter of the place that was looked up last, and the budget then. */
  readonly heated: Local<"i32">;
  readonly heatedAt: Local<"i64">;
}

/** Where handlers go. */
export interface RunLabels {
  /** The next record. */
  readonly next: Label;
  /** Look `pc` up. */
  readonly lookup: Label;
  /** Look for interrupts and attention; the hart's pc field is set. */
  readonly check: Label;
  /** Trap with the fault in the control block. */
  readonly fault: Label;
  /** Trap as an illegal instruction. */
  readonly illegal: Label;
}

/** menvcfg and senvcfg fields of the cache-block operations. */
const ENVCFG = { CBIE: 3n << 4n, CBCFE: 1n << 6n, CBZE: 1n << 7n } as const;

/** Gives meanings their operands from records. */
export class InterpreterOps extends SharedOps implements Ops {
  #variant!: Variant;
  #left = false;

  constructor(
    readonly f: FunctionBuilder,
    private readonly code: CpuCode,
    private readonly locals: RunLocals,
    private readonly labels: RunLabels,
    private readonly log: LogStore | undefined,
  ) {
    super();
  }

  /** Writes the handler of one variant. */
  handler(variant: Variant): void {
    this.#variant = variant;
    this.#left = false;
    const row = ROWS[variant.row]!;
    if (row.float) {
      const off = i64.eqz(i64.and(hart64("mstatus"), MSTATUS.FS));
      this.f.brIf(this.labels.illegal, off, "unlikely");
    }
    row.meaning(this);
    if (!this.#left) this.#advance();
  }

  rs1(): I64 {
    return this.#register(RECORD.rs1);
  }
  rs2(): I64 {
    return this.#register(RECORD.rs2);
  }
  imm(): I64 {
    return i64.load32S(this.locals.pointer, RECORD.immediate);
  }
  setRd(value: I64): void {
    this.f.store64(i32.load16U(this.locals.pointer, RECORD.rd), HART_BLOCK, value);
  }

  fs1(): I64 {
    return this.rs1();
  }
  fs2(): I64 {
    return this.rs2();
  }
  fs3(): I64 {
    return i64.load(i32.shl(i32.shrU(this.#bits(), 27), 3), hartAddress("f"));
  }
  setFd(bits: I64): void {
    this.setRd(bits);
    this.#dirtyFloat();
  }
  rounding(): Local<"i32"> {
    const { f } = this;
    const mode = f.let(i32.and(i32.shrU(this.#bits(), 12), 7));
    f.if(i32.eq(mode, 7), () => f.set(mode, hart32("frm")));
    f.brIf(this.labels.illegal, i32.gtU(mode, 4), "unlikely");
    return mode;
  }
  float(name: FloatFunctionName, ...args: (I32 | I64)[]): Expression {
    const target = this.code.float[name] as FunctionReference<readonly WasmType[], WasmType>;
    const result = this.f.let(call(target, ...args as never[]));
    this.#dirtyFloat();
    return result;
  }

  pc(): I64 {
    return currentPc(this.locals);
  }
  nextPc(): I64 {
    return i64.add(this.pc(), this.#variant.length);
  }
  branch(condition: I32): void {
    const { f, locals: { pointer, pc }, labels } = this;
    this.#left = true;
    const step = this.#variant.length * 8;
    if (this.#variant.near && this.code.heat > 0) {
      const target = f.let(i32.add(pointer, i32.load(pointer, RECORD.immediate)));
      const backward = i32.leU(target, pointer);
      f.if(i32.and(condition, backward), () => this.#lookUpAt(target));
      f.set(pointer, i32.select(condition, target, i32.add(pointer, step)));
      f.br(labels.next);
      return;
    }
    if (this.#variant.near) {
      const distance = i32.load(pointer, RECORD.immediate);
      f.set(pointer, i32.add(pointer, i32.select(condition, distance, step)));
      f.br(labels.next);
      return;
    }
    f.if(condition, () => {
      f.set(pc, i64.add(this.pc(), this.imm()));
      f.br(labels.lookup);
    });
    this.#advance();
  }
  jump(): void {
    const { f, locals: { pointer, pc }, labels } = this;
    this.#left = true;
    if (this.#variant.near) {
      const target = f.let(i32.add(pointer, i32.load(pointer, RECORD.immediate)));
      if (this.code.heat > 0) f.if(i32.leU(target, pointer), () => this.#lookUpAt(target));
      f.set(pointer, target);
      f.br(labels.next);
      return;
    }
    f.set(pc, i64.add(this.pc(), this.imm()));
    f.br(labels.lookup);
  }
  jumpTo(target: I64): void {
    this.#left = true;
    this.f.set(this.locals.pc, target);
    this.f.br(this.labels.lookup);
  }

  load(width: Width, signed: boolean, address: I64): Local<"i64"> {
    const { f, code } = this;
    const at = f.let(address);
    const { hit, host } = this.#probe(0, width, at);
    const value = f.local("i64");
    f.if(hit, () => f.set(value, loadFrom(width, signed, host)), () => {
      this.#slow(() => f.set(value, call(code.functions.loadSlow, at, width)));
      if (signed) f.set(value, signExtend(width, value));
    }, "likely");
    return value;
  }
  store(width: Width, address: I64, value: I64): void {
    const { f, code } = this;
    const at = f.let(address);
    const { hit, host } = this.#probe(1, width, at);
    f.if(hit, () => storeTo(f, width, host, logStore(f, this.log, host, width, value)), () => {
      this.#slow(() => f.call(code.functions.storeSlow, at, width, value));
    }, "likely");
  }
  loadReserved(width: 4 | 8, address: I64): Local<"i64"> {
    const { f, code } = this;
    const at = f.let(address);
    this.#aligned(width, at, CAUSE.loadMisaligned);
    const host = f.local("i32");
    this.#slow(() => f.set(host, call(code.functions.readAddress, at, width)));
    setHart32(f, "reservation", this.#reserved(host));
    return f.let(loadFrom(width, true, host));
  }
  storeConditional(width: 4 | 8, address: I64, value: I64): Local<"i64"> {
    const { f, code } = this;
    const at = f.let(address);
    this.#aligned(width, at, CAUSE.storeMisaligned);
    const failed = f.let(i64.const(1));
    // Any SC ends the reservation, one that faults as well.
    const reservation = f.let(hart32("reservation"));
    setHart32(f, "reservation", 0);
    f.if(reservation, () => {
      const host = f.local("i32");
      this.#slow(() => f.set(host, call(code.functions.writeAddress, at, width)));
      f.if(i32.eq(this.#reserved(host), reservation), () => {
        f.call(code.functions.writeTraced, host, width, value);
        f.set(failed, 0);
        this.#lookUp();
      });
    });
    return failed;
  }
  atomic(width: 4 | 8, address: I64, update: (old: Local<"i64">) => I64): Local<"i64"> {
    const { f, code } = this;
    const at = f.let(address);
    this.#aligned(width, at, CAUSE.storeMisaligned);
    const host = f.local("i32");
    this.#slow(() => f.set(host, call(code.functions.writeAddress, at, width)));
    f.call(code.functions.askRead, host, width);
    const old = f.let(loadFrom(width, true, host));
    f.call(code.functions.writeTraced, host, width, update(old));
    this.#lookUp();
    return old;
  }
  zeroBlock(address: I64): void {
    const { f, code } = this;
    this.#environmentAllows(ENVCFG.CBZE);
    const at = f.let(address);
    const host = f.local("i32");
    this.#slow(() => f.set(host, call(code.functions.writeAddress, at, 1)));
    f.set(host, i32.and(host, -64));
    for (let offset = 0; offset < 64; offset += 8) {
      f.call(code.functions.writeTraced, i32.add(host, offset), 8, 0);
    }
    this.#lookUp();
  }
  manageBlock(kind: "clean" | "flush" | "inval", address: I64): void {
    const { f, code } = this;
    this.#environmentAllows(kind === "inval" ? ENVCFG.CBIE : ENVCFG.CBCFE);
    const at = f.let(address);
    f.call(code.functions.readAddress, at, 1);
    // A block operation reports faults as a store does: page fault 13 becomes 15, access fault 5 → 7.
    f.if(
      control32("faultCause"),
      () => {
        setFault(f, i32.add(control32("faultCause"), 2), at);
        f.br(this.labels.fault);
      },
      undefined,
      "unlikely",
    );
    this.#lookUp();
  }

  csr(operation: "write" | "set" | "clear", source: "register" | "immediate"): void {
    const { f, code } = this;
    const field = f.let(i32.and(i32.shrU(this.#bits(), 15), 31));
    const operand = f.let(source === "register" ? this.rs1() : i64.extendI32U(field));
    const number = f.let(i32.shrU(this.#bits(), 20));
    const writes = operation === "write" ? i32.const(1) : i32.ne(field, 0);
    setControl64(f, "budget", i64.add(this.locals.budget, 1));
    const old = f.let(call(code.functions.csrRead, number, writes));
    ifAbandoned(code, f, () => {
      setHart64(f, "pc", this.pc());
      endRun(f, i64.add(this.locals.budget, 1), RUN_END.abandoned);
    });
    f.brIf(this.labels.illegal, control32("faultCause"), "unlikely");
    const change = () => {
      if (operation === "write") return f.call(code.functions.csrWrite, number, operand);
      const base = f.let(old);
      f.if(i32.eq(number, CSR_MIP), () => f.set(base, withoutLines(old)));
      f.call(code.functions.csrWrite, number, changedCsr(operation, base, operand));
    };
    if (operation === "write") change();
    else f.if(writes, change);
    this.setRd(old);
    f.if(control32("attention"), () => this.#leave());
    this.#advance();
    this.#left = true;
  }
  illegal(): void {
    this.f.br(this.labels.illegal);
  }
  raise(cause: number, trapValue: I64): void {
    setFault(this.f, cause, trapValue);
    this.f.br(this.labels.fault);
  }

  system(kind: Parameters<Ops["system"]>[0]): void {
    const { f, code, labels } = this;
    switch (kind) {
      case "fence":
      case "fence.i":
        return;
      case "ecall":
        return this.#environmentCall();
      case "ebreak":
        return this.raise(CAUSE.breakpoint, this.pc());
      case "mret":
      case "sret": {
        const { machineReturn, supervisorReturn } = code.functions;
        f.call(kind === "mret" ? machineReturn : supervisorReturn);
        f.brIf(labels.illegal, control32("faultCause"), "unlikely");
        f.br(labels.check);
        this.#left = true;
        return;
      }
      case "wfi":
        return this.#wait();
      case "sfence.w.inval":
      case "sfence.inval.ir":
        f.brIf(labels.illegal, i32.eqz(hart32("privilege")));
        return;
      default:
        // Caches never hold stale translations, so a fence has only its privilege rules to obey.
        f.brIf(labels.illegal, this.#supervisorTrapped(MSTATUS.TVM));
    }
  }

  #environmentCall(): void {
    const { f } = this;
    const privilege = hart32("privilege");
    const firmware = i32.and(
      i32.eq(privilege, PRIVILEGE.supervisor),
      control32("builtinFirmware"),
    );
    f.if(firmware, () => {
      setHart64(f, "pc", this.pc());
      this.#end(RUN_END.firmware);
    });
    setFault(f, i32.add(CAUSE.ecallUser, privilege), 0);
    f.br(this.labels.fault);
    this.#left = true;
  }

  #wait(): void {
    const { f, labels } = this;
    f.brIf(labels.illegal, this.#supervisorTrapped(MSTATUS.TW));
    f.if(i32.eqz(wakes()), () => {
      setHart64(f, "pc", this.nextPc());
      setHart32(f, "waiting", 1);
      this.#end(RUN_END.wait);
    });
  }

  /** Ends the run here, with all that is left of the budget. */
  #end(reason: number): void {
    endRun(this.f, this.locals.budget, reason);
  }

  /** User mode, or supervisor mode with a trap bit of mstatus set. */
  #supervisorTrapped(bit: bigint): I32 {
    const privilege = hart32("privilege");
    const trapped = i64.ne(i64.and(hart64("mstatus"), bit), 0);
    return i32.or(
      i32.eqz(privilege),
      i32.and(i32.eq(privilege, PRIVILEGE.supervisor), trapped),
    );
  }

  /** Refuses a block operation that menvcfg (below M) or senvcfg (in U) does not allow. */
  #environmentAllows(field: bigint): void {
    const { f } = this;
    const privilege = hart32("privilege");
    const off = (register: "menvcfg" | "senvcfg") => i64.eqz(i64.and(hart64(register), field));
    f.brIf(
      this.labels.illegal,
      i32.or(
        i32.and(i32.ne(privilege, PRIVILEGE.machine), off("menvcfg")),
        i32.and(i32.eqz(privilege), off("senvcfg")),
      ),
    );
  }

  /** What a reservation keeps: the offset in RAM plus one, the same in every memory plan. */
  #reserved(host: I32): I32 {
    return i32.sub(host, this.code.plan.ram - 1);
  }

  #bits(): I32 {
    return i32.load(this.locals.pointer, RECORD.bits);
  }

  #register(field: number): I64 {
    return i64.load(i32.load16U(this.locals.pointer, field), HART_BLOCK);
  }

  #dirtyFloat(): void {
    setHart64(this.f, "mstatus", i64.or(hart64("mstatus"), MSTATUS.FS));
  }

  /** Looks a record of this page up by its address: where a loop or a function may be a region. */
  #lookUpAt(record: Local<"i32">): void {
    const { decoded, pageAddress, pc } = this.locals;
    const inPage = i64.extendI32U(i32.shrU(i32.sub(record, decoded), 3));
    this.f.set(pc, i64.add(pageAddress, inPage));
    this.f.br(this.labels.lookup);
  }

  #advance(): void {
    const { f, locals: { pointer } } = this;
    f.set(pointer, i32.add(pointer, this.#variant.length * 8));
    f.br(this.labels.next);
  }

  /** Goes to the next instruction by way of the checks. */
  #leave(): void {
    setHart64(this.f, "pc", this.nextPc());
    this.f.br(this.labels.check);
  }

  #probe(kind: 0 | 1, width: Width, address: Local<"i64">): { hit: I32; host: I32 } {
    const { f, code, locals } = this;
    const offset = tlbOffset(code.mmuCode, kind);
    const entry = f.let(i32.add(locals.element, entryOffset(f, code.plan, address)));
    const tag = i64.and(address, -4096 | (width - 1));
    return {
      hit: i64.eq(i64.load(entry, offset), tag),
      host: i32.add(i32.wrap(address), i32.load(entry, offset + 8)),
    };
  }

  #slow(access: () => void): void {
    const { f, locals } = this;
    setControl64(f, "budget", locals.budget);
    access();
    f.brIf(this.labels.fault, control32("faultCause"), "unlikely");
    this.#lookUp();
  }

  /** With attention raised, the budget is put aside: the next dispatch then leaves for the checks. */
  #lookUp(): void {
    const { f, locals: { budget } } = this;
    f.if(
      control32("attention"),
      () => {
        setControl64(f, "budgetAside", i64.add(control64("budgetAside"), budget));
        f.set(budget, 0);
      },
      undefined,
      "unlikely",
    );
  }

  #aligned(width: 4 | 8, address: Local<"i64">, cause: number): void {
    const { f } = this;
    f.if(
      i64.ne(i64.and(address, width - 1), 0),
      () => this.raise(cause, address),
      undefined,
      "unlikely",
    );
  }
}
