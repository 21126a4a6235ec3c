/**
 * Floating point as IEEE 754-2008 and the F and D chapters of the unprivileged ISA define it,
 * worked out with exact rationals: the judge of kernel/cpu/softfloat, written from the standards
 * and sharing nothing with it. Slow and plain.
 *
 * A finite result is first known exactly and then rounded once. Whether it is tiny is decided after
 * rounding to the format's precision with an unbounded exponent.
 */
import type { FloatFunctionName } from "../../kernel/cpu/softfloat/names.ts";

/**
 * What an operation gives: bits of the result and the flags it raises (NX 1, UF 2, OF 4, DZ 8, NV
 * 16).
 */
export interface Outcome {
  readonly bits: bigint;
  readonly flags: number;
}

const NX = 1;
const UF = 2;
const OF = 4;
const DZ = 8;
const NV = 16;

/** A binary format by its parameters in the standard: precision, largest exponent, width. */
interface Shape {
  readonly precision: number;
  readonly largest: number;
  readonly width: number;
  readonly nan: bigint;
}

const SHAPES = {
  f32: { precision: 24, largest: 127, width: 32, nan: 0x7fc0_0000n },
  f64: { precision: 53, largest: 1023, width: 64, nan: 0x7ff8_0000_0000_0000n },
} as const satisfies Record<string, Shape>;

/** numerator / denominator, or its square root. The denominator is positive. */
interface Exact {
  readonly negative: boolean;
  readonly numerator: bigint;
  readonly denominator: bigint;
  readonly root?: boolean;
}

interface Number754 {
  readonly kind: "finite" | "infinity" | "quiet" | "signaling";
  readonly value: Exact;
  readonly bits: bigint;
}

function decode(shape: Shape, bits: bigint): Number754 {
  const fractionBits = BigInt(shape.precision - 1);
  const fraction = bits & ((1n << fractionBits) - 1n);
  const top = 2n * BigInt(shape.largest) + 1n;
  const field = bits >> fractionBits & top;
  const negative = bits >> BigInt(shape.width - 1) === 1n;
  if (field === top) {
    const quiet = fraction >> (fractionBits - 1n) === 1n;
    const kind = fraction === 0n ? "infinity" : quiet ? "quiet" : "signaling";
    return { kind, bits, value: { negative, numerator: 0n, denominator: 1n } };
  }
  const significand = field === 0n ? fraction : fraction | 1n << fractionBits;
  const power = (field === 0n ? 1n : field) - BigInt(shape.largest) - fractionBits;
  const numerator = power > 0n ? significand << power : significand;
  const denominator = power < 0n ? 1n << -power : 1n;
  return { kind: "finite", bits, value: { negative, numerator, denominator } };
}

const bitLength = (n: bigint) => n.toString(2).length;

function squareRootFloor(n: bigint): bigint {
  let guess = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = guess + n / guess >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
}

/** floor(|value| × 2^power), and whether that left something out. */
function scaled(value: Exact, power: number): { floor: bigint; rest: boolean } {
  const shift = BigInt(value.root ? 2 * power : power);
  const numerator = shift > 0n ? value.numerator << shift : value.numerator;
  const denominator = shift < 0n ? value.denominator << -shift : value.denominator;
  const quotient = numerator / denominator;
  if (!value.root) return { floor: quotient, rest: quotient * denominator !== numerator };
  const floor = quotient === 0n ? 0n : squareRootFloor(quotient);
  return { floor, rest: floor * floor * denominator !== numerator };
}

/** |value| × 2^power rounded to an integer in a mode (0 RNE, 1 RTZ, 2 RDN, 3 RUP, 4 RMM). */
function rounded(value: Exact, power: number, mode: number): { whole: bigint; inexact: boolean } {
  const { floor, rest } = scaled(value, power + 1);
  const whole = floor >> 1n;
  const half = (floor & 1n) === 1n;
  const inexact = half || rest;
  const up = [
    half && (rest || (whole & 1n) === 1n),
    false,
    inexact && value.negative,
    inexact && !value.negative,
    half,
  ][mode]!;
  return { whole: up ? whole + 1n : whole, inexact };
}

