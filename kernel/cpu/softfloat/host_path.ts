/**
 * Fast paths through the host's float operations, and the proofs that they may be taken.
 *
 * WebAssembly's operations are IEEE 754-2008's, rounded to nearest-even, without flags; only the
 * bits of a NaN are the host's choice. So a path returns the host's result when rounding is to
 * nearest-even and three things are known:
 *  1. It is no NaN and no infinity, which also rules out NaN operands, invalid operations, division
 *     by zero and overflow (to nearest-even, overflow always gives an infinity).
 *  2. Underflow cannot be raised: the result is twice the least normal number or more, or exact.
 *     A sum is a multiple of the least subnormal number, so that a tiny sum is exact.
 *  3. The inexact flag is already set, or the result is shown to be exact.
 *
 * Whatever is not shown here goes to the exact path; no path here writes a flag.
 */
import { f32, f64, type FunctionBuilder, i32, i64 } from "../../wasm/mod.ts";
import type { Expression } from "../../wasm/mod.ts";
import {
  DOUBLE,
  FLAG,
  type FloatCode,
  type Format,
  type I32,
  type I64,
  infinity,
  ROUND,
  SINGLE,
  widen,
} from "./format.ts";

/** An operation of the host. */
export type HostOperation = "add" | "sub" | "mul" | "div" | "sqrt";

/** A host float of either format; the operations of `hostOf` fit the format it was made with. */
type HostFloat = Expression<"f64">;

const hostOf = (format: Format) => (format.type === "i32" ? f32 : f64) as typeof f64;

function fromBits(format: Format, bits: I32 | I64): HostFloat {
  return format.type === "i32"
    ? f32.reinterpret(bits as I32) as unknown as HostFloat
    : f64.reinterpret(bits as I64);
}

function toBits(format: Format, value: HostFloat): I32 | I64 {
  return format.type === "i32"
    ? i32.reinterpret(value as unknown as Expression<"f32">)
    : i64.reinterpret(value);
}

const promoted = (value: HostFloat) => f64.promote(value as unknown as Expression<"f32">);

/** Whether the inexact flag is set. */
export function inexactIsSet(code: FloatCode): I32 {
  return i32.and(i32.load(0, code.flags), FLAG.inexact);
}

/** Whether bits are neither an infinity nor a NaN. */
export function isFinite(format: Format, bits: I64): I32 {
  return i64.ltU(withoutSign(format, bits), infinity(format) << 1n);
}

/** Whether bits are finite with an exponent field of two or more. */
export function isOrdinary(format: Format, bits: I64): I32 {
  const two = 2n << BigInt(format.fractionBits + 1);
  return i64.ltU(i64.sub(withoutSign(format, bits), two), (infinity(format) << 1n) - two);
}

/** Twice the magnitude. Bits of singles have nothing above bit 31. */
function withoutSign(format: Format, bits: I64): I64 {
  const doubled = i64.shl(bits, 1);
  return format.type === "i32" ? i64.and(doubled, 0xffff_ffff) : doubled;
}

/**
 * Whether doubles, neither of them zero, have at most 53 digits together. Their product is then
 * exact unless it leaves the normal range. Bit 52 stands for the hidden bit; without one there are
 * fewer digits.
 */
function fewDigits(a: I64, b: I64): I32 {
  const hidden = 1n << BigInt(DOUBLE.fractionBits);
  const zeros = (bits: I64) => i64.ctz(i64.or(bits, hidden));
  return i64.geU(i64.add(zeros(a), zeros(b)), DOUBLE.fractionBits + 1);
}

/** The operands of an operation and its result on the host. */
interface Attempt {
  readonly a: HostFloat;
  readonly b: HostFloat;
  readonly result: HostFloat;
}

/**
 * Whether a finite sum (or difference) is exact: Knuth's TwoSum gives its error exactly when
 * nothing overflows; when something does, the error comes out as an infinity or a NaN and never as
 * zero.
 */
export function sumIsExact(host: typeof f64, subtract: boolean, { a, b, result }: Attempt): I32 {
  const other = host.sub(result, a);
  const lostOfA = host.sub(a, host.sub(result, other));
  const error = subtract
    ? host.sub(lostOfA, host.add(b, other))
    : host.add(lostOfA, host.sub(b, other));
  return host.eq(error, 0);
}

/**
 * Whether an ordinary result of single operands is exact: products of singles are exact as doubles.
 */
function singleIsExact(operation: HostOperation, { a, b, result }: Attempt): I32 {
  const product = (x: HostFloat, y: HostFloat) => f64.mul(promoted(x), promoted(y));
  if (operation === "mul") return f64.eq(product(a, b), promoted(result));
  return f64.eq(product(result, operation === "div" ? b : result), promoted(a));
}

