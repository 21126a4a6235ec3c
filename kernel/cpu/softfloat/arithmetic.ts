/**
 * Addition, subtraction, multiplication, division and square root (IEEE 754-2008 section 5.4.1),
 * exact in every rounding mode, each behind its fast path (host_path.ts).
 *
 * Quotients and roots begin with the host's, which is the 53-digit number next to the true one. The
 * remainder, an integer that is exact modulo 2^64, tells on which side of it the true one lies;
 * that is all that rounding in any mode needs.
 */
import {
  call,
  type Expression,
  f64,
  type FunctionBuilder,
  i32,
  i64,
  type Local,
} from "../../wasm/mod.ts";
import { highProduct } from "../isa/m.ts";
import {
  FLAG,
  type FloatCode,
  type Format,
  type I32,
  type I64,
  infinity,
  isNan,
  isSpecial,
  isZero,
  narrow,
  packed,
  type Parts,
  raise,
  returnInvalid,
  returnNan,
  ROUND,
  signBit,
  unpack,
  widen,
} from "./format.ts";
import { tryHost } from "./host_path.ts";
import type { FunctionReference } from "../../wasm/mod.ts";

type Binary = FunctionReference<
  readonly ["i32", "i32", "i32"] | readonly ["i64", "i64", "i32"],
  "i32" | "i64"
>;

/** Generates fadd or fsub. */
export function emitAdd(code: FloatCode, format: Format, target: Binary, subtract: boolean): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i64", "i32"], "i64">, (f) => {
    const [left, right, mode] = f.parameters;
    tryHost(code, format, f, subtract ? "sub" : "add", [left, right], mode);
    const flip = subtract ? 1n << BigInt(format.signShift) : 0n;
    const a = unpack(format, f, widen(format, left));
    const b = unpack(format, f, i64.xor(widen(format, right), flip));
    f.if(i32.or(isSpecial(format, a), isSpecial(format, b)), () => {
      f.if(
        i32.or(isNan(format, a.bits), isNan(format, b.bits)),
        () => returnNan(code, format, f, [a.bits, b.bits]),
      );
      const opposite = i64.ne(a.sign, b.sign);
      const both = i32.and(isSpecial(format, a), isSpecial(format, b));
      f.if(i32.and(both, opposite), () => returnInvalid(code, format, f));
      f.return(narrow(format, i64.select(isSpecial(format, a), a.bits, b.bits)));
    });
    f.if(isZero(b), () => {
      f.if(isZero(a), () => {
        f.if(i64.eq(a.sign, b.sign), () => f.return(narrow(format, a.bits)));
        const negative = i64.extendI32U(i32.eq(mode, ROUND.down));
        f.return(narrow(format, signBit(format, negative)));
      });
      f.return(narrow(format, a.bits));
    });
    f.if(isZero(a), () => f.return(narrow(format, b.bits)));
    orderByMagnitude(f, a, b);
    const distance = i32.sub(a.exponent, b.exponent);
    f.if(
      i64.eq(a.sign, b.sign),
      () => addMagnitudes(code, format, f, a, b, mode, distance),
      () => subtractMagnitudes(code, format, f, a, b, mode, distance),
    );
  });
}

/** Swaps so that `a` has the larger magnitude. */
function orderByMagnitude(f: FunctionBuilder, a: Parts, b: Parts): void {
  const smaller = i32.or(
    i32.ltS(a.exponent, b.exponent),
    i32.and(i32.eq(a.exponent, b.exponent), i64.ltU(a.significand, b.significand)),
  );
  f.if(smaller, () => {
    const swap = <T extends "i32" | "i64">(x: Local<T>, y: Local<T>) => {
      const kept = f.let(x);
      f.set(x, y as never);
      f.set(y, kept as never);
    };
    swap(a.exponent, b.exponent);
    swap(a.significand, b.significand);
    swap(a.sign, b.sign);
  });
}