/** Largest e with 2^e ≤ |value|; the value is not zero. */
function magnitudeOf(value: Exact): number {
  const difference = bitLength(value.numerator) - bitLength(value.denominator);
  let e = value.root ? (difference >> 1) + 1 : difference + 1;
  while (scaled(value, -e).floor === 0n) e--;
  return e;
}

const signOf = (shape: Shape, negative: boolean) => negative ? 1n << BigInt(shape.width - 1) : 0n;

const infinityOf = (shape: Shape) => 2n * BigInt(shape.largest) + 1n << BigInt(shape.precision - 1);

/** Rounds an exact value into a format. A zero keeps its sign. */
function round(shape: Shape, value: Exact, mode: number): Outcome {
  const sign = signOf(shape, value.negative);
  if (value.numerator === 0n) return { bits: sign, flags: 0 };
  const digits = shape.precision - 1;
  const least = 1 - shape.largest;
  const e = magnitudeOf(value);
  const unbounded = rounded(value, digits - e, mode);
  const carried = bitLength(unbounded.whole) > shape.precision;
  const reached = carried ? e + 1 : e;
  if (reached > shape.largest) {
    const stays = [false, true, !value.negative, value.negative, false][mode]!;
    return { bits: sign | (infinityOf(shape) - (stays ? 1n : 0n)), flags: OF | NX };
  }
  const quantum = Math.max(e, least) - digits;
  const { whole, inexact } = rounded(value, -quantum, mode);
  // Encodings of growing magnitudes are consecutive integers, so that a carry moves on by itself.
  const normal = bitLength(whole) >= shape.precision;
  const field = normal ? BigInt(quantum + digits - least) << BigInt(digits) : 0n;
  const flags = (inexact ? NX : 0) | (inexact && reached < least ? UF : 0);
  return { bits: sign | (field + whole), flags };
}

const isNan = (n: Number754) => n.kind === "quiet" || n.kind === "signaling";
const isZero = (n: Number754) => n.kind === "finite" && n.value.numerator === 0n;

function nanResult(shape: Shape, operands: readonly Number754[], invalid = false): Outcome {
  const signals = invalid || operands.some((n) => n.kind === "signaling");
  return { bits: shape.nan, flags: signals ? NV : 0 };
}

const infinite = (shape: Shape, negative: boolean): Outcome => ({
  bits: signOf(shape, negative) | infinityOf(shape),
  flags: 0,
});

/**
 * A sum of two exact values; an exact zero sum of unlike signs is negative only when rounding down.
 */
function sumOf(a: Exact, b: Exact, mode: number): Exact {
  const left = a.numerator * b.denominator * (a.negative ? -1n : 1n);
  const right = b.numerator * a.denominator * (b.negative ? -1n : 1n);
  const total = left + right;
  const zeroSign = a.negative === b.negative ? a.negative : mode === 2;
  return {
    negative: total === 0n ? zeroSign : total < 0n,
    numerator: total < 0n ? -total : total,
    denominator: a.denominator * b.denominator,
  };
}

const productOf = (a: Exact, b: Exact): Exact => ({
  negative: a.negative !== b.negative,
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
});

const negated = (n: Number754, shape: Shape): Number754 => ({
  ...n,
  bits: n.bits ^ signOf(shape, true),
  value: { ...n.value, negative: !n.value.negative },
});

function add(shape: Shape, a: Number754, b: Number754, mode: number): Outcome {
  if (isNan(a) || isNan(b)) return nanResult(shape, [a, b]);
  if (a.kind === "infinity" || b.kind === "infinity") {
    const clash = a.kind === b.kind && a.value.negative !== b.value.negative;
    if (clash) return nanResult(shape, [], true);
    return infinite(shape, (a.kind === "infinity" ? a : b).value.negative);
  }
  return round(shape, sumOf(a.value, b.value, mode), mode);
}

