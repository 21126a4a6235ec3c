/**
 * TABLE of the WebAssembly opcodes that the kernel's code generators use.
 * Source: WebAssembly Core Specification 2.0, "Index of Instructions", and the tail-call extension.
 */

/** Value types (Core Specification, "Value Types"). */
export const VALUE_TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c } as const;

/** Name of a WebAssembly number type. */
export type WasmType = keyof typeof VALUE_TYPE;

/** Control instructions and those that touch locals, globals and calls. */
export const CONTROL = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  emptyBlockType: 0x40,
} as const;

/** Constants. */
export const CONST = { i32: 0x41, i64: 0x42, f32: 0x43, f64: 0x44 } as const;

/** Loads: opcode by result type and width. */
export const LOAD = {
  i32: 0x28,
  i64: 0x29,
  f32: 0x2a,
  f64: 0x2b,
  i32Load8S: 0x2c,
  i32Load8U: 0x2d,
  i32Load16S: 0x2e,
  i32Load16U: 0x2f,
  i64Load8S: 0x30,
  i64Load8U: 0x31,
  i64Load16S: 0x32,
  i64Load16U: 0x33,
  i64Load32S: 0x34,
  i64Load32U: 0x35,
} as const;

/** Stores: opcode by value type and width. */
export const STORE = {
  i32: 0x36,
  i64: 0x37,
  f32: 0x38,
  f64: 0x39,
  i32Store8: 0x3a,
  i32Store16: 0x3b,
  i64Store8: 0x3c,
  i64Store16: 0x3d,
  i64Store32: 0x3e,
} as const;

/** 32-bit integer instructions. */
export const I32 = {
  eqz: 0x45,
  eq: 0x46,
  ne: 0x47,
  ltS: 0x48,
  ltU: 0x49,
  gtS: 0x4a,
  gtU: 0x4b,
  leS: 0x4c,
  leU: 0x4d,
  geS: 0x4e,
  geU: 0x4f,
  clz: 0x67,
  ctz: 0x68,
  popcnt: 0x69,
  add: 0x6a,
  sub: 0x6b,
  mul: 0x6c,
  divS: 0x6d,
  divU: 0x6e,
  remS: 0x6f,
  remU: 0x70,
  and: 0x71,
  or: 0x72,
  xor: 0x73,
  shl: 0x74,
  shrS: 0x75,
  shrU: 0x76,
  rotl: 0x77,
  rotr: 0x78,
  wrapI64: 0xa7,
  reinterpretF32: 0xbc,
  extend8S: 0xc0,
  extend16S: 0xc1,
} as const;

/** 64-bit integer instructions. */
export const I64 = {
  eqz: 0x50,
  eq: 0x51,
  ne: 0x52,
  ltS: 0x53,
  ltU: 0x54,
  gtS: 0x55,
  gtU: 0x56,
  leS: 0x57,
  leU: 0x58,
  geS: 0x59,
  geU: 0x5a,
  clz: 0x79,
  ctz: 0x7a,
  popcnt: 0x7b,
  add: 0x7c,
  sub: 0x7d,
  mul: 0x7e,
  divS: 0x7f,
  divU: 0x80,
  remS: 0x81,
  remU: 0x82,
  and: 0x83,
  or: 0x84,
  xor: 0x85,
  shl: 0x86,
  shrS: 0x87,
  shrU: 0x88,
  rotl: 0x89,
  rotr: 0x8a,
  extendI32S: 0xac,
  extendI32U: 0xad,
  truncF64U: 0xb1,
  reinterpretF64: 0xbd,
  extend8S: 0xc2,
  extend16S: 0xc3,
  extend32S: 0xc4,
} as const;

/** 32-bit float instructions. */
export const F32 = {
  eq: 0x5b,
  ne: 0x5c,
  lt: 0x5d,
  gt: 0x5e,
  le: 0x5f,
  ge: 0x60,
  abs: 0x8b,
  neg: 0x8c,
  sqrt: 0x91,
  add: 0x92,
  sub: 0x93,
  mul: 0x94,
  div: 0x95,
  convertI32S: 0xb2,
  convertI32U: 0xb3,
  convertI64S: 0xb4,
  convertI64U: 0xb5,
  demoteF64: 0xb6,
  reinterpretI32: 0xbe,
} as const;

/** 64-bit float instructions. */
export const F64 = {
  eq: 0x61,
  ne: 0x62,
  lt: 0x63,
  gt: 0x64,
  le: 0x65,
  ge: 0x66,
  abs: 0x99,
  neg: 0x9a,
  sqrt: 0x9f,
  add: 0xa0,
  sub: 0xa1,
  mul: 0xa2,
  div: 0xa3,
  convertI32S: 0xb7,
  convertI32U: 0xb8,
  convertI64S: 0xb9,
  convertI64U: 0xba,
  promoteF32: 0xbb,
  reinterpretI64: 0xbf,
} as const;

/** Section identifiers of a module (Core Specification, "Sections"). */
export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  global: 6,
  export: 7,
  element: 9,
  code: 10,
  data: 11,
} as const;

/** Bulk memory instructions with their zero memory indices. */
export const BULK = { memoryFill: [0xfc, 11, 0] } as const;
