/**
 * Loads and stores of 1, 2, 4 or 8 bytes at a host address, as the instructions want them, for every tier.
 */
import { type FunctionBuilder, i64 } from "../wasm/mod.ts";
import type { I32, I64, Width } from "./isa/ops.ts";

/** The low bytes of a value, sign-extended to 64 bits. */
export function signExtend(width: Width, value: I64): I64 {
  if (width === 1) return i64.extend8S(value);
  if (width === 2) return i64.extend16S(value);
  return width === 4 ? i64.extend32S(value) : value;
}

/** A load, extended to 64 bits. */
export function loadFrom(width: Width, signed: boolean, host: I32): I64 {
  if (width === 8) return i64.load(host);
  if (width === 4) return signed ? i64.load32S(host) : i64.load32U(host);
  if (width === 2) return signed ? i64.load16S(host) : i64.load16U(host);
  return signed ? i64.load8S(host) : i64.load8U(host);
}

/** Stores the low bytes of a value. */
export function storeTo(f: FunctionBuilder, width: Width, host: I32, value: I64): void {
  if (width === 8) f.store64(host, 0, value);
  else if (width === 4) f.store32(host, 0, value);
  else if (width === 2) f.store16(host, 0, value);
  else f.store8(host, 0, value);
}