function addMagnitudes(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  a: Parts,
  b: Parts,
  mode: I32,
  distance: I32,
): void {
  // Halved, so that the sum has room; the lowest bits of both are zero.
  const aligned = call(code.shiftJam, i64.shrU(b.significand, 1), distance);
  const sum = f.let(i64.add(i64.shrU(a.significand, 1), aligned));
  const exponent = f.let(i32.add(a.exponent, 1));
  f.if(i64.eqz(i64.shrU(sum, 62)), () => {
    f.set(sum, i64.shl(sum, 1));
    f.set(exponent, i32.sub(exponent, 1));
  });
  f.return(packed(code, format, a.sign, exponent, sum, mode));
}

function subtractMagnitudes(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  a: Parts,
  b: Parts,
  mode: I32,
  distance: I32,
): void {
  const difference = f.let(
    i64.sub(a.significand, call(code.shiftJam, b.significand, distance)),
  );
  f.if(i64.eqz(difference), () => {
    const negative = i64.extendI32U(i32.eq(mode, ROUND.down));
    f.return(narrow(format, signBit(format, negative)));
  });
  const zeros = f.let(i64.sub(i64.clz(difference), 1));
  const exponent = i32.sub(a.exponent, i32.wrap(zeros));
  f.return(packed(code, format, a.sign, exponent, i64.shl(difference, zeros), mode));
}

/** Generates fmul. */
export function emitMultiply(code: FloatCode, format: Format, target: Binary): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i64", "i32"], "i64">, (f) => {
    const [left, right, mode] = f.parameters;
    tryHost(code, format, f, "mul", [left, right], mode);
    const a = unpack(format, f, widen(format, left));
    const b = unpack(format, f, widen(format, right));
    const sign = f.let(i64.xor(a.sign, b.sign));
    f.if(i32.or(isSpecial(format, a), isSpecial(format, b)), () => {
      f.if(
        i32.or(isNan(format, a.bits), isNan(format, b.bits)),
        () => returnNan(code, format, f, [a.bits, b.bits]),
      );
      const zero = i32.or(
        i32.and(isZero(a), i32.eqz(isSpecial(format, a))),
        i32.and(isZero(b), i32.eqz(isSpecial(format, b))),
      );
      f.if(zero, () => returnInvalid(code, format, f));
      f.return(narrow(format, i64.or(signBit(format, sign), infinity(format))));
    });
    f.if(
      i32.or(isZero(a), isZero(b)),
      () => f.return(narrow(format, signBit(format, sign))),
    );
    const doubled = f.let(i64.shl(b.significand, 1));
    const high = f.let(highProduct(f, a.significand, doubled));
    const sticky = i64.ne(i64.mul(a.significand, doubled), 0);
    f.set(high, i64.or(high, i64.extendI32U(sticky)));
    const exponent = f.let(i32.add(i32.sub(i32.add(a.exponent, b.exponent), format.bias), 1));
    f.if(i64.eqz(i64.shrU(high, 62)), () => {
      f.set(high, i64.shl(high, 1));
      f.set(exponent, i32.sub(exponent, 1));
    });
    f.return(packed(code, format, sign, exponent, high, mode));
  });
}

/** Digits of a double's significand, and the bits below them in our significands. */
const DIGITS = 53;
const SPARE = 63 - DIGITS;

/**
 * The significand of a result that lies next to `nearest`, a number of 53 digits, on the side that
 * the remainder's sign tells and less than half a unit away. A quarter of a unit stands for any
 * distance.
 */
function besideNearest(f: FunctionBuilder, nearest: Local<"i64">, remainder: I64): I64 {
  const rest = f.let(remainder);
  const side = i64.extendI32S(i32.sub(i64.gtS(rest, 0), i64.ltS(rest, 0)));
  return i64.add(i64.shl(nearest, SPARE), i64.shl(side, SPARE - 2));
}

/** The significand of a host's double that is at least one, as a 53-digit integer. */
function hostDigits(value: Expression<"f64">): I64 {
  const hidden = 1n << BigInt(DIGITS - 1);
  return i64.or(i64.and(i64.reinterpret(value), hidden - 1n), hidden);
}