function multiply(shape: Shape, a: Number754, b: Number754, mode: number): Outcome {
  if (isNan(a) || isNan(b)) return nanResult(shape, [a, b]);
  const negative = a.value.negative !== b.value.negative;
  if (a.kind === "infinity" || b.kind === "infinity") {
    return isZero(a) || isZero(b) ? nanResult(shape, [], true) : infinite(shape, negative);
  }
  return round(shape, productOf(a.value, b.value), mode);
}

function divide(shape: Shape, a: Number754, b: Number754, mode: number): Outcome {
  if (isNan(a) || isNan(b)) return nanResult(shape, [a, b]);
  const negative = a.value.negative !== b.value.negative;
  if (a.kind === "infinity") {
    return b.kind === "infinity" ? nanResult(shape, [], true) : infinite(shape, negative);
  }
  if (b.kind === "infinity") return { bits: signOf(shape, negative), flags: 0 };
  if (isZero(b)) {
    if (isZero(a)) return nanResult(shape, [], true);
    return { ...infinite(shape, negative), flags: DZ };
  }
  const numerator = a.value.numerator * b.value.denominator;
  const denominator = a.value.denominator * b.value.numerator;
  return round(shape, { negative, numerator, denominator }, mode);
}

function squareRoot(shape: Shape, a: Number754, mode: number): Outcome {
  if (isNan(a)) return nanResult(shape, [a]);
  if (isZero(a)) return { bits: a.bits, flags: 0 };
  if (a.value.negative) return nanResult(shape, [], true);
  if (a.kind === "infinity") return infinite(shape, false);
  return round(shape, { ...a.value, root: true }, mode);
}

function fused(
  shape: Shape,
  [a, b, c]: readonly [Number754, Number754, Number754],
  mode: number,
): Outcome {
  const meaningless = a.kind === "infinity" && isZero(b) || b.kind === "infinity" && isZero(a);
  if (meaningless) return nanResult(shape, [], true);
  if (isNan(a) || isNan(b) || isNan(c)) return nanResult(shape, [a, b, c]);
  const negative = a.value.negative !== b.value.negative;
  if (a.kind === "infinity" || b.kind === "infinity") {
    const clash = c.kind === "infinity" && c.value.negative !== negative;
    return clash ? nanResult(shape, [], true) : infinite(shape, negative);
  }
  if (c.kind === "infinity") return infinite(shape, c.value.negative);
  return round(shape, sumOf(productOf(a.value, b.value), c.value, mode), mode);
}

/** Less than zero, zero or more as a is below, equal to or above b; neither is a NaN. */
function order(a: Number754, b: Number754): number {
  const rank = (n: Number754) => n.kind === "infinity" ? (n.value.negative ? -1 : 1) : 0;
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (rank(a) !== 0) return 0;
  const difference = sumOf(a.value, { ...b.value, negative: !b.value.negative }, 0);
  if (difference.numerator === 0n) return 0;
  return difference.negative ? -1 : 1;
}

function compare(operation: string, a: Number754, b: Number754): Outcome {
  if (isNan(a) || isNan(b)) {
    const signals = operation !== "Eq" || a.kind === "signaling" || b.kind === "signaling";
    return { bits: 0n, flags: signals ? NV : 0 };
  }
  const o = order(a, b);
  const holds = operation === "Eq" ? o === 0 : operation === "Lt" ? o < 0 : o <= 0;
  return { bits: holds ? 1n : 0n, flags: 0 };
}

function choose(shape: Shape, operation: string, a: Number754, b: Number754): Outcome {
  const flags = a.kind === "signaling" || b.kind === "signaling" ? NV : 0;
  if (isNan(a) && isNan(b)) return { bits: shape.nan, flags };
  if (isNan(a) || isNan(b)) return { bits: (isNan(a) ? b : a).bits, flags };
  const o = order(a, b);
  const below = o < 0 || o === 0 && a.value.negative;
  return { bits: ((operation === "Min") === below ? a : b).bits, flags };
}

