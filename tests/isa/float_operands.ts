/**
 * Operands where floating point goes wrong: zeros, subnormals, the ends of the normal range,
 * infinities, NaNs, values next to halfway between two others, and operands that nearly cancel each
 * other.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import { FLOAT_FUNCTIONS, type FloatFunctionName } from "../../kernel/cpu/softfloat/names.ts";
import { expected } from "./float_oracle.ts";

/** Where the fields of a format lie. */
interface Fields {
  readonly width: number;
  readonly fraction: number;
}

const FIELDS: Record<"f32" | "f64", Fields> = {
  f32: { width: 32, fraction: 23 },
  f64: { width: 64, fraction: 52 },
};

const ones = (bits: number) => (1n << BigInt(bits)) - 1n;

/** Digits of one of several patterns: few bits set, runs of ones, or anything. */
function digits(rng: Prng, bits: number): bigint {
  const any = rng.u64() & ones(bits);
  const at = BigInt(rng.below(bits));
  switch (rng.below(8)) {
    case 0:
      return 0n;
    case 1:
      return ones(bits);
    case 2:
      return 1n << at;
    case 3:
      return ones(bits) ^ 1n << at;
    case 4:
      return any >> at << at;
    case 5:
      return ones(bits) >> at << at;
    case 6:
      return ones(Number(at));
    default:
      return any;
  }
}

/** One float, often special. */
export function floatOperand(rng: Prng, format: "f32" | "f64"): bigint {
  const { width, fraction } = FIELDS[format];
  const top = ones(width - fraction - 1);
  const bias = top >> 1n;
  const near = bias + BigInt(rng.below(2 * fraction + 8) - fraction - 4);
  const fields = [0n, 1n, 2n, top, top - 1n, top - 2n, bias, near, near, near, rng.u64() & top];
  const field = rng.pick(fields);
  const sign = rng.u64() & 1n;
  return (sign << BigInt(width - 1)) | (field << BigInt(fraction)) | digits(rng, fraction);
}

/** One integer of a type such as "I32", with any number of digits. */
function integerOperand(rng: Prng, type: string): bigint {
  const width = Number(type.slice(1));
  const value = digits(rng, width) >> BigInt(rng.below(width));
  return BigInt.asUintN(width, rng.below(2) === 0 ? value : -value);
}

/** A float a few units in the last place away, perhaps of the other sign. */
function neighbour(rng: Prng, format: "f32" | "f64", bits: bigint): bigint {
  const { width } = FIELDS[format];
  const moved = bits + BigInt(rng.below(9) - 4);
  return BigInt.asUintN(width, rng.below(2) === 0 ? moved : moved ^ 1n << BigInt(width - 1));
}

/**
 * Factors (1 + 2^-i) (1 + 2^-j), perhaps negative, whose product is halfway between two floats, and
 * an addend so far below that only rounding once sees on which side of it the sum lies.
 */
function halfway(rng: Prng, format: "f32" | "f64"): bigint[] {
  const { width, fraction } = FIELDS[format];
  const bias = ones(width - fraction - 1) >> 1n;
  const one = bias << BigInt(fraction);
  const sign = () => (rng.u64() & 1n) << BigInt(width - 1);
  const at = rng.below(fraction);
  const far = bias - BigInt(fraction + 2 + rng.below(2 * fraction));
  return [
    sign() | one | 1n << BigInt(at),
    sign() | one | 1n << BigInt(fraction - 1 - at),
    sign() | far << BigInt(fraction) | digits(rng, fraction),
  ];
}

/** Operands for a function, as bits; a rounding mode is not among them. */
export function operandsFor(rng: Prng, name: FloatFunctionName): bigint[] {
  const format = name.slice(0, 3) as "f32" | "f64";
  const from = /From([IU]\d+|F32|F64)$/.exec(name)?.[1];
  if (from?.startsWith("F")) return [floatOperand(rng, from.toLowerCase() as "f32" | "f64")];
  if (from !== undefined) return [integerOperand(rng, from)];
  const a = floatOperand(rng, format);
  const b = rng.below(8) === 0 ? neighbour(rng, format, a) : floatOperand(rng, format);
  if (name.endsWith("Fma")) {
    if (rng.below(8) === 0) return halfway(rng, format);
    if (rng.below(3) > 0) return [a, b, floatOperand(rng, format)];
    const product = expected(`${format}Mul`, [a, b], rng.below(5)).bits;
    return [a, b, neighbour(rng, format, product)];
  }
  return [a, b].slice(0, arityOf(name));
}

/** Number of operands without the rounding mode. */
export function arityOf(name: FloatFunctionName): number {
  const parameters: readonly string[] = FLOAT_FUNCTIONS[name][0];
  return takesMode(name) ? parameters.length - 1 : parameters.length;
}

/** Whether the last parameter is a rounding mode. */
export function takesMode(name: FloatFunctionName): boolean {
  const exact = /(Min|Max|Eq|Lt|Le|Class|f64FromI32|f64FromU32|f64FromF32)$/;
  return !exact.test(name);
}