/** Generates fdiv. */
export function emitDivide(code: FloatCode, format: Format, target: Binary): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i64", "i32"], "i64">, (f) => {
    const [left, right, mode] = f.parameters;
    tryHost(code, format, f, "div", [left, right], mode);
    const a = unpack(format, f, widen(format, left));
    const b = unpack(format, f, widen(format, right));
    const sign = f.let(i64.xor(a.sign, b.sign));
    const signedZero = () => narrow(format, signBit(format, sign));
    const signedInfinity = () => narrow(format, i64.or(signBit(format, sign), infinity(format)));
    f.if(
      i32.or(isNan(format, a.bits), isNan(format, b.bits)),
      () => returnNan(code, format, f, [a.bits, b.bits]),
    );
    f.if(isSpecial(format, a), () => {
      f.if(isSpecial(format, b), () => returnInvalid(code, format, f));
      f.return(signedInfinity());
    });
    f.if(isSpecial(format, b), () => f.return(signedZero()));
    f.if(isZero(b), () => {
      f.if(isZero(a), () => returnInvalid(code, format, f));
      raise(code, f, FLAG.divideByZero);
      f.return(signedInfinity());
    });
    f.if(isZero(a), () => f.return(signedZero()));
    // Integers of 53 digits; the dividend is doubled when it is the smaller, so that the quotient
    // is in [1, 2). It is never halfway: an odd number times the divisor would be the dividend
    // times 2^53, but the divisor is below 2^53.
    const divisor = f.let(i64.shrU(b.significand, SPARE));
    const dividend = f.let(i64.shrU(a.significand, SPARE));
    const exponent = f.let(i32.add(i32.sub(a.exponent, b.exponent), format.bias));
    f.if(i64.ltU(dividend, divisor), () => {
      f.set(dividend, i64.shl(dividend, 1));
      f.set(exponent, i32.sub(exponent, 1));
    });
    const ratio = f64.div(f64.convertI64S(dividend), f64.convertI64S(divisor));
    const quotient = f.let(hostDigits(ratio));
    const remainder = i64.sub(i64.shl(dividend, DIGITS - 1), i64.mul(quotient, divisor));
    const significand = besideNearest(f, quotient, remainder);
    f.return(packed(code, format, sign, exponent, significand, mode));
  });
}

/** Generates fsqrt. */
export function emitSquareRoot(
  code: FloatCode,
  format: Format,
  target: FunctionReference<readonly ["i32", "i32"] | readonly ["i64", "i32"], "i32" | "i64">,
): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i32"], "i64">, (f) => {
    const [operand, mode] = f.parameters;
    tryHost(code, format, f, "sqrt", [operand], mode);
    const a = unpack(format, f, widen(format, operand));
    f.if(isNan(format, a.bits), () => returnNan(code, format, f, [a.bits]));
    f.if(
      i32.and(isZero(a), i32.eqz(isSpecial(format, a))),
      () => f.return(narrow(format, a.bits)),
    );
    f.if(i32.wrap(a.sign), () => returnInvalid(code, format, f));
    f.if(isSpecial(format, a), () => f.return(narrow(format, a.bits)));
    const exponent = f.let(i32.sub(a.exponent, format.bias));
    // A 53-digit integer, doubled for an odd exponent; times 2^52, its root has 53 digits. The
    // radicand is an integer and (root + 1/2)^2 is none, so that the true root is not halfway.
    const radicand = f.let(i64.shrU(a.significand, SPARE));
    f.if(i32.and(exponent, 1), () => {
      f.set(radicand, i64.shl(radicand, 1));
      f.set(exponent, i32.sub(exponent, 1));
    });
    const root = f.let(hostDigits(f64.sqrt(f64.convertI64S(radicand))));
    const remainder = i64.sub(i64.shl(radicand, DIGITS - 1), i64.mul(root, root));
    const significand = besideNearest(f, root, remainder);
    const halved = i32.add(i32.shrS(exponent, 1), format.bias);
    f.return(packed(code, format, i64.const(0), halved, significand, mode));
  });
}
