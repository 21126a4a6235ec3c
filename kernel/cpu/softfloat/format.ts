/**
 * What both float formats share: their description, taking a number apart, and rounding and packing
 * a result (IEEE 754-2008 sections 4 and 7; unprivileged ISA, chapter "F": flags, canonical NaN,
 * tininess after rounding). Operations are written once over a format.
 *
 * A finite number that is not zero is (sign, exponent, significand): its value is
 * significand / 2^62 × 2^(exponent - bias), and bit 62 is the significand's highest.
 */
import {
  call,
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  type I32Value,
  i64,
  type I64Value,
  type Local,
  type ModuleBuilder,
} from "../../wasm/mod.ts";

/** An i64 expression. */
export type I64 = Expression<"i64">;
/** An i32 expression. */
export type I32 = Expression<"i32">;

/** Accrued-exception bits. */
export const FLAG = {
  inexact: 1,
  underflow: 2,
  overflow: 4,
  divideByZero: 8,
  invalid: 16,
} as const;
/** Rounding modes. */
export const ROUND = { nearestEven: 0, zero: 1, down: 2, up: 3, nearestAway: 4 } as const;

/** A binary format. Bits of both travel in i64; those of singles in the low half. */
export interface Format {
  readonly name: "f32" | "f64";
  readonly fractionBits: number;
  readonly maximumExponent: number;
  readonly bias: number;
  readonly signShift: number;
  readonly canonicalNan: bigint;
  /** Type in which the value travels between functions. */
  readonly type: "i32" | "i64";
}

/** binary32. */
export const SINGLE: Format = {
  name: "f32",
  fractionBits: 23,
  maximumExponent: 0xff,
  bias: 127,
  signShift: 31,
  canonicalNan: 0x7fc0_0000n,
  type: "i32",
};

/** binary64. */
export const DOUBLE: Format = {
  name: "f64",
  fractionBits: 52,
  maximumExponent: 0x7ff,
  bias: 1023,
  signShift: 63,
  canonicalNan: 0x7ff8_0000_0000_0000n,
  type: "i64",
};

/** What the generators of this folder share. */
export interface FloatCode {
  readonly module: ModuleBuilder;
  /** Address of the word that holds the accrued exceptions. */
  readonly flags: number;
  /** (sign 0 or 1, exponent, significand, rounding mode) → bits. */
  readonly roundPack: Record<
    "f32" | "f64",
    FunctionReference<readonly ["i64", "i32", "i64", "i32"], "i64">
  >;
  /** (value, count ≥ 0): shifts right; a lost one bit makes the lowest bit one. */
  readonly shiftJam: FunctionReference<readonly ["i64", "i32"], "i64">;
}

/** A number taken apart. The significand is zero for zero; meaningless for infinities and NaNs. */
export interface Parts {
  readonly bits: Local<"i64">;
  readonly sign: Local<"i64">;
  /** The biased exponent field as stored. */
  readonly field: Local<"i32">;
  readonly exponent: Local<"i32">;
  readonly significand: Local<"i64">;
}

/** ORs exceptions into the accrued ones. */
export function raise(code: FloatCode, f: FunctionBuilder, flags: I32Value): void {
  f.store32(0, code.flags, i32.or(i32.load(0, code.flags), flags));
}

/** A parameter as i64 bits. */
export function widen(format: Format, value: I32 | I64): I64 {
  return format.type === "i32" ? i64.extendI32U(value as I32) : value as I64;
}

/** i64 bits as the type that a function returns. */
export function narrow(format: Format, bits: I64Value): I32 | I64 {
  const value = typeof bits === "object" ? bits : i64.const(bits);
  return format.type === "i32" ? i32.wrap(value) : value;
}

/** Bits of an infinity without its sign. */
export function infinity(format: Format): bigint {
  return BigInt(format.maximumExponent) << BigInt(format.fractionBits);
}

/** Whether bits are a NaN. */
export function isNan(format: Format, bits: I64): I32 {
  const magnitude = i64.and(bits, (1n << BigInt(format.signShift)) - 1n);
  return i64.gtU(magnitude, infinity(format));
}

/** Whether bits are a signaling NaN. */
export function isSignaling(format: Format, bits: I64): I32 {
  const quiet = 1n << BigInt(format.fractionBits - 1);
  return i32.and(isNan(format, bits), i64.eqz(i64.and(bits, quiet)));
}

/** The sign bit in its place. */
export function signBit(format: Format, sign: I64): I64 {
  return i64.shl(sign, format.signShift);
}

/** Takes a number apart. */
export function unpack(format: Format, f: FunctionBuilder, value: I64): Parts {
  const bits = f.let(value);
  const sign = f.let(i64.and(i64.shrU(bits, format.signShift), 1));
  const field = f.let(
    i32.and(i32.wrap(i64.shrU(bits, format.fractionBits)), format.maximumExponent),
  );
  const significand = f.let(i64.and(bits, (1n << BigInt(format.fractionBits)) - 1n));
  const exponent = f.let(field);
  f.if(field, () => {
    f.set(significand, i64.or(significand, 1n << BigInt(format.fractionBits)));
  }, () => f.set(exponent, 1));
  f.if(i32.eqz(i64.eqz(significand)), () => {
    const zeros = f.let(i64.clz(significand));
    f.set(significand, i64.shl(significand, i64.sub(zeros, 1)));
    f.set(
      exponent,
      i32.add(exponent, i32.sub(63 - format.fractionBits, i32.wrap(zeros))),
    );
  });
  return { bits, sign, field, exponent, significand };
}

