/**
 * Conversions between formats and integers (unprivileged ISA, "Single-Precision Floating-Point
 * Conversion and Move Instructions": saturation with the invalid flag).
 */
import {
  type FunctionBuilder,
  type FunctionReference,
  i32,
  i64,
  type Local,
} from "../../wasm/mod.ts";
import {
  DOUBLE,
  FLAG,
  type FloatCode,
  type Format,
  type I32,
  type I64,
  isNan,
  isSignaling,
  isSpecial,
  isZero,
  narrow,
  packed,
  raise,
  ROUND,
  SINGLE,
  unpack,
  widen,
} from "./format.ts";
import { tryHostFromInteger, tryHostNarrowing, tryHostWidening } from "./host_path.ts";
import type { FloatFunctionName } from "./names.ts";

/** References to all float functions by name. */
export type FloatReferences = Record<FloatFunctionName, FunctionReference>;

type AnyReference = FunctionReference<readonly ["i64", "i32"], "i64">;

/** Generates every conversion. */
export function emitConversions(code: FloatCode, references: FloatReferences): void {
  for (const format of [SINGLE, DOUBLE]) {
    for (const width of [32, 64] as const) {
      for (const signed of [true, false]) {
        const kind = `${signed ? "I" : "U"}${width}`;
        const to = references[`${format.name}To${kind}` as FloatFunctionName];
        const from = references[`${format.name}From${kind}` as FloatFunctionName];
        emitToInteger(code, format, to as AnyReference, width, signed);
        emitFromInteger(code, format, from as AnyReference, width, signed);
      }
    }
  }
  emitNarrowing(code, references.f32FromF64);
  emitWidening(code, references.f64FromF32);
}

/** The integer part of a magnitude and, as a fraction of 2^64, what lies behind the point. */
function integerAndFraction(
  f: FunctionBuilder,
  significand: I64,
  power: Local<"i32">,
): { whole: Local<"i64">; fraction: Local<"i64"> } {
  const whole = f.let(i64.const(0));
  const fraction = f.let(i64.const(0));
  f.if(i32.eq(power, 63), () => f.set(whole, i64.shl(significand, 1)), () => {
    f.if(i32.ltS(power, -1), () => f.set(fraction, 1), () => {
      const shift = f.let(i64.extendI32S(i32.sub(62, power)));
      f.set(whole, i64.shrU(significand, shift));
      f.if(i64.ne(shift, 0), () => f.set(fraction, i64.shl(significand, i64.sub(64, shift))));
    });
  });
  return { whole, fraction };
}

const HALF = 1n << 63n;

/** Whether rounding adds one to a whole number with a fraction. */
function roundsUp(mode: I32, sign: I64, whole: I64, fraction: I64): I32 {
  const odd = i32.wrap(i64.and(whole, 1));
  const nearest = i32.or(i64.gtU(fraction, HALF), i32.and(i64.eq(fraction, HALF), odd));
  const away = i64.geU(fraction, HALF);
  const inexact = i64.ne(fraction, 0);
  const negative = i32.wrap(sign);
  return i32.select(
    i32.eq(mode, ROUND.nearestEven),
    nearest,
    i32.select(
      i32.eq(mode, ROUND.nearestAway),
      away,
      i32.select(
        i32.eq(mode, ROUND.down),
        i32.and(inexact, negative),
        i32.and(i32.and(inexact, i32.eq(mode, ROUND.up)), i32.eqz(negative)),
      ),
    ),
  );
}

function emitToInteger(
  code: FloatCode,
  format: Format,
  target: AnyReference,
  width: 32 | 64,
  signed: boolean,
): void {
  const most = (1n << BigInt(signed ? width - 1 : width)) - 1n;
  const least = signed ? 1n << BigInt(width - 1) : 0n;
  const result = (value: I64): I32 | I64 => width === 32 ? i32.wrap(value) : value;
  code.module.define(target, (f) => {
    const [operand, mode] = f.parameters;
    const a = unpack(format, f, widen(format, operand));
    const power = f.let(i32.sub(a.exponent, format.bias));
    const negative = i32.wrap(a.sign);
    f.block((invalid) => {
      f.brIf(invalid, isSpecial(format, a));
      f.if(isZero(a), () => f.return(result(i64.const(0))));
      f.brIf(invalid, i32.gtS(power, 63));
      const { whole, fraction } = integerAndFraction(f, a.significand, power);
      f.if(
        roundsUp(mode, a.sign, whole, fraction),
        () => f.set(whole, i64.add(whole, 1)),
      );
      f.brIf(invalid, i64.gtU(whole, i64.select(negative, least, most)));
      f.if(i64.ne(fraction, 0), () => raise(code, f, FLAG.inexact));
      f.return(result(i64.select(negative, i64.sub(0, whole), whole)));
    });
    raise(code, f, FLAG.invalid);
    const low = i32.and(negative, i32.eqz(isNan(format, a.bits)));
    f.return(result(i64.select(low, i64.sub(0, i64.const(least)), most)));
  });
}

function emitFromInteger(
  code: FloatCode,
  format: Format,
  target: AnyReference,
  width: 32 | 64,
  signed: boolean,
): void {
  code.module.define(target, (f) => {
    const parameter = f.parameters[0] as unknown as I32 | I64;
    const mode = (f.parameters[1] as Local<"i32"> | undefined) ?? i32.const(0);
    const magnitude = f.let(
      width === 64
        ? parameter as I64
        : signed
        ? i64.extendI32S(parameter as I32)
        : i64.extendI32U(parameter as I32),
    );
    tryHostFromInteger(code, format, f, magnitude, mode, width === 64 && !signed);
    const sign = f.let(signed ? i64.shrU(magnitude, 63) : i64.const(0));
    if (signed) f.if(i32.wrap(sign), () => f.set(magnitude, i64.sub(0, magnitude)));
    const zeros = f.let(i64.clz(magnitude));
    const exponent = i32.sub(format.bias + 63, i32.wrap(zeros));
    f.if(i64.eqz(zeros), () => {
      const lost = i64.and(magnitude, 1);
      f.set(magnitude, i64.or(i64.shrU(magnitude, 1), lost));
    }, () => f.set(magnitude, i64.shl(magnitude, i64.sub(zeros, 1))));
    f.return(packed(code, format, sign, exponent, magnitude, mode));
  });
}

function emitNarrowing(code: FloatCode, target: FunctionReference): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i32"], "i32">, (f) => {
    const [operand, mode] = f.parameters;
    tryHostNarrowing(code, f, operand, mode);
    const a = unpack(DOUBLE, f, operand);
    // Zeros and infinities were exact.
    f.if(isNan(DOUBLE, a.bits), () => {
      f.if(isSignaling(DOUBLE, a.bits), () => raise(code, f, FLAG.invalid));
      f.return(narrow(SINGLE, SINGLE.canonicalNan));
    });
    const exponent = i32.sub(a.exponent, DOUBLE.bias - SINGLE.bias);
    f.return(packed(code, SINGLE, a.sign, exponent, a.significand, mode));
  });
}

function emitWidening(code: FloatCode, target: FunctionReference): void {
  code.module.define(target as FunctionReference<readonly ["i32"], "i64">, (f) => {
    const [operand] = f.parameters;
    tryHostWidening(f, operand);
    // Only NaNs are left.
    const signaling = isSignaling(SINGLE, i64.extendI32U(operand));
    f.if(signaling, () => raise(code, f, FLAG.invalid));
    f.return(i64.const(DOUBLE.canonicalNan));
  });
}
