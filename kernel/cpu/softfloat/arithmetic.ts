/**
 * Addition, subtraction, multiplication, division and square root (IEEE 754-2008 section 5.4.1), exact
 * in every rounding mode, with a fast path through the host's operation.
 *
 * The fast path is taken when rounding is to nearest-even and the inexact flag is already set; its
 * result stands when its exponent field lies strictly between the two lowest and the two highest: then
 * no operand was a NaN or an infinity (they give NaN, infinity or zero), nothing overflowed and nothing
 * was tiny, so that only the inexact flag could have been raised. WebAssembly's operations are IEEE 754's.
 */
import { call, f32, f64, type FunctionBuilder, i32, i64, type Local } from "../../wasm/mod.ts";
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
import type { FunctionReference } from "../../wasm/mod.ts";

type Binary = FunctionReference<
  readonly ["i32", "i32", "i32"] | readonly ["i64", "i64", "i32"],
  "i32" | "i64"
>;

type HostOperation = "add" | "sub" | "mul" | "div" | "sqrt";

/** Tries the host's operation; returns from the function when its result stands. */
function fastPath(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  operation: HostOperation,
  operands: readonly (I32 | I64)[],
  mode: I32,
): void {
  const inexact = i32.and(i32.load(0, code.flags), FLAG.inexact);
  f.if(i32.and(inexact, i32.eqz(mode)), () => {
    const [a, b] = operands;
    const result = f.let(
      format.type === "i32"
        ? i32.reinterpret(
          operation === "sqrt"
            ? f32.sqrt(f32.reinterpret(a as I32))
            : f32[operation](f32.reinterpret(a as I32), f32.reinterpret(b as I32)),
        )
        : i64.reinterpret(
          operation === "sqrt"
            ? f64.sqrt(f64.reinterpret(a as I64))
            : f64[operation](f64.reinterpret(a as I64), f64.reinterpret(b as I64)),
        ),
    );
    const bits = widen(format, result as I32 | I64);
    const field = i32.and(
      i32.wrap(i64.shrU(bits, format.fractionBits)),
      format.maximumExponent,
    );
    f.if(
      i32.ltU(i32.sub(field, 2), format.maximumExponent - 3),
      () => f.return(result as I32 | I64),
      undefined,
      "likely",
    );
  });
}

/** Generates fadd or fsub. */
export function emitAdd(code: FloatCode, format: Format, target: Binary, subtract: boolean): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i64", "i32"], "i64">, (f) => {
    const [left, right, mode] = f.parameters;
    fastPath(code, format, f, subtract ? "sub" : "add", [left, right], mode);
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
    fastPath(code, format, f, "mul", [left, right], mode);
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

/** Quotient digits of 11 bits: a remainder below 2^53 times 2^11 still fits 64 bits. */
const DIGIT_BITS = 11;
const DIGITS = 5;

/** Generates fdiv. */
export function emitDivide(code: FloatCode, format: Format, target: Binary): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i64", "i32"], "i64">, (f) => {
    const [left, right, mode] = f.parameters;
    fastPath(code, format, f, "div", [left, right], mode);
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
    const divisor = f.let(i64.shrU(b.significand, 10));
    const rest = f.let(i64.shrU(a.significand, 10));
    const exponent = f.let(i32.add(i32.sub(a.exponent, b.exponent), format.bias));
    f.if(i64.ltU(rest, divisor), () => {
      f.set(rest, i64.shl(rest, 1));
      f.set(exponent, i32.sub(exponent, 1));
    });
    f.set(rest, i64.sub(rest, divisor));
    const quotient = f.let(i64.const(1));
    for (let digit = 0; digit < DIGITS; digit++) {
      f.set(rest, i64.shl(rest, DIGIT_BITS));
      f.set(quotient, i64.or(i64.shl(quotient, DIGIT_BITS), i64.divU(rest, divisor)));
      f.set(rest, i64.remU(rest, divisor));
    }
    const shift = 62 - DIGITS * DIGIT_BITS;
    const significand = i64.or(
      i64.shl(quotient, shift),
      i64.extendI32U(i64.ne(rest, 0)),
    );
    f.return(packed(code, format, sign, exponent, significand, mode));
  });
}

/** Bits of the root that are computed one by one. */
const ROOT_BITS = 56;

/** Generates fsqrt. */
export function emitSquareRoot(
  code: FloatCode,
  format: Format,
  target: FunctionReference<readonly ["i32", "i32"] | readonly ["i64", "i32"], "i32" | "i64">,
): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i32"], "i64">, (f) => {
    const [operand, mode] = f.parameters;
    fastPath(code, format, f, "sqrt", [operand], mode);
    const a = unpack(format, f, widen(format, operand));
    f.if(isNan(format, a.bits), () => returnNan(code, format, f, [a.bits]));
    f.if(
      i32.and(isZero(a), i32.eqz(isSpecial(format, a))),
      () => f.return(narrow(format, a.bits)),
    );
    f.if(i32.wrap(a.sign), () => returnInvalid(code, format, f));
    f.if(isSpecial(format, a), () => f.return(narrow(format, a.bits)));
    const exponent = f.let(i32.sub(a.exponent, format.bias));
    const radicand = f.let(a.significand);
    f.if(i32.and(exponent, 1), () => {
      f.set(radicand, i64.shl(radicand, 1));
      f.set(exponent, i32.sub(exponent, 1));
    });
    const root = f.let(i64.const(0));
    const rest = f.let(i64.const(0));
    const left = f.let(i32.const(ROOT_BITS));
    f.loop((next) => {
      f.set(rest, i64.or(i64.shl(rest, 2), i64.shrU(radicand, 62)));
      f.set(radicand, i64.shl(radicand, 2));
      const trial = f.let(i64.or(i64.shl(root, 2), 1));
      f.set(root, i64.shl(root, 1));
      f.if(i64.geU(rest, trial), () => {
        f.set(rest, i64.sub(rest, trial));
        f.set(root, i64.or(root, 1));
      });
      f.set(left, i32.sub(left, 1));
      f.brIf(next, left);
    });
    const significand = i64.or(
      i64.shl(root, 63 - ROOT_BITS),
      i64.extendI32U(i64.ne(rest, 0)),
    );
    const halved = i32.add(i32.shrS(exponent, 1), format.bias);
    f.return(packed(code, format, i64.const(0), halved, significand, mode));
  });
}
