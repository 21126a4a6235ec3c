/**
 * The translator tier's reading of the operations in cpu/isa/ops.ts: registers are locals of the region's
 * function, immediates are constants.
 *
 * Invariants: an instruction that cannot be done here leaves before any effect, with all that went before
 * it done and counted, and the interpreter does it; one that raises attention leaves after it.
 */
import { CSR_SEED, CSR_TIME } from "../cpu/csr_table.ts";
import { changedCsr, CSR_MIP, SharedOps, withoutLines } from "../cpu/isa/shared_ops.ts";
import { isMarker } from "../cpu/isa/marker.ts";
import { ROWS } from "../cpu/isa/table.ts";
import { loadFrom, storeTo } from "../cpu/sized_access.ts";
import { FLAG } from "../cpu/softfloat/format.ts";
import { hostInPlace } from "../cpu/softfloat/host_path.ts";
import type { FloatFunctionName } from "../cpu/softfloat/names.ts";
import type { I32, I64, Ops, Width } from "../cpu/isa/ops.ts";
import {
  control32,
  hart32,
  hart64,
  setControl32,
  setControl64,
  setHart32,
  setHart64,
} from "../memory/block_access.ts";
import { MSTATUS, PRIVILEGE } from "../memory/hart_layout.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { type LogStore, logStore } from "../memory/store_log.ts";
import { entryOffset } from "../mmu/cache_group.ts";
import { tlbOffsetOf } from "../mmu/tlb_place.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  i64,
  type Local,
  type WasmType,
} from "../wasm/mod.ts";
import type { CheckedGroup } from "./access_groups.ts";
import type { PageCache } from "./page_caches.ts";
import type { Instruction } from "./region.ts";
import type { Registers } from "./registers.ts";

/** Functions of the core that regions import. */
export interface RegionImports {
  readonly csrRead: FunctionReference<readonly ["i32", "i32"], "i64">;
  readonly csrWrite: FunctionReference<readonly ["i32", "i64"], undefined>;
  readonly float: Readonly<Record<FloatFunctionName, FunctionReference>>;
  /** Only in regions that are checked: these write their stores down and go to no other region. */
  readonly logStore?: LogStore;
}

/** Where the code of an instruction finds what it needs. */
export interface RegionFrame {
  readonly f: FunctionBuilder;
  readonly plan: MemoryPlan;
  readonly imports: RegionImports;
  readonly registers: Registers;
  /** Virtual address of the region's first page. */
  readonly base: Local<"i64">;
  readonly budget: Local<"i64">;
  /** Address of the current cache element. */
  readonly element: Local<"i32">;
  /** The page cache of a base register for reads (0) or writes (1). */
  pageCache(register: number, kind: 0 | 1): PageCache;
  /** Leaves before an instruction; `after` of the block's instructions are not executed. */
  leave(kind: "step" | "check" | "budget", at: number, notExecuted: number): void;
  /** Goes to a place of the region or out of it. */
  goTo(at: number): void;
  goEither(condition: I32, target: number, next: number): void;
  /** Goes to a computed address; a return is likely to go behind one of the region's calls. */
  goToAddress(address: I64, isReturn: boolean): void;
}

/** menvcfg and senvcfg: cbo.zero is allowed. */
const CBZE = 1n << 7n;

/** Gives meanings their operands from locals. */
export class RegionOps extends SharedOps implements Ops {
  readonly f: FunctionBuilder;
  #instruction!: Instruction;
  #nextAt = 0;
  /** Instructions of the block from this one on. */
  #remaining = 0;
  /** Whether the base register is likely to lead where it led before. */
  #steadyBase = false;
  #lasting = true;
  #group: CheckedGroup | undefined;
  /** Whether the block has made sure that floats are on, and marked them dirty. */
  #floatOn = false;
  #floatDirty = false;
  /** Addends of bases whose pages were checked for many iterations, by register × 2 + kind. */
  #checked: ReadonlyMap<number, Local<"i32">> | undefined;
  /** Registers written while a side of a branch is evaluated whether it is taken or not. */
  #side: Map<number, Local<"i64">> | undefined;

  constructor(private readonly frame: RegionFrame) {
    super();
    this.f = frame.f;
  }

  /** A block starts. */
  startBlock(): void {
    this.#floatOn = false;
    this.#floatDirty = false;
  }