/** Whether a number is an infinity or a NaN. */
export function isSpecial(format: Format, parts: Parts): I32 {
  return i32.eq(parts.field, format.maximumExponent);
}

/** Whether a number is a zero. */
export function isZero(parts: Parts): I32 {
  return i64.eqz(parts.significand);
}

/** Returns the canonical NaN, with the invalid flag when an operand signals. */
export function returnNan(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  operands: readonly I64[],
): void {
  const signaling = operands.map((bits) => isSignaling(format, bits))
    .reduce((a, b) => i32.or(a, b));
  f.if(signaling, () => raise(code, f, FLAG.invalid));
  f.return(narrow(format, format.canonicalNan));
}

/** Returns the canonical NaN with the invalid flag. */
export function returnInvalid(code: FloatCode, format: Format, f: FunctionBuilder): void {
  raise(code, f, FLAG.invalid);
  f.return(narrow(format, format.canonicalNan));
}

/** Rounds and packs. */
export function packed(
  code: FloatCode,
  format: Format,
  sign: I64,
  exponent: I32,
  significand: I64,
  mode: I32,
): I32 | I64 {
  const bits = call(code.roundPack[format.name], sign, exponent, significand, mode);
  return narrow(format, bits);
}

/** Generates the shared functions. */
export function emitShared(module: ModuleBuilder, flags: number): FloatCode {
  const shiftJam = module.function("shiftJam", ["i64", "i32"], "i64", (f) => {
    const [value, count] = f.parameters;
    f.if(i32.gtU(count, 62), () => f.return(i64.extendI32U(i64.ne(value, 0))));
    const wide = f.let(i64.extendI32U(count));
    const shifted = f.let(i64.shrU(value, wide));
    const lost = i64.ne(i64.shl(shifted, wide), value);
    f.return(i64.or(shifted, i64.extendI32U(lost)));
  });
  const roundPack = {
    f32: module.declare("f32RoundPack", ["i64", "i32", "i64", "i32"], "i64"),
    f64: module.declare("f64RoundPack", ["i64", "i32", "i64", "i32"], "i64"),
  };
  const code = { module, flags, roundPack, shiftJam };
  for (const format of [SINGLE, DOUBLE]) emitRoundPack(code, format);
  return code;
}

function emitRoundPack(code: FloatCode, format: Format): void {
  const extra = 62 - format.fractionBits;
  const half = 1n << BigInt(extra - 1);
  const mask = (1n << BigInt(extra)) - 1n;
  code.module.define(code.roundPack[format.name], (f) => {
    const [sign, exponent, significand, mode] = f.parameters;
    const increment = f.let(i64.const(half));
    f.if(i32.and(i32.ne(mode, ROUND.nearestEven), i32.ne(mode, ROUND.nearestAway)), () => {
      const away = i32.select(i32.wrap(sign), ROUND.down, ROUND.up);
      f.set(increment, i64.select(i32.eq(mode, away), mask, 0));
    });
    const carries = () => i64.ltS(i64.add(significand, increment), 0);
    f.if(i32.leS(exponent, 0), () => {
      // Tiny unless rounding to full precision, with the exponent unbounded, reaches the least
      // normal.
      const tiny = f.let(i32.or(i32.ltS(exponent, 0), i32.eqz(carries())));
      f.set(significand, call(code.shiftJam, significand, i32.sub(1, exponent)));
      f.set(exponent, 1);
      f.if(
        i32.and(tiny, i64.ne(i64.and(significand, mask), 0)),
        () => raise(code, f, FLAG.underflow),
      );
      f.if(i64.eqz(i64.shrU(significand, 62)), () => f.set(exponent, 0));
    }, () => {
      const top = format.maximumExponent - 1;
      const over = i32.or(
        i32.gtS(exponent, top),
        i32.and(i32.eq(exponent, top), carries()),
      );
      f.if(
        over,
        () => {
          raise(code, f, FLAG.overflow | FLAG.inexact);
          const largest = i64.extendI32U(i64.eqz(increment));
          f.return(i64.sub(i64.or(signBit(format, sign), infinity(format)), largest));
        },
        undefined,
        "unlikely",
      );
    });
    const lost = f.let(i64.and(significand, mask));
    f.set(significand, i64.shrU(i64.add(significand, increment), extra));
    f.if(i64.ne(lost, 0), () => raise(code, f, FLAG.inexact));
    const tie = i32.and(i64.eq(lost, half), i32.eq(mode, ROUND.nearestEven));
    f.if(tie, () => f.set(significand, i64.and(significand, -2)));
    // The significand's highest bit adds one to the exponent field; a carry adds another.
    const below = i32.select(i32.eqz(exponent), 0, i32.sub(exponent, 1));
    const field = i64.shl(i64.extendI32U(below), format.fractionBits);
    f.return(i64.or(signBit(format, sign), i64.add(field, significand)));
  });
}
