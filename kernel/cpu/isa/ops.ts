/**
 * The operations that an instruction's meaning may use. A meaning is written once (the tables beside
 * this file) and read by each tier: the interpreter tier gives operands from predecoded records, the
 * translator tier from constants and locals. Values are WebAssembly expressions in both.
 *
 * Invariants: a meaning has no effect before its last operation that can trap (design.md "leaves
 * precisely"); it names no tier; `rs1()` and friends are expressions that read "now", so a meaning
 * that writes a register first and needs an operand afterwards binds the operand with `o.f.let`.
 */
import type { Expression, FunctionBuilder, Local } from "../../wasm/mod.ts";
import type { FloatFunctionName } from "../softfloat/names.ts";

/** An i64 expression. */
export type I64 = Expression<"i64">;
/** An i32 expression. */
export type I32 = Expression<"i32">;
/** Bytes of a memory access. */
export type Width = 1 | 2 | 4 | 8;

/** What a tier offers to the meaning of the instruction it is reading. */
export interface Ops {
  /** The function being written, for control flow inside a meaning. */
  readonly f: FunctionBuilder;

  /** Value of x[rs1]. */
  rs1(): I64;
  /** Value of x[rs2]. */
  rs2(): I64;
  /** The immediate, sign-extended (shift amounts and CSR immediates zero-extended). */
  imm(): I64;
  /** Writes x[rd]; a write to x0 is dropped. */
  setRd(value: I64): void;

  /** Raw 64 bits of f[rs1], f[rs2], f[rs3]. */
  fs1(): I64;
  fs2(): I64;
  fs3(): I64;
  /** Single-precision bits of f[rs1] …; a value that is not NaN-boxed reads as the canonical NaN. */
  fs1Single(): I32;
  fs2Single(): I32;
  fs3Single(): I32;
  /** Low 32 bits of f[rs1] or f[rs2] without the NaN-boxing check (fmv.x.w, fsw). */
  fs1Low(): I32;
  fs2Low(): I32;
  /** Writes f[rd] and marks mstatus.FS dirty. */
  setFd(bits: I64): void;
  /** Writes f[rd] NaN-boxed and marks mstatus.FS dirty. */
  setFdSingle(bits: I32): void;
  /**
   * The rounding mode (0 RNE … 4 RMM) after resolving "dynamic" through frm, in a local. Raises an
   * illegal-instruction exception when it is reserved.
   */
  rounding(): Local<"i32">;
  /** Calls an exact float operation; accrued flags go to fflags (and mark FS dirty) by themselves. */
  float(name: FloatFunctionName, ...args: (I32 | I64)[]): Expression;

  /** Address of this instruction. */
  pc(): I64;
  /** Address of the instruction behind this one (pc + 2 or pc + 4). */
  nextPc(): I64;
  /** Goes to pc + imm if the condition is not zero. Last operation of a meaning. */
  branch(condition: I32): void;
  /** Goes to pc + imm. Last operation of a meaning. */
  jump(): void;
  /** Goes to a computed address, whose bit 0 the meaning has cleared. Last operation of a meaning. */
  jumpTo(target: I64): void;

  /** Loads from virtual memory, sign- or zero-extended to 64 bits; raises on a fault. */
  load(width: Width, signed: boolean, address: I64): Local<"i64">;
  /** Stores the low bytes to virtual memory; raises on a fault. */
  store(width: Width, address: I64, value: I64): void;
  /** LR: loads (sign-extended) and reserves; misaligned raises cause 4. */
  loadReserved(width: 4 | 8, address: I64): Local<"i64">;
  /** SC: stores if the reservation holds; gives 0 on success, 1 on failure; misaligned raises 6. */
  storeConditional(width: 4 | 8, address: I64, value: I64): Local<"i64">;
  /** AMO: old value (sign-extended) in; `update` makes the new one; misaligned raises cause 6. */
  atomic(width: 4 | 8, address: I64, update: (old: Local<"i64">) => I64): Local<"i64">;
  /** cbo.zero: zeroes the 64-byte block that holds the address (checked by menvcfg/senvcfg.CBZE). */
  zeroBlock(address: I64): void;
  /** cbo.clean, cbo.flush, cbo.inval: checks permission and envcfg, else nothing. */
  manageBlock(kind: "clean" | "flush" | "inval", address: I64): void;

  /** CSR read-modify-write: number from the instruction; old value goes to x[rd]. */
  csr(operation: "write" | "set" | "clear", source: "register" | "immediate"): void;
  /** Raises an illegal-instruction exception. */
  illegal(): void;
  /** Raises an exception with a cause of the privileged specification and its trap value. */
  raise(cause: number, trapValue: I64): void;
  /** Everything else that only the hart can do. */
  system(
    kind:
      | "ecall"
      | "ebreak"
      | "mret"
      | "sret"
      | "wfi"
      | "fence"
      | "fence.i"
      | "sfence.vma"
      | "sinval.vma"
      | "sfence.w.inval"
      | "sfence.inval.ir",
  ): void;
}

/** What an instruction means, as calls on a tier. */
export type Meaning = (o: Ops) => void;
