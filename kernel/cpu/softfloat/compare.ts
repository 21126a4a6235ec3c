/**
 * Comparisons, minimum and maximum, and classification (unprivileged ISA, chapter "F": feq is
 * quiet, flt and fle signal; fmin and fmax are IEEE 754-2019 minimumNumber and maximumNumber).
 */
import { type FunctionReference, i32, i64 } from "../../wasm/mod.ts";
import {
  FLAG,
  type FloatCode,
  type Format,
  type I32,
  type I64,
  infinity,
  isNan,
  isSignaling,
  narrow,
  raise,
  widen,
} from "./format.ts";

type Comparison = FunctionReference<readonly ["i64", "i64"], "i32">;

const magnitude = (format: Format, bits: I64) =>
  i64.and(bits, (1n << BigInt(format.signShift)) - 1n);

/**
 * Order of two numbers that are no NaNs, with -0 below +0: sign-magnitude made two's complement.
 */
function ordered(format: Format, bits: I64): I64 {
  const wide = format.type === "i32" ? i64.extend32S(bits) : bits;
  const limit = format.type === "i32" ? 0x7fff_ffffn : (1n << 63n) - 1n;
  return i64.xor(wide, i64.and(i64.shrS(wide, 63), limit));
}

/** Generates feq, flt or fle. */
export function emitComparison(
  code: FloatCode,
  format: Format,
  target: FunctionReference,
  kind: "eq" | "lt" | "le",
): void {
  code.module.define(target as Comparison, (f) => {
    const [left, right] = f.parameters;
    const a = f.let(widen(format, left));
    const b = f.let(widen(format, right));
    f.if(i32.or(isNan(format, a), isNan(format, b)), () => {
      const loud = kind === "eq"
        ? i32.or(isSignaling(format, a), isSignaling(format, b))
        : i32.const(1);
      f.if(loud, () => raise(code, f, FLAG.invalid));
      f.return(0);
    });
    const zeros = i64.eqz(magnitude(format, i64.or(a, b)));
    const compare = { eq: i64.eq, lt: i64.ltS, le: i64.leS }[kind];
    const whenZeros = kind === "lt" ? 0 : 1;
    f.return(i32.select(zeros, whenZeros, compare(ordered(format, a), ordered(format, b))));
  });
}

/** Generates fmin or fmax. */
export function emitSelection(
  code: FloatCode,
  format: Format,
  target: FunctionReference,
  kind: "min" | "max",
): void {
  code.module.define(target as FunctionReference<readonly ["i64", "i64"], "i64">, (f) => {
    const [left, right] = f.parameters;
    const a = f.let(widen(format, left));
    const b = f.let(widen(format, right));
    f.if(
      i32.or(isSignaling(format, a), isSignaling(format, b)),
      () => raise(code, f, FLAG.invalid),
    );
    f.if(isNan(format, a), () => {
      const both = i64.select(isNan(format, b), format.canonicalNan, b);
      f.return(narrow(format, both));
    });
    f.if(isNan(format, b), () => f.return(narrow(format, a)));
    const less = i64.ltS(ordered(format, a), ordered(format, b));
    f.return(narrow(format, kind === "min" ? i64.select(less, a, b) : i64.select(less, b, a)));
  });
}

/** Generates fclass: one bit of ten. */
export function emitClass(code: FloatCode, format: Format, target: FunctionReference): void {
  const least = 1n << BigInt(format.fractionBits);
  code.module.define(target as FunctionReference<readonly ["i64"], "i32">, (f) => {
    const bits = f.let(widen(format, f.parameters[0] as I32 | I64));
    const size = f.let(magnitude(format, bits));
    const negative = f.let(i64.ne(size, bits));
    f.if(
      i64.gtU(size, infinity(format)),
      () => f.return(i32.select(isSignaling(format, bits), 1 << 8, 1 << 9)),
    );
    const either = (below: number, above: number) => i32.select(negative, below, above);
    f.if(i64.eq(size, infinity(format)), () => f.return(either(1 << 0, 1 << 7)));
    f.if(i64.geU(size, least), () => f.return(either(1 << 1, 1 << 6)));
    f.if(i64.ne(size, 0), () => f.return(either(1 << 2, 1 << 5)));
    f.return(either(1 << 3, 1 << 4));
  });
}
