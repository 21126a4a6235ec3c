/**
 * Expressions of generated WebAssembly: typed trees without effects of their own order. A tree is only
 * written into a function when a statement of function_builder.ts uses it.
 *
 * Invariant: an expression that reads memory or a local sees the values at the statement that uses it,
 * not at the place where it was built. Whoever needs the value of "now" binds it with `let`.
 */
import { CONST, CONTROL, F32, F64, I32, I64, LOAD, type WasmType } from "./opcodes.ts";

export type { WasmType } from "./opcodes.ts";

/** What kind of node an expression is; decides how its fields are written. */
export const NODE = {
  constant: 0,
  local: 1,
  unary: 2,
  binary: 3,
  load: 4,
  call: 5,
  select: 6,
  callIndirect: 7,
  global: 8,
} as const;

/** A typed expression tree. */
export class Expression<T extends WasmType = WasmType> {
  /**
   * @param type type of the value
   * @param kind one of NODE
   * @param opcode WebAssembly opcode, or 0
   * @param immediate constant, local index, memory offset or function index
   * @param operands operand trees in evaluation order
   */
  constructor(
    readonly type: T,
    readonly kind: number,
    readonly opcode: number,
    readonly immediate: number | bigint,
    readonly operands: readonly Expression[],
  ) {}
}

/** A local variable of a function: also the expression that reads it. */
export class Local<T extends WasmType = WasmType> extends Expression<T> {
  /** @param index index among parameters and locals of its function */
  constructor(type: T, readonly index: number) {
    super(type, NODE.local, CONTROL.localGet, index, []);
  }
}

/** An i32 expression or a number to be made a constant. */
export type I32Value = Expression<"i32"> | number;
/** An i64 expression, or a safe integer or bigint to be made a constant. */
export type I64Value = Expression<"i64"> | number | bigint;
/** A 32-bit float expression or constant. */
export type F32Value = Expression<"f32"> | number;
/** A 64-bit float expression or constant. */
export type F64Value = Expression<"f64"> | number;

const none: readonly Expression[] = [];

/** Makes an i32 constant of a number; passes expressions through. */
export function liftI32(value: I32Value): Expression<"i32"> {
  return typeof value === "number"
    ? new Expression("i32", NODE.constant, CONST.i32, value | 0, none)
    : value;
}

/** Makes an i64 constant of a number or bigint; passes expressions through. */
export function liftI64(value: I64Value): Expression<"i64"> {
  return typeof value === "object"
    ? value
    : new Expression("i64", NODE.constant, CONST.i64, value, none);
}

function liftF32(value: F32Value): Expression<"f32"> {
  return typeof value === "number"
    ? new Expression("f32", NODE.constant, CONST.f32, value, none)
    : value;
}

function liftF64(value: F64Value): Expression<"f64"> {
  return typeof value === "number"
    ? new Expression("f64", NODE.constant, CONST.f64, value, none)
    : value;
}

type Unary<From, To extends WasmType> = (a: From) => Expression<To>;
type Binary<From, To extends WasmType> = (a: From, b: From) => Expression<To>;

function unary<From, To extends WasmType>(
  to: To,
  opcode: number,
  lift: (value: From) => Expression,
): Unary<From, To> {
  return (a) => new Expression(to, NODE.unary, opcode, 0, [lift(a)]);
}

function binary<From, To extends WasmType>(
  to: To,
  opcode: number,
  lift: (value: From) => Expression,
): Binary<From, To> {
  return (a, b) => new Expression(to, NODE.binary, opcode, 0, [lift(a), lift(b)]);
}

/** Reads memory at `address + offset` (the sum does not wrap). */
type Load<T extends WasmType> = (address: I32Value, offset?: number) => Expression<T>;

function load<T extends WasmType>(type: T, opcode: number): Load<T> {
  return (address, offset = 0) =>
    new Expression(type, NODE.load, opcode, offset, [liftI32(address)]);
}