function classify(shape: Shape, a: Number754): Outcome {
  const { negative } = a.value;
  const least = 1n << BigInt(shape.precision - 1);
  const subnormal = (a.bits & (signOf(shape, true) - 1n)) < least;
  const bit = a.kind === "signaling"
    ? 8
    : a.kind === "quiet"
    ? 9
    : a.kind === "infinity"
    ? (negative ? 0 : 7)
    : isZero(a)
    ? (negative ? 3 : 4)
    : subnormal
    ? (negative ? 2 : 5)
    : (negative ? 1 : 6);
  return { bits: 1n << BigInt(bit), flags: 0 };
}

/** To an integer type such as "I32" or "U64"; invalid operands give the type's nearest end. */
function toInteger(type: string, a: Number754, mode: number): Outcome {
  const width = Number(type.slice(1));
  const signed = type[0] === "I";
  const least = signed ? -(1n << BigInt(width - 1)) : 0n;
  const most = (1n << BigInt(signed ? width - 1 : width)) - 1n;
  const end = (value: bigint) => ({ bits: BigInt.asUintN(width, value), flags: NV });
  if (isNan(a)) return end(most);
  if (a.kind === "infinity") return end(a.value.negative ? least : most);
  const { whole, inexact } = rounded(a.value, 0, mode);
  const result = a.value.negative ? -whole : whole;
  if (result < least || result > most) return end(a.value.negative ? least : most);
  return { bits: BigInt.asUintN(width, result), flags: inexact ? NX : 0 };
}

function fromInteger(shape: Shape, type: string, bits: bigint, mode: number): Outcome {
  const width = Number(type.slice(1));
  const value = type[0] === "I" ? BigInt.asIntN(width, bits) : BigInt.asUintN(width, bits);
  const negative = value < 0n;
  return round(shape, { negative, numerator: negative ? -value : value, denominator: 1n }, mode);
}

function fromFloat(shape: Shape, a: Number754, mode: number): Outcome {
  if (isNan(a)) return nanResult(shape, [a]);
  if (a.kind === "infinity") return infinite(shape, a.value.negative);
  return round(shape, a.value, mode);
}

/** What a float function must give for operand bits in a rounding mode. */
export function expected(
  name: FloatFunctionName,
  operands: readonly bigint[],
  mode: number,
): Outcome {
  const shape = SHAPES[name.slice(0, 3) as "f32" | "f64"];
  const operation = name.slice(3);
  const conversion = /^(To|From)([IU]\d+|F32|F64)$/.exec(operation);
  if (conversion !== null) {
    const [, direction, type] = conversion as unknown as [string, string, string];
    const [bits] = operands as [bigint];
    if (direction === "To") return toInteger(type, decode(shape, bits), mode);
    if (type[0] !== "F") return fromInteger(shape, type, bits, mode);
    return fromFloat(shape, decode(SHAPES[type.toLowerCase() as "f32" | "f64"], bits), mode);
  }
  const numbers = operands.map((bits) => decode(shape, bits));
  const [a, b, c] = numbers as [Number754, Number754, Number754];
  switch (operation) {
    case "Add":
      return add(shape, a, b, mode);
    case "Sub":
      return add(shape, a, isNan(b) ? b : negated(b, shape), mode);
    case "Mul":
      return multiply(shape, a, b, mode);
    case "Div":
      return divide(shape, a, b, mode);
    case "Sqrt":
      return squareRoot(shape, a, mode);
    case "Fma":
      return fused(shape, [a, b, c], mode);
    case "Min":
    case "Max":
      return choose(shape, operation, a, b);
    case "Class":
      return classify(shape, a);
    default:
      return compare(operation, a, b);
  }
}