/**
 * Whether an ordinary result of double operands is surely exact.
 *  - A quotient q of a and b of few digits: q × b and a both have 53 digits and differ by at most
 *    2^-53 / (1 + 2^-53) of a, q's rounding error, which is less than what distinct such numbers
 *    differ by.
 *  - A root of at most 26 digits has an exact square, of 52 digits; it is compared. An operand
 *    below the normal range has at most 52 digits too, and then the square equals it, for the same
 *    reason.
 */
function doubleIsExact(operation: HostOperation, { a, b, result }: Attempt): I32 {
  const bits = (value: HostFloat) => i64.reinterpret(value);
  if (operation === "mul") return fewDigits(bits(a), bits(b));
  if (operation === "div") return fewDigits(bits(result), bits(b));
  return i32.and(fewDigits(bits(result), bits(result)), f64.eq(f64.mul(result, result), a));
}

/** An operation of two operands that the host may do in the place of a call. */
const IN_PLACE = /^f(32|64)(Add|Sub|Mul|Div)$/;

/**
 * The host's result of an operation, and whether it stands when rounding is to nearest-even and the inexact
 * flag is set already (1 to 3 above); undefined for operations that are always called.
 */
export function hostInPlace(
  f: FunctionBuilder,
  name: string,
  left: I32 | I64,
  right: I32 | I64,
): { readonly bits: I32 | I64; readonly stands: I32 } | undefined {
  const match = IN_PLACE.exec(name);
  if (match === null) return undefined;
  const format = match[1] === "32" ? SINGLE : DOUBLE;
  const operation = match[2]!.toLowerCase() as Exclude<HostOperation, "sqrt">;
  const host = hostOf(format);
  const result = host[operation](fromBits(format, left), fromBits(format, right));
  const bits = format === SINGLE
    ? f.let(toBits(format, result) as I32)
    : f.let(toBits(format, result) as I64);
  const isSum = operation === "add" || operation === "sub";
  const wide = widen(format, bits);
  return { bits, stands: isSum ? isFinite(format, wide) : isOrdinary(format, wide) };
}

/** Tries the host's operation; returns from the function when its result stands. */
export function tryHost(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  operation: HostOperation,
  operands: readonly (I32 | I64)[],
  mode: I32,
): void {
  const host = hostOf(format);
  const isSum = operation === "add" || operation === "sub";
  const accepted = isSum ? isFinite : isOrdinary;
  f.if(i32.eq(mode, ROUND.nearestEven), () => {
    const a = f.let(fromBits(format, operands[0]!));
    const b = operands.length > 1 ? f.let(fromBits(format, operands[1]!)) : a;
    const result = f.let(operation === "sqrt" ? host.sqrt(a) : host[operation](a, b));
    const bits = toBits(format, result);
    const exact = () => {
      if (isSum) return sumIsExact(host, operation === "sub", { a, b, result });
      const isExact = format === SINGLE ? singleIsExact : doubleIsExact;
      return isExact(operation, { a, b, result });
    };
    f.if(accepted(format, widen(format, bits)), () => {
      f.if(inexactIsSet(code), () => f.return(bits), undefined, "likely");
      f.if(exact(), () => f.return(bits));
    });
  });
}

/**
 * Tries to convert an integer. The host's operation reads it as signed, so that an `unsigned` one
 * must not have its highest bit set. Integers of no more digits than the format has are exact in
 * every mode.
 */
export function tryHostFromInteger(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  value: I64,
  mode: I32,
  unsigned: boolean,
): void {
  const host = hostOf(format);
  const converted = toBits(format, host.convertI64S(value));
  const most = 1n << BigInt(format.fractionBits + 1);
  const allowed = i32.and(inexactIsSet(code), i32.eq(mode, ROUND.nearestEven));
  const short = unsigned ? i64.leU(value, most) : i64.leU(i64.add(value, most), 2n * most);
  f.if(short, () => f.return(converted), undefined, "likely");
  const signed = unsigned ? i32.and(allowed, i64.geS(value, 0)) : allowed;
  f.if(signed, () => f.return(converted));
}

/** Tries to narrow a double to a single. What comes back when widened is exact in every mode. */
export function tryHostNarrowing(code: FloatCode, f: FunctionBuilder, bits: I64, mode: I32): void {
  const value = f64.reinterpret(bits);
  const result = f.let(f32.demote(value));
  const narrow = f.let(i32.reinterpret(result));
  f.if(f64.eq(f64.promote(result), value), () => f.return(narrow));
  const allowed = i32.and(inexactIsSet(code), i32.eq(mode, ROUND.nearestEven));
  f.if(
    i32.and(allowed, isOrdinary(SINGLE, i64.extendI32U(narrow))),
    () => f.return(narrow),
  );
}

/** Tries to widen a single to a double: exact for all but NaNs. */
export function tryHostWidening(f: FunctionBuilder, bits: I32): void {
  const value = f32.reinterpret(bits);
  f.if(
    f32.eq(value, value),
    () => f.return(i64.reinterpret(f64.promote(value))),
    undefined,
    "likely",
  );
}