const i32Binary = (opcode: number): Binary<I32Value, "i32"> => binary("i32", opcode, liftI32);
const i64Binary = (opcode: number): Binary<I64Value, "i64"> => binary("i64", opcode, liftI64);
const i64Compare = (opcode: number): Binary<I64Value, "i32"> => binary("i32", opcode, liftI64);
const f32Binary = (opcode: number): Binary<F32Value, "f32"> => binary("f32", opcode, liftF32);
const f32Compare = (opcode: number): Binary<F32Value, "i32"> => binary("i32", opcode, liftF32);
const f64Binary = (opcode: number): Binary<F64Value, "f64"> => binary("f64", opcode, liftF64);
const f64Compare = (opcode: number): Binary<F64Value, "i32"> => binary("i32", opcode, liftF64);

/** Operations with an i32 result (comparisons of other types stand with their operand's type). */
export const i32 = {
  const: (value: number): Expression<"i32"> => liftI32(value),
  eqz: unary<I32Value, "i32">("i32", I32.eqz, liftI32),
  eq: i32Binary(I32.eq),
  ne: i32Binary(I32.ne),
  ltS: i32Binary(I32.ltS),
  ltU: i32Binary(I32.ltU),
  gtS: i32Binary(I32.gtS),
  gtU: i32Binary(I32.gtU),
  leS: i32Binary(I32.leS),
  leU: i32Binary(I32.leU),
  geS: i32Binary(I32.geS),
  geU: i32Binary(I32.geU),
  clz: unary<I32Value, "i32">("i32", I32.clz, liftI32),
  ctz: unary<I32Value, "i32">("i32", I32.ctz, liftI32),
  popcnt: unary<I32Value, "i32">("i32", I32.popcnt, liftI32),
  add: i32Binary(I32.add),
  sub: i32Binary(I32.sub),
  mul: i32Binary(I32.mul),
  divS: i32Binary(I32.divS),
  divU: i32Binary(I32.divU),
  remS: i32Binary(I32.remS),
  remU: i32Binary(I32.remU),
  and: i32Binary(I32.and),
  or: i32Binary(I32.or),
  xor: i32Binary(I32.xor),
  shl: i32Binary(I32.shl),
  shrS: i32Binary(I32.shrS),
  shrU: i32Binary(I32.shrU),
  rotl: i32Binary(I32.rotl),
  rotr: i32Binary(I32.rotr),
  wrap: unary<I64Value, "i32">("i32", I32.wrapI64, liftI64),
  reinterpret: unary<F32Value, "i32">("i32", I32.reinterpretF32, liftF32),
  extend8S: unary<I32Value, "i32">("i32", I32.extend8S, liftI32),
  extend16S: unary<I32Value, "i32">("i32", I32.extend16S, liftI32),
  load: load("i32", LOAD.i32),
  load8S: load("i32", LOAD.i32Load8S),
  load8U: load("i32", LOAD.i32Load8U),
  load16S: load("i32", LOAD.i32Load16S),
  load16U: load("i32", LOAD.i32Load16U),
  select: select<"i32", I32Value>(liftI32),
};

