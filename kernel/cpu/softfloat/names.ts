/**
 * Names and signatures of the exact float operations (F and D chapters of the unprivileged ISA).
 * "f32" values travel as i32 bits, "f64" values as i64 bits; `rm` is a resolved rounding mode
 * (i32). Every operation ORs the flags it raises into the accrued flags of the current hart.
 */

/** Signature: parameters, then the result. */
export const FLOAT_FUNCTIONS = {
  f32Add: [["i32", "i32", "i32"], "i32"],
  f32Sub: [["i32", "i32", "i32"], "i32"],
  f32Mul: [["i32", "i32", "i32"], "i32"],
  f32Div: [["i32", "i32", "i32"], "i32"],
  f32Sqrt: [["i32", "i32"], "i32"],
  /** a × b + c, rounded once. */
  f32Fma: [["i32", "i32", "i32", "i32"], "i32"],
  f32Min: [["i32", "i32"], "i32"],
  f32Max: [["i32", "i32"], "i32"],
  f32Eq: [["i32", "i32"], "i32"],
  f32Lt: [["i32", "i32"], "i32"],
  f32Le: [["i32", "i32"], "i32"],
  f32Class: [["i32"], "i32"],
  f32ToI32: [["i32", "i32"], "i32"],
  f32ToU32: [["i32", "i32"], "i32"],
  f32ToI64: [["i32", "i32"], "i64"],
  f32ToU64: [["i32", "i32"], "i64"],
  f32FromI32: [["i32", "i32"], "i32"],
  f32FromU32: [["i32", "i32"], "i32"],
  f32FromI64: [["i64", "i32"], "i32"],
  f32FromU64: [["i64", "i32"], "i32"],
  f32FromF64: [["i64", "i32"], "i32"],
  f64Add: [["i64", "i64", "i32"], "i64"],
  f64Sub: [["i64", "i64", "i32"], "i64"],
  f64Mul: [["i64", "i64", "i32"], "i64"],
  f64Div: [["i64", "i64", "i32"], "i64"],
  f64Sqrt: [["i64", "i32"], "i64"],
  /** a × b + c, rounded once. */
  f64Fma: [["i64", "i64", "i64", "i32"], "i64"],
  f64Min: [["i64", "i64"], "i64"],
  f64Max: [["i64", "i64"], "i64"],
  f64Eq: [["i64", "i64"], "i32"],
  f64Lt: [["i64", "i64"], "i32"],
  f64Le: [["i64", "i64"], "i32"],
  f64Class: [["i64"], "i32"],
  f64ToI32: [["i64", "i32"], "i32"],
  f64ToU32: [["i64", "i32"], "i32"],
  f64ToI64: [["i64", "i32"], "i64"],
  f64ToU64: [["i64", "i32"], "i64"],
  f64FromI32: [["i32"], "i64"],
  f64FromU32: [["i32"], "i64"],
  f64FromI64: [["i64", "i32"], "i64"],
  f64FromU64: [["i64", "i32"], "i64"],
  f64FromF32: [["i32"], "i64"],
} as const satisfies Record<
  string,
  readonly [readonly ("i32" | "i64")[], "i32" | "i64"]
>;

/** Name of an exact float operation. */
export type FloatFunctionName = keyof typeof FLOAT_FUNCTIONS;