  /**
   * Takes the next instruction, which is one of the `remaining` last ones of its block.
   * @param steadyBase whether its base register is likely to lead to the same page each time
   * @param lasting whether what it writes may be needed when control leaves
   * @param group the accesses that it belongs to, which were checked
   */
  take(
    instruction: Instruction,
    remaining: number,
    steadyBase: boolean,
    lasting: boolean,
    group?: CheckedGroup,
  ): void {
    const { float } = ROWS[instruction.row]!;
    this.frame.registers.loadFor(instruction);
    this.#lasting = lasting;
    this.#group = group;
    this.#instruction = instruction;
    this.#steadyBase = steadyBase;
    this.#nextAt = instruction.at + instruction.length / 2;
    this.#remaining = remaining;
    if (isMarker(instruction.bits)) this.#stepIf(control32("markers"));
    if (!float || this.#floatOn) return;
    this.#floatOn = true;
    this.#stepIf(i64.eqz(i64.and(hart64("mstatus"), MSTATUS.FS)));
  }

  /** Does `body` with accesses whose pages were checked before. */
  withChecked(addends: ReadonlyMap<number, Local<"i32">>, body: () => void): void {
    this.#checked = addends;
    body();
    this.#checked = undefined;
  }

  /**
   * The TLB entry of a page, for checks of many accesses at once: whether it answers, and its addend.
   * @param kind 0 for reads, 1 for writes
   */
  tlbEntry(kind: 0 | 1, page: Local<"i64">): { readonly answers: I32; readonly addend: I32 } {
    const { f, frame: { plan, element } } = this;
    const offset = tlbOffsetOf(plan, kind);
    const entry = f.let(i32.add(element, entryOffset(f, plan, page)));
    return {
      answers: i64.eq(i64.load(entry, offset), page),
      addend: i32.load(entry, offset + 8),
    };
  }

  /** Evaluates instructions without effect on the registers; gives what they would write. */
  aside(body: () => void): ReadonlyMap<number, Local<"i64">> {
    const written = this.#side = new Map();
    body();
    this.#side = undefined;
    return written;
  }

  rs1(): I64 {
    return this.#x(this.#instruction.rs1);
  }
  rs2(): I64 {
    return this.#x(this.#instruction.rs2);
  }
  imm(): I64 {
    return i64.const(this.#instruction.imm);
  }
  setRd(value: I64): void {
    const { rd } = this.#instruction;
    if (rd === 0) return;
    if (this.#side !== undefined) return this.f.set(this.#sideLocal(rd), value);
    this.f.set(this.frame.registers.x.get(rd)!, value);
    this.frame.registers.wrote("x", rd, this.#lasting);
  }

  fs1(): I64 {
    return this.#fpr(this.#instruction.rs1);
  }
  fs2(): I64 {
    return this.#fpr(this.#instruction.rs2);
  }
  fs3(): I64 {
    return this.#fpr(this.#instruction.rs3);
  }
  setFd(bits: I64): void {
    const { rd } = this.#instruction;
    this.f.set(this.#fpr(rd), bits);
    this.frame.registers.wrote("f", rd, true);
    this.#dirtyFloat();
  }
  rounding(): Local<"i32"> {
    const { f } = this;
    const { rm } = this.#instruction;
    if (rm !== 7) {
      if (rm > 4) this.illegal();
      return f.let(i32.const(rm));
    }
    const mode = f.let(hart32("frm"));
    this.#stepIf(i32.gtU(mode, 4));
    return mode;
  }
  float(name: FloatFunctionName, ...args: (I32 | I64)[]): Expression {
    const target = this.frame.imports.float[name] as FunctionReference<
      readonly WasmType[],
      WasmType
    >;
    const { f } = this;
    const result = f.local(target.result);
    const exactly = () => f.set(result, call(target, ...args as never[]) as never);
    const mode = args[2];
    const host = mode === undefined ? undefined : hostInPlace(f, name, args[0]!, args[1]!);
    if (host === undefined) exactly();
    else {
      const inexact = i32.and(hart32("fflags"), FLAG.inexact);
      const stands = i32.and(i32.and(inexact, i32.eqz(mode as I32)), host.stands);
      f.if(stands, () => f.set(result, host.bits as never), exactly, "likely");
    }
    this.#dirtyFloat();
    return result;
  }

  pc(): I64 {
    return this.#address(this.#instruction.at);
  }
  nextPc(): I64 {
    return this.#address(this.#nextAt);
  }
  branch(condition: I32): void {
    this.frame.goEither(condition, this.#target(), this.#nextAt);
  }
  jump(): void {
    this.frame.goTo(this.#target());
  }
  jumpTo(target: I64): void {
    const { rd, rs1 } = this.#instruction;
    this.frame.goToAddress(target, rd === 0 && (rs1 === 1 || rs1 === 5));
  }

  load(width: Width, signed: boolean, address: I64): Local<"i64"> {
    const { f } = this;
    if (this.#group === undefined) {
      return f.let(loadFrom(width, signed, this.#cached(0, width, f.let(address))));
    }
    const value = f.local("i64");
    this.#inGroup(0, width, address, (host) => f.set(value, loadFrom(width, signed, host)));
    return value;
  }
  store(width: Width, address: I64, value: I64): void {
    if (this.#group !== undefined) {
      return this.#inGroup(1, width, address, (host) => this.#write(width, host, value));
    }
    this.#write(width, this.#cached(1, width, this.f.let(address)), value);
  }
  loadReserved(width: 4 | 8, address: I64): Local<"i64"> {
    const { f } = this;
    const host = this.#access(0, width, f.let(address), true);
    setHart32(f, "reservation", this.#reserved(host));
    return f.let(loadFrom(width, true, host));
  }
  storeConditional(width: 4 | 8, address: I64, value: I64): Local<"i64"> {
    const { f } = this;
    const at = f.let(address);
    this.#stepIf(i64.ne(i64.and(at, width - 1), 0));
    const failed = f.let(i64.const(1));
    const reservation = f.let(hart32("reservation"));
    f.if(reservation, () => {
      const host = this.#access(1, width, at);
      f.if(i32.eq(this.#reserved(host), reservation), () => {
        this.#write(width, host, value);
        f.set(failed, 0);
      });
    });
    setHart32(f, "reservation", 0);
    return failed;
  }
  atomic(width: 4 | 8, address: I64, update: (old: Local<"i64">) => I64): Local<"i64"> {
    const { f } = this;
    const host = this.#access(1, width, f.let(address), true);
    const old = f.let(loadFrom(width, true, host));
    this.#write(width, host, update(old));
    return old;
  }
  zeroBlock(address: I64): void {
    const { f } = this;
    const privilege = hart32("privilege");
    const off = (register: "menvcfg" | "senvcfg") => i64.eqz(i64.and(hart64(register), CBZE));
    this.#stepIf(i32.and(i32.ne(privilege, PRIVILEGE.machine), off("menvcfg")));
    this.#stepIf(i32.and(i32.eqz(privilege), off("senvcfg")));
    const host = this.#access(1, 1, f.let(i64.and(address, -64)));
    const { logStore: log } = this.frame.imports;
    for (let offset = 0; offset < 64; offset += 8) {
      f.store64(host, offset, logStore(f, log, i32.add(host, offset), 8, i64.const(0)));
    }
  }
  manageBlock(): void {
    this.illegal();
  }

  csr(operation: "write" | "set" | "clear", source: "register" | "immediate"): void {
    const { f, frame: { imports } } = this;
    const { rs1: field, imm: number } = this.#instruction;
    if (this.#fromOutside(number) && imports.logStore !== undefined) this.illegal();
    const operand = f.let(source === "register" ? this.rs1() : i64.const(field));
    const writes = operation === "write" || field !== 0;
    // Counters are read as they were before this instruction.
    setControl64(f, "budget", i64.add(this.frame.budget, this.#remaining));
    const old = f.let(call(imports.csrRead, number, writes ? 1 : 0));
    f.if(
      control32("faultCause"),
      () => {
        setControl32(f, "faultCause", 0);
        this.illegal();
      },
      undefined,
      "unlikely",
    );
    if (operation === "write") f.call(imports.csrWrite, number, operand);
    else if (writes) {
      const base = number === CSR_MIP ? f.let(withoutLines(old)) : old;
      f.call(imports.csrWrite, number, changedCsr(operation, base, operand));
    }
    this.setRd(old);
    const leave = () => this.frame.leave("check", this.#nextAt, this.#remaining - 1);
    f.if(control32("attention"), leave, undefined, "unlikely");
    this.startBlock();
  }
  /** Whether reading a CSR twice gives two values: no region may read it that is done again to be checked. */
  #fromOutside(csr: number): boolean {
    return csr === CSR_SEED || csr === CSR_TIME && this.frame.plan.nondetEntries > 0;
  }

  /** Whatever raises an exception is done by the interpreter. */
  illegal(): void {
    this.frame.leave("step", this.#instruction.at, this.#remaining);
  }
  raise(): void {
    this.illegal();
  }
  system(kind: Parameters<Ops["system"]>[0]): void {
    // Decoded instructions never go stale, so neither fence has anything to do.
    if (kind !== "fence" && kind !== "fence.i") this.illegal();
  }

  #x(register: number): I64 {
    return this.#side?.get(register) ?? this.frame.registers.x.get(register) ?? i64.const(0);
  }

  #sideLocal(register: number): Local<"i64"> {
    const local = this.#side!.get(register) ?? this.f.local("i64");
    this.#side!.set(register, local);
    return local;
  }

  #fpr(register: number): Local<"i64"> {
    return this.frame.registers.f.get(register)!;
  }

  #address(at: number): I64 {
    return i64.add(this.frame.base, at * 2);
  }

  #target(): number {
    return this.#instruction.at + this.#instruction.imm / 2;
  }

  #dirtyFloat(): void {
    if (this.#floatDirty) return;
    this.#floatDirty = true;
    setHart64(this.f, "mstatus", i64.or(hart64("mstatus"), MSTATUS.FS));
  }

  #write(width: Width, host: Local<"i32">, value: I64): void {
    const { f, frame: { imports } } = this;
    storeTo(f, width, host, logStore(f, imports.logStore, host, width, value));
  }

  #reserved(host: I32): I32 {
    return i32.sub(host, this.frame.plan.ram - 1);
  }

  #stepIf(condition: I32): void {
    this.f.if(condition, () => this.illegal(), undefined, "unlikely");
  }

  /** Makes an access whose page was looked for with those of its group. */
  #inGroup(kind: 0 | 1, width: Width, address: I64, access: (host: Local<"i32">) => void): void {
    const { f } = this;
    const { group, stands, host } = this.#group!;
    f.if(
      stands,
      () => access(f.let(i32.add(host, this.#instruction.imm - group.low))),
      () => access(this.#access(kind, width, f.let(address))),
      "likely",
    );
  }

  /** Host address of an access by way of its base register's page cache. */
  #cached(kind: 0 | 1, width: Width, address: Local<"i64">): Local<"i32"> {
    const { f } = this;
    const checked = this.#checked?.get(this.#instruction.rs1 << 1 | kind);
    if (checked !== undefined) return f.let(i32.add(i32.wrap(address), checked));
    if (!this.#steadyBase) return this.#access(kind, width, address);
    const cache = this.frame.pageCache(this.#instruction.rs1, kind);
    const host = f.local("i32");
    // A misaligned access may lie on two pages, of which the TLB knows one each.
    f.if(
      i64.eq(i64.and(address, -4096 | (width - 1)), i64.load(0, cache.tag)),
      () => f.set(host, i32.add(i32.wrap(address), i32.load(0, cache.addend))),
      () => f.set(host, this.#access(kind, width, address, false, cache)),
      "likely",
    );
    return host;
  }

  /** The page of an access; another one than that of its first byte when it lies on two pages. */
  #pageOf(width: Width, address: Local<"i64">): I64 {
    return i64.and(i64.add(address, width - 1), -4096);
  }

  /**
   * Host address of an access that the TLB answers; all else leaves, a miss too: the interpreter's own
   * access then fills the TLB. An atomic access must be aligned, others may not leave the page.
   */
  #access(
    kind: 0 | 1,
    width: Width,
    address: Local<"i64">,
    atomic = false,
    cache?: PageCache,
  ): Local<"i32"> {
    const { f, frame: { plan, element } } = this;
    const offset = tlbOffsetOf(plan, kind);
    const entry = f.let(i32.add(element, entryOffset(f, plan, address)));
    const tag = atomic ? i64.and(address, -4096 | (width - 1)) : this.#pageOf(width, address);
    this.#stepIf(i64.ne(i64.load(entry, offset), tag));
    const addend = f.let(i32.load(entry, offset + 8));
    if (cache) {
      f.store32(0, cache.addend, addend);
      f.store64(0, cache.tag, i64.and(address, -4096));
    }
    return f.let(i32.add(i32.wrap(address), addend));
  }
}
