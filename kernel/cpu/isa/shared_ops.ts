/**
 * The operations that every tier reads alike, because they are made of its other operations: NaN-boxed
 * singles (unprivileged ISA, "NaN Boxing of Narrower Values"), and what a CSR instruction writes.
 */
import { INTERRUPT } from "../../memory/hart_layout.ts";
import { type FunctionBuilder, i32, i64, type Local } from "../../wasm/mod.ts";
import { hart64 } from "../../memory/block_access.ts";
import type { I32, I64 } from "./ops.ts";

const CANONICAL_NAN = 0x7fc00000;
/** The upper half of a boxed single: all ones. */
const BOX = -0x1_0000_0000n;
/** Number of mip. */
export const CSR_MIP = 0x344;
const SEIP = 1n << BigInt(INTERRUPT.SEI);

/** What a CSR instruction does with its operand. */
export type CsrOperation = "write" | "set" | "clear";

/** What singles are made of. */
export abstract class SharedOps {
  abstract readonly f: FunctionBuilder;
  abstract fs1(): I64;
  abstract fs2(): I64;
  abstract fs3(): I64;
  abstract setFd(bits: I64): void;

  fs1Single(): I32 {
    return this.#single(this.fs1());
  }
  fs2Single(): I32 {
    return this.#single(this.fs2());
  }
  fs3Single(): I32 {
    return this.#single(this.fs3());
  }
  fs1Low(): I32 {
    return i32.wrap(this.fs1());
  }
  fs2Low(): I32 {
    return i32.wrap(this.fs2());
  }
  setFdSingle(bits: I32): void {
    this.setFd(i64.or(i64.extendI32U(bits), BOX));
  }

  #single(value: I64): I32 {
    const bits = this.f.let(value);
    return i32.select(i64.geU(bits, BOX), i32.wrap(bits), CANONICAL_NAN);
  }
}

/** What a CSR instruction that sets or clears bits writes. */
export function changedCsr(
  operation: Exclude<CsrOperation, "write">,
  old: Local<"i64">,
  operand: Local<"i64">,
): I64 {
  return operation === "set" ? i64.or(old, operand) : i64.and(old, i64.xor(operand, -1));
}

/**
 * What such an instruction changes in mip: the controller's SEIP line shows there but must not be written
 * back as the software bit.
 */
export function withoutLines(old: I64): I64 {
  return i64.or(i64.and(old, ~SEIP), i64.and(hart64("mipSoftware"), SEIP));
}
