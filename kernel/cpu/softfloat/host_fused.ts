/**
 * Fast paths of fused multiply-add without a host's fused operation: the result comes from sums and
 * products whose errors are known exactly. The rules of host_path.ts decide when a result may
 * stand.
 */
import {
  type Expression,
  f32,
  f64,
  type FunctionBuilder,
  i32,
  i64,
  type Local,
} from "../../wasm/mod.ts";
import { DOUBLE, type FloatCode, type I32, type I64, ROUND, SINGLE } from "./format.ts";
import { inexactIsSet, isFinite, isOrdinary, sumIsExact } from "./host_path.ts";

/**
 * The digits of a double below those of a single; a double with these ones lies halfway between
 * two.
 */
const BELOW_SINGLE = (1n << 29n) - 1n;
const HALFWAY = 1n << 28n;

/**
 * Tries a single a × b + c in doubles. The product is exact there; the sum is rounded to a double
 * and then to a single. Points halfway between singles are doubles, and rounding never moves a
 * value across a double: so the second rounding decides rightly unless the sum became such a point.
 */
export function tryHostFusedSingle(
  code: FloatCode,
  f: FunctionBuilder,
  [a, b, c]: readonly [I32, I32, I32],
  mode: I32,
): void {
  const double = (bits: I32) => f64.promote(f32.reinterpret(bits));
  f.if(i32.eq(mode, ROUND.nearestEven), () => {
    const product = f.let(f64.mul(double(a), double(b)));
    const addend = f.let(double(c));
    const sum = f.let(f64.add(product, addend));
    const result = f.let(i32.reinterpret(f32.demote(sum)));
    f.if(inexactIsSet(code), () => {
      const digits = i64.and(i64.reinterpret(sum), BELOW_SINGLE);
      const decided = i32.and(
        isOrdinary(SINGLE, i64.extendI32U(result)),
        i64.ne(digits, HALFWAY),
      );
      f.if(decided, () => f.return(result), undefined, "likely");
    });
    // An exact result raises nothing wherever it lies. Zero sums are exact, and so come here.
    const exact = i32.and(
      f64.eq(double(result), sum),
      sumIsExact(f64, false, { a: product, b: addend, result: sum }),
    );
    f.if(i32.and(exact, isFinite(SINGLE, i64.extendI32U(result))), () => f.return(result));
  });
}

/** A double. */
type F64 = Expression<"f64">;
/** The nearest double to a sum or product, and what it leaves out, which is a double too. */
interface Pair {
  readonly value: Local<"f64">;
  readonly error: Local<"f64">;
}

/** Knuth's TwoSum: exact when nothing overflows. */
function twoSum(f: FunctionBuilder, a: F64, b: F64): Pair {
  const value = f.let(f64.add(a, b));
  const other = f.let(f64.sub(value, a));
  const error = f.let(f64.add(f64.sub(a, f64.sub(value, other)), f64.sub(b, other)));
  return { value, error };
}

/** Veltkamp's splitting of 53 digits into two doubles of at most 26. */
const SPLITTER = 2 ** 27 + 1;

/** Dekker's product: exact when nothing overflows or is tiny. */
function twoProduct(f: FunctionBuilder, a: F64, b: F64): Pair {
  const split = (x: F64) => {
    const scaled = f.let(f64.mul(x, SPLITTER));
    const high = f.let(f64.sub(scaled, f64.sub(scaled, x)));
    return { high, low: f.let(f64.sub(x, high)) };
  };
  const value = f.let(f64.mul(a, b));
  const x = split(a);
  const y = split(b);
  const first = f64.sub(f64.mul(x.high, y.high), value);
  const second = f64.add(f64.add(first, f64.mul(x.high, y.low)), f64.mul(x.low, y.high));
  return { value, error: f.let(f64.add(second, f64.mul(x.low, y.low))) };
}

/** Exponents of factors from 2^-255 to 2^256 and addends below 2^600 keep every step in range. */
const FACTOR_LEAST = BigInt(DOUBLE.bias - 255) << 53n;
const FACTOR_SPAN = 512n << 53n;
const ADDEND_MOST = BigInt(DOUBLE.bias + 600) << 53n;

/**
 * Tries a double a × b + c. With product + error p + e, sums s + t of p + c, v + w of t + e and
 * r + q of s + v, each pair exact, the true value is r + q + w, and r is the double next to r + q.
 *
 * When w is zero, r is the result. Otherwise t is not zero (or v would be e), so that p and -c are
 * not within a factor of two (Sterbenz): |s| is at least half of |p|, |e| and |t| are both at most
 * 2^-52 of |s|, and |v| is far below |r|. So halfway points next to r are multiples of v's unit, as
 * the sum r + q of s and v is, and |w| is at most half of that unit: w decides only if r + q is
 * itself a halfway point. Then |q| is a power of two, whose fraction field is zero.
 */
export function tryHostFusedDouble(
  code: FloatCode,
  f: FunctionBuilder,
  [a, b, c]: readonly [I64, I64, I64],
  mode: I32,
): void {
  const isFactor = (bits: I64) => i64.ltU(i64.sub(i64.shl(bits, 1), FACTOR_LEAST), FACTOR_SPAN);
  const inRange = i32.and(
    i32.and(isFactor(a), isFactor(b)),
    i64.ltU(i64.shl(c, 1), ADDEND_MOST),
  );
  f.if(i32.and(i32.eq(mode, ROUND.nearestEven), inRange), () => {
    const product = twoProduct(f, f.let(f64.reinterpret(a)), f.let(f64.reinterpret(b)));
    const sum = twoSum(f, product.value, f.let(f64.reinterpret(c)));
    const rest = twoSum(f, sum.error, product.error);
    const result = twoSum(f, sum.value, rest.value);
    const bits = f.let(i64.reinterpret(result.value));
    const noRest = f64.eq(rest.error, 0);
    f.if(isOrdinary(DOUBLE, bits), () => {
      f.if(inexactIsSet(code), () => {
        const fraction = i64.shl(i64.reinterpret(result.error), 64 - DOUBLE.fractionBits);
        f.if(i32.or(noRest, i64.ne(fraction, 0)), () => f.return(bits), undefined, "likely");
      });
      f.if(i32.and(noRest, f64.eq(result.error, 0)), () => f.return(bits));
    });
  });
}