/** Operations on i64 values; comparisons give i32. */
export const i64 = {
  const: (value: number | bigint): Expression<"i64"> => liftI64(value),
  eqz: unary<I64Value, "i32">("i32", I64.eqz, liftI64),
  eq: i64Compare(I64.eq),
  ne: i64Compare(I64.ne),
  ltS: i64Compare(I64.ltS),
  ltU: i64Compare(I64.ltU),
  gtS: i64Compare(I64.gtS),
  gtU: i64Compare(I64.gtU),
  leS: i64Compare(I64.leS),
  leU: i64Compare(I64.leU),
  geS: i64Compare(I64.geS),
  geU: i64Compare(I64.geU),
  clz: unary<I64Value, "i64">("i64", I64.clz, liftI64),
  ctz: unary<I64Value, "i64">("i64", I64.ctz, liftI64),
  popcnt: unary<I64Value, "i64">("i64", I64.popcnt, liftI64),
  add: i64Binary(I64.add),
  sub: i64Binary(I64.sub),
  mul: i64Binary(I64.mul),
  divS: i64Binary(I64.divS),
  divU: i64Binary(I64.divU),
  remS: i64Binary(I64.remS),
  remU: i64Binary(I64.remU),
  and: i64Binary(I64.and),
  or: i64Binary(I64.or),
  xor: i64Binary(I64.xor),
  shl: i64Binary(I64.shl),
  shrS: i64Binary(I64.shrS),
  shrU: i64Binary(I64.shrU),
  rotl: i64Binary(I64.rotl),
  rotr: i64Binary(I64.rotr),
  extendI32S: unary<I32Value, "i64">("i64", I64.extendI32S, liftI32),
  extendI32U: unary<I32Value, "i64">("i64", I64.extendI32U, liftI32),
  extend8S: unary<I64Value, "i64">("i64", I64.extend8S, liftI64),
  extend16S: unary<I64Value, "i64">("i64", I64.extend16S, liftI64),
  extend32S: unary<I64Value, "i64">("i64", I64.extend32S, liftI64),
  /** Traps for what is negative, too large or no number. */
  truncF64U: unary<F64Value, "i64">("i64", I64.truncF64U, liftF64),
  reinterpret: unary<F64Value, "i64">("i64", I64.reinterpretF64, liftF64),
  load: load("i64", LOAD.i64),
  load8S: load("i64", LOAD.i64Load8S),
  load8U: load("i64", LOAD.i64Load8U),
  load16S: load("i64", LOAD.i64Load16S),
  load16U: load("i64", LOAD.i64Load16U),
  load32S: load("i64", LOAD.i64Load32S),
  load32U: load("i64", LOAD.i64Load32U),
  select: select<"i64", I64Value>(liftI64),
};

/** Operations on f32 values; used only where the host's result was proved to be RISC-V's. */
export const f32 = {
  const: (value: number): Expression<"f32"> => liftF32(value),
  eq: f32Compare(F32.eq),
  ne: f32Compare(F32.ne),
  lt: f32Compare(F32.lt),
  le: f32Compare(F32.le),
  gt: f32Compare(F32.gt),
  ge: f32Compare(F32.ge),
  abs: unary<F32Value, "f32">("f32", F32.abs, liftF32),
  sqrt: unary<F32Value, "f32">("f32", F32.sqrt, liftF32),
  add: f32Binary(F32.add),
  sub: f32Binary(F32.sub),
  mul: f32Binary(F32.mul),
  div: f32Binary(F32.div),
  convertI32S: unary<I32Value, "f32">("f32", F32.convertI32S, liftI32),
  convertI64S: unary<I64Value, "f32">("f32", F32.convertI64S, liftI64),
  demote: unary<F64Value, "f32">("f32", F32.demoteF64, liftF64),
  reinterpret: unary<I32Value, "f32">("f32", F32.reinterpretI32, liftI32),
};

/** Operations on f64 values; used only where the host's result was proved to be RISC-V's. */
export const f64 = {
  const: (value: number): Expression<"f64"> => liftF64(value),
  eq: f64Compare(F64.eq),
  ne: f64Compare(F64.ne),
  lt: f64Compare(F64.lt),
  le: f64Compare(F64.le),
  gt: f64Compare(F64.gt),
  ge: f64Compare(F64.ge),
  abs: unary<F64Value, "f64">("f64", F64.abs, liftF64),
  sqrt: unary<F64Value, "f64">("f64", F64.sqrt, liftF64),
  add: f64Binary(F64.add),
  sub: f64Binary(F64.sub),
  mul: f64Binary(F64.mul),
  div: f64Binary(F64.div),
  convertI32S: unary<I32Value, "f64">("f64", F64.convertI32S, liftI32),
  convertI64S: unary<I64Value, "f64">("f64", F64.convertI64S, liftI64),
  promote: unary<F32Value, "f64">("f64", F64.promoteF32, liftF32),
  reinterpret: unary<I64Value, "f64">("f64", F64.reinterpretI64, liftI64),
};

/** `whenTrue` if the condition is not zero, else `whenFalse`; both are evaluated. */
function select<T extends WasmType, V>(
  lift: (value: V) => Expression<T>,
): (condition: I32Value, whenTrue: V, whenFalse: V) => Expression<T> {
  return (condition, whenTrue, whenFalse) => {
    const a = lift(whenTrue);
    return new Expression(a.type, NODE.select, CONTROL.select, 0, [
      a,
      lift(whenFalse),
      liftI32(condition),
    ]);
  };
}
