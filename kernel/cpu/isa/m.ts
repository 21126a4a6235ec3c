/** TABLE: multiply and divide (unprivileged ISA, chapter "M" extension). */
import { type FunctionBuilder, i32, i64 } from "../../wasm/mod.ts";
import type { I32, I64, Ops } from "./ops.ts";
import { OPCODE, type Row, rowsOf } from "./row.ts";

const { r } = rowsOf("M");

/** High 64 bits of the unsigned product, from four 32-bit products. */
export function highProduct(f: FunctionBuilder, left: I64, right: I64): I64 {
  const a = f.let(left);
  const b = f.let(right);
  const low = (v: I64) => i64.and(v, 0xffffffff);
  const high = (v: I64) => i64.shrU(v, 32);
  const lowHigh = f.let(i64.mul(low(a), high(b)));
  const highLow = f.let(i64.mul(high(a), low(b)));
  const carry = i64.shrU(
    i64.add(i64.add(high(i64.mul(low(a), low(b))), low(lowHigh)), low(highLow)),
    32,
  );
  const middle = i64.add(high(lowHigh), high(highLow));
  return i64.add(i64.add(i64.mul(high(a), high(b)), middle), carry);
}

/** Subtracts the other factor for each negative signed factor: signed from unsigned high product. */
function highCorrected(o: Ops, signedA: boolean, signedB: boolean): void {
  const { f } = o;
  const a = f.let(o.rs1());
  const b = f.let(o.rs2());
  const result = f.let(highProduct(f, a, b));
  if (signedA) f.set(result, i64.sub(result, i64.and(i64.shrS(a, 63), b)));
  if (signedB) f.set(result, i64.sub(result, i64.and(i64.shrS(b, 63), a)));
  o.setRd(result);
}

type Divide64 = (a: I64, b: I64) => I64;
type Divide32 = (a: I32, b: I32) => I32;

/**
 * Division by zero and overflow have results, not traps. The divisor is replaced by one where
 * WebAssembly would trap; `special` then gives what the ISA manual's table says.
 */
function divide64(o: Ops, divide: Divide64, signed: boolean, remainder: boolean): void {
  const { f } = o;
  const a = f.let(o.rs1());
  const b = f.let(o.rs2());
  const zero = f.let(i64.eqz(b));
  const result = f.local("i64");
  if (signed) {
    const overflow = i32.and(i64.eq(a, -(1n << 63n)), i64.eq(b, -1));
    const unsafe = f.let(i32.or(zero, overflow));
    f.set(result, divide(a, i64.select(unsafe, 1, b)));
    if (remainder) f.set(result, i64.select(unsafe, 0, result));
  } else {
    f.set(result, divide(a, i64.select(zero, 1, b)));
  }
  o.setRd(i64.select(zero, remainder ? a : i64.const(-1), result));
}

function divide32(o: Ops, divide: Divide32, signed: boolean, remainder: boolean): void {
  const { f } = o;
  const a = f.let(i32.wrap(o.rs1()));
  const b = f.let(i32.wrap(o.rs2()));
  const zero = f.let(i32.eqz(b));
  const result = f.local("i32");
  if (signed) {
    const overflow = i32.and(i32.eq(a, -0x80000000), i32.eq(b, -1));
    const unsafe = f.let(i32.or(zero, overflow));
    f.set(result, divide(a, i32.select(unsafe, 1, b)));
    if (remainder) f.set(result, i32.select(unsafe, 0, result));
  } else {
    f.set(result, divide(a, i32.select(zero, 1, b)));
  }
  o.setRd(i64.extendI32S(i32.select(zero, remainder ? a : i32.const(-1), result)));
}

/** Rows of this table. */
export const M: readonly Row[] = [
  r("mul", OPCODE.register, 0, 1, (o) => o.setRd(i64.mul(o.rs1(), o.rs2()))),
  r("mulh", OPCODE.register, 1, 1, (o) => highCorrected(o, true, true)),
  r("mulhsu", OPCODE.register, 2, 1, (o) => highCorrected(o, true, false)),
  r("mulhu", OPCODE.register, 3, 1, (o) => highCorrected(o, false, false)),
  r("div", OPCODE.register, 4, 1, (o) => divide64(o, i64.divS, true, false)),
  r("divu", OPCODE.register, 5, 1, (o) => divide64(o, i64.divU, false, false)),
  r("rem", OPCODE.register, 6, 1, (o) => divide64(o, i64.remS, true, true)),
  r("remu", OPCODE.register, 7, 1, (o) => divide64(o, i64.remU, false, true)),
  r("mulw", OPCODE.register32, 0, 1, (o) => {
    o.setRd(i64.extendI32S(i32.mul(i32.wrap(o.rs1()), i32.wrap(o.rs2()))));
  }),
  r("divw", OPCODE.register32, 4, 1, (o) => divide32(o, i32.divS, true, false)),
  r("divuw", OPCODE.register32, 5, 1, (o) => divide32(o, i32.divU, false, false)),
  r("remw", OPCODE.register32, 6, 1, (o) => divide32(o, i32.remS, true, true)),
  r("remuw", OPCODE.register32, 7, 1, (o) => divide32(o, i32.remU, false, true)),
];
