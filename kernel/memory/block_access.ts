/**
 * How generated code reads and writes the hart and control blocks: by name, at fixed addresses.
 * Invariant: a field's width comes from its layout table, never from the place of use.
 */
import {
  type Expression,
  type FunctionBuilder,
  i32,
  type I32Value,
  i64,
  type I64Value,
} from "../wasm/mod.ts";
import { CONTROL } from "./control_layout.ts";
import { HART } from "./hart_layout.ts";
import { CONTROL_BLOCK, HART_BLOCK } from "./memory_plan.ts";

type NamesOf<F extends Readonly<Record<string, readonly [number, number]>>, W extends number> = {
  [K in keyof F]: F[K][0] extends W ? K : never;
}[keyof F];

/** 64-bit fields of a hart. */
export type HartField64 = NamesOf<typeof HART.fields, 8>;
/** 32-bit fields of a hart. */
export type HartField32 = NamesOf<typeof HART.fields, 4>;
/** 64-bit fields of the control block. */
export type ControlField64 = NamesOf<typeof CONTROL.fields, 8>;
/** 32-bit fields of the control block. */
export type ControlField32 = NamesOf<typeof CONTROL.fields, 4>;

/** Address of a field of the current hart. */
export function hartAddress(field: HartField64 | HartField32, index = 0): number {
  return HART_BLOCK + HART.offset[field] + index * HART.fields[field][0];
}

/** Address of a field of the control block. */
export function controlAddress(field: ControlField64 | ControlField32): number {
  return CONTROL_BLOCK + CONTROL.offset[field];
}

/** Reads a 64-bit field of the current hart. */
export function hart64(field: HartField64, index = 0): Expression<"i64"> {
  return i64.load(0, hartAddress(field, index));
}

/** Reads a 32-bit field of the current hart. */
export function hart32(field: HartField32): Expression<"i32"> {
  return i32.load(0, hartAddress(field));
}

/** Writes a 64-bit field of the current hart. */
export function setHart64(
  f: FunctionBuilder,
  field: HartField64,
  value: I64Value,
  index = 0,
): void {
  f.store64(0, hartAddress(field, index), value);
}

/** Writes a 32-bit field of the current hart. */
export function setHart32(f: FunctionBuilder, field: HartField32, value: I32Value): void {
  f.store32(0, hartAddress(field), value);
}

/** Reads a 64-bit field of the control block. */
export function control64(field: ControlField64): Expression<"i64"> {
  return i64.load(0, controlAddress(field));
}

/** Reads a 32-bit field of the control block. */
export function control32(field: ControlField32): Expression<"i32"> {
  return i32.load(0, controlAddress(field));
}

/** Writes a 64-bit field of the control block. */
export function setControl64(f: FunctionBuilder, field: ControlField64, value: I64Value): void {
  f.store64(0, controlAddress(field), value);
}

/** Writes a 32-bit field of the control block. */
export function setControl32(f: FunctionBuilder, field: ControlField32, value: I32Value): void {
  f.store32(0, controlAddress(field), value);
}

/** Adds one to a counter that the guest never sees. */
export function count(f: FunctionBuilder, field: ControlField64): void {
  setControl64(f, field, i64.add(control64(field), 1));
}
