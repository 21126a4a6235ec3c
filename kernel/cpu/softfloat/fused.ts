/**
 * Fused multiply-add: a × b + c rounded once (IEEE 754-2008 section 5.4.1). The product is kept
 * whole in 128 bits, the addend is aligned to it, and what alignment loses is kept as one sticky
 * bit. Before that comes a fast path (host_fused.ts); no host's fused operation is used.
 */
import {
  type FunctionBuilder,
  type FunctionReference,
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
  SINGLE,
  unpack,
  widen,
} from "./format.ts";
import { tryHostFusedDouble, tryHostFusedSingle } from "./host_fused.ts";

/** A 128-bit magnitude whose highest bit is 126, with sign and exponent. */
interface Wide {
  readonly high: Local<"i64">;
  readonly low: Local<"i64">;
  readonly sign: Local<"i64">;
  readonly exponent: Local<"i32">;
}

/** Generates f32Fma or f64Fma. */
export function emitFused(
  code: FloatCode,
  format: Format,
  target: FunctionReference<
    readonly ["i32", "i32", "i32", "i32"] | readonly ["i64", "i64", "i64", "i32"],
    "i32" | "i64"
  >,
): void {
  code.module.define(
    target as FunctionReference<readonly ["i64", "i64", "i64", "i32"], "i64">,
    (f) => {
      const [left, right, addend, mode] = f.parameters;
      if (format === SINGLE) tryHostFusedSingle(code, f, [left, right, addend] as never, mode);
      else tryHostFusedDouble(code, f, [left, right, addend], mode);
      const a = unpack(format, f, widen(format, left));
      const b = unpack(format, f, widen(format, right));
      const c = unpack(format, f, widen(format, addend));
      const sign = f.let(i64.xor(a.sign, b.sign));
      emitSpecials(code, format, f, [a, b, c], sign, mode);
      const product = wideProduct(format, f, a, b, sign);
      f.if(isZero(c), () => {
        const sticky = i64.extendI32U(i64.ne(product.low, 0));
        const significand = i64.or(product.high, sticky);
        f.return(packed(code, format, sign, product.exponent, significand, mode));
      });
      const other: Wide = {
        high: c.significand,
        low: f.let(i64.const(0)),
        sign: c.sign,
        exponent: c.exponent,
      };
      orderWide(f, product, other);
      alignWide(f, other, f.let(i32.sub(product.exponent, other.exponent)));
      f.if(
        i64.eq(product.sign, other.sign),
        () => addWide(code, format, f, product, other, mode),
        () => subtractWide(code, format, f, product, other, mode),
      );
    },
  );
}

/** NaNs, infinities, and products that are zero. */
function emitSpecials(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  [a, b, c]: readonly [Parts, Parts, Parts],
  sign: Local<"i64">,
  mode: I32,
): void {
  const finiteZero = (p: Parts) => i32.and(isZero(p), i32.eqz(isSpecial(format, p)));
  const isInfinite = (p: Parts) => i32.and(isSpecial(format, p), i32.eqz(isNan(format, p.bits)));
  // Infinity times zero is invalid even when the addend is a quiet NaN.
  const invalid = i32.or(
    i32.and(isInfinite(a), finiteZero(b)),
    i32.and(isInfinite(b), finiteZero(a)),
  );
  f.if(invalid, () => raise(code, f, FLAG.invalid));
  const anyNan = [a, b, c].map((p) => isNan(format, p.bits)).reduce((x, y) => i32.or(x, y));
  f.if(anyNan, () => returnNan(code, format, f, [a.bits, b.bits, c.bits]));
  f.if(invalid, () => f.return(narrow(format, format.canonicalNan)));
  f.if(i32.or(isSpecial(format, a), isSpecial(format, b)), () => {
    const cancels = i32.and(isSpecial(format, c), i64.ne(sign, c.sign));
    f.if(cancels, () => returnInvalid(code, format, f));
    f.return(narrow(format, i64.or(signBit(format, sign), infinity(format))));
  });
  f.if(isSpecial(format, c), () => f.return(narrow(format, c.bits)));
  f.if(i32.or(isZero(a), isZero(b)), () => {
    f.if(isZero(c), () => {
      const zeroSign = i64.select(
        i64.eq(sign, c.sign),
        sign,
        i64.extendI32U(i32.eq(mode, ROUND.down)),
      );
      f.return(narrow(format, signBit(format, zeroSign)));
    });
    f.return(narrow(format, c.bits));
  });
}

function wideProduct(
  format: Format,
  f: FunctionBuilder,
  a: Parts,
  b: Parts,
  sign: Local<"i64">,
): Wide {
  const doubled = f.let(i64.shl(b.significand, 1));
  const high = f.let(highProduct(f, a.significand, doubled));
  const low = f.let(i64.mul(a.significand, doubled));
  const exponent = f.let(i32.add(i32.sub(i32.add(a.exponent, b.exponent), format.bias), 1));
  f.if(i64.eqz(i64.shrU(high, 62)), () => {
    f.set(high, i64.or(i64.shl(high, 1), i64.shrU(low, 63)));
    f.set(low, i64.shl(low, 1));
    f.set(exponent, i32.sub(exponent, 1));
  });
  return { high, low, sign: f.let(sign), exponent };
}

/** Swaps so that the first has the larger magnitude. */
function orderWide(f: FunctionBuilder, a: Wide, b: Wide): void {
  const sameHigh = i64.eq(a.high, b.high);
  const smaller = i32.or(
    i32.ltS(a.exponent, b.exponent),
    i32.and(
      i32.eq(a.exponent, b.exponent),
      i32.or(i64.ltU(a.high, b.high), i32.and(sameHigh, i64.ltU(a.low, b.low))),
    ),
  );
  f.if(smaller, () => {
    for (const key of ["high", "low", "sign"] as const) {
      const kept = f.let(a[key]);
      f.set(a[key], b[key]);
      f.set(b[key], kept);
    }
    const kept = f.let(a.exponent);
    f.set(a.exponent, b.exponent);
    f.set(b.exponent, kept);
  });
}

/** Shifts right by a distance; a lost one bit makes the lowest bit one. */
function alignWide(f: FunctionBuilder, value: Wide, distance: Local<"i32">): void {
  const { high, low } = value;
  const sticky = (bits: I64) => i64.extendI32U(i64.ne(bits, 0));
  f.if(i32.gtU(distance, 127), () => {
    f.set(low, 1);
    f.set(high, 0);
  }, () => {
    f.if(i32.geU(distance, 64), () => {
      f.set(low, i64.or(high, sticky(low)));
      f.set(high, 0);
      f.set(distance, i32.sub(distance, 64));
    });
    f.if(distance, () => {
      const count = f.let(i64.extendI32U(distance));
      const back = i64.sub(64, count);
      const lost = f.let(sticky(i64.shl(low, back)));
      f.set(low, i64.or(i64.or(i64.shrU(low, count), i64.shl(high, back)), lost));
      f.set(high, i64.shrU(high, count));
    });
  });
}

function addWide(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  a: Wide,
  b: Wide,
  mode: I32,
): void {
  const low = f.let(i64.add(a.low, b.low));
  const carry = i64.extendI32U(i64.ltU(low, b.low));
  // Both highs are below 2^63, so that the sum with its carry fits 64 bits unsigned.
  const high = f.let(i64.add(i64.add(a.high, b.high), carry));
  const exponent = f.let(a.exponent);
  f.set(low, i64.extendI32U(i64.ne(low, 0)));
  f.if(i64.ltS(high, 0), () => {
    f.set(low, i64.or(low, i64.and(high, 1)));
    f.set(high, i64.shrU(high, 1));
    f.set(exponent, i32.add(exponent, 1));
  });
  f.return(packed(code, format, a.sign, exponent, i64.or(high, low), mode));
}

function subtractWide(
  code: FloatCode,
  format: Format,
  f: FunctionBuilder,
  a: Wide,
  b: Wide,
  mode: I32,
): void {
  const low = f.let(i64.sub(a.low, b.low));
  const borrow = i64.extendI32U(i64.ltU(a.low, b.low));
  const high = f.let(i64.sub(i64.sub(a.high, b.high), borrow));
  const exponent = f.let(a.exponent);
  f.if(i64.eqz(high), () => {
    f.if(i64.eqz(low), () => {
      const negative = i64.extendI32U(i32.eq(mode, ROUND.down));
      f.return(narrow(format, signBit(format, negative)));
    });
    f.set(high, low);
    f.set(low, 0);
    f.set(exponent, i32.sub(exponent, 64));
  });
  f.if(i64.ltS(high, 0), () => {
    const lost = i64.or(i64.and(high, 1), low);
    f.set(low, i64.extendI32U(i64.ne(lost, 0)));
    f.set(high, i64.shrU(high, 1));
    f.set(exponent, i32.add(exponent, 1));
  }, () => {
    const zeros = f.let(i64.sub(i64.clz(high), 1));
    f.if(i64.ne(zeros, 0), () => {
      f.set(high, i64.or(i64.shl(high, zeros), i64.shrU(low, i64.sub(64, zeros))));
      f.set(low, i64.shl(low, zeros));
      f.set(exponent, i32.sub(exponent, i32.wrap(zeros)));
    });
  });
  const sticky = i64.extendI32U(i64.ne(low, 0));
  f.return(packed(code, format, a.sign, exponent, i64.or(high, sticky), mode));
}
