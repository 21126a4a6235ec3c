/**
 * Writes the body of one generated WebAssembly function: statements in order, expressions as trees.
 * Implements the instruction part of the WebAssembly Core Specification 2.0 and the branch-hinting
 * custom section's offsets.
 *
 * Invariants: every statement leaves the operand stack as it found it; a label is used only inside
 * its block; locals made inside `scope` are reused after it, so that a long function keeps few locals.
 */
import { assert } from "../base/assert.ts";
import { ByteSink } from "./byte_sink.ts";
import {
  Expression,
  type I32Value,
  type I64Value,
  liftI32,
  liftI64,
  Local,
  NODE,
} from "./expression.ts";
import { BULK, CONTROL, STORE, VALUE_TYPE, type WasmType } from "./opcodes.ts";

/** A function that can be called: imported, or declared in a module builder. */
export interface FunctionReference<
  P extends readonly WasmType[] = readonly WasmType[],
  R extends WasmType | undefined = WasmType | undefined,
> {
  /** Index in the module's function space. */
  readonly index: number;
  /** Name, for messages and exports. */
  readonly name: string;
  /** Types of the parameters. */
  readonly parameters: P;
  /** Type of the result, or undefined. */
  readonly result: R;
}

/** Target of a branch. */
export interface Label {
  /** Nesting depth of the block that carries it. */
  readonly depth: number;
}

/** Whether a branch is expected to be taken (branch hinting proposal); `undefined` gives no hint. */
export type Likelihood = "likely" | "unlikely" | undefined;

type ValueOf<T extends WasmType> = T extends "i32" ? I32Value
  : T extends "i64" ? I64Value
  : Expression<T>;

/** Arguments that a parameter list takes. */
export type Arguments<P extends readonly WasmType[]> = { [K in keyof P]: ValueOf<P[K]> };

function lift(type: WasmType, value: Expression | number | bigint): Expression {
  if (typeof value === "object") return value;
  return type === "i64" ? liftI64(value) : liftI32(Number(value));
}

/** An expression that calls a function when it is evaluated. */
export function call<P extends readonly WasmType[], R extends WasmType>(
  target: FunctionReference<P, R>,
  ...args: Arguments<P>
): Expression<R> {
  const operands = (args as readonly (Expression | number | bigint)[])
    .map((value, i) => lift(target.parameters[i]!, value));
  assert(operands.length === target.parameters.length, `${target.name}: argument count`);
  return new Expression(target.result, NODE.call, CONTROL.call, target.index, operands);
}

/** An expression that calls entry `slot` of table 0, whose type has index `typeIndex`. */
export function callIndirect<R extends WasmType>(
  result: R,
  typeIndex: number,
  slot: Expression<"i32">,
  ...args: Expression[]
): Expression<R> {
  const operands = [...args, slot];
  return new Expression(result, NODE.callIndirect, CONTROL.callIndirect, typeIndex, operands);
}

/** A function's body, apart from the module that it was written for. */
export interface FinishedFunction {
  /** The body with its local declarations. */
  readonly body: Uint8Array;
  /** Branch hints: where in the body, and whether the branch is likely to be taken. */
  readonly hints: readonly { readonly at: number; readonly likely: boolean }[];
}

/** Writes one function. */
export class FunctionBuilder<P extends readonly WasmType[] = readonly WasmType[]> {
  /** The parameters, as locals. */
  readonly parameters: { [K in keyof P]: Local<P[K]> };
  readonly #code = new ByteSink(1024);
  readonly #localTypes: WasmType[] = [];
  readonly #free: { [T in WasmType]: Local<WasmType>[] } = { i32: [], i64: [], f32: [], f64: [] };
  readonly #scopes: Local<WasmType>[][] = [];
  readonly #hints: { at: number; likely: boolean }[] = [];
  #depth = 0;

  /** @param reference the function being written */
  constructor(readonly reference: FunctionReference<P>) {
    this.parameters = reference.parameters.map((type, i) =>
      new Local(type, i)
    ) as typeof this.parameters;
  }

  /** A new local variable; inside `scope` it is free for reuse when the scope ends. Not zeroed. */
  local<T extends WasmType>(type: T): Local<T> {
    let local = this.#free[type].pop() as Local<T> | undefined;
    if (local === undefined) {
      local = new Local(type, this.reference.parameters.length + this.#localTypes.length);
      this.#localTypes.push(type);
    }
    this.#scopes.at(-1)?.push(local as Local<WasmType>);
    return local;
  }

  /** Runs `body`; locals made in it may be reused afterwards. */
  scope(body: () => void): void {
    const made: Local<WasmType>[] = [];
    this.#scopes.push(made);
    body();
    this.#scopes.pop();
    for (const local of made) this.#free[local.type].push(local);
  }

  /** Evaluates an expression now and keeps its value in a new local. */
  let<T extends WasmType>(value: Expression<T>): Local<T> {
    const local = this.local(value.type);
    this.set(local, value as ValueOf<T>);
    return local;
  }

  /** Assigns a local. */
  set<T extends WasmType>(local: Local<T>, value: ValueOf<T>): void {
    this.#write(lift(local.type, value as Expression | number | bigint));
    this.#code.byte(CONTROL.localSet);
    this.#code.unsigned(local.index);
  }

  /** Evaluates an expression for its effect and drops the value. */
  drop(value: Expression): void {
    this.#write(value);
    this.#code.byte(CONTROL.drop);
  }

  /** Calls a function that gives no value, or whose value is not wanted. */
  call<Q extends readonly WasmType[]>(target: FunctionReference<Q>, ...args: Arguments<Q>): void {
    const values = args as readonly (Expression | number | bigint)[];
    assert(values.length === target.parameters.length, `${target.name}: argument count`);
    values.forEach((value, i) => this.#write(lift(target.parameters[i]!, value)));
    this.#code.byte(CONTROL.call);
    this.#code.unsigned(target.index);
    if (target.result !== undefined) this.#code.byte(CONTROL.drop);
  }

  /** Leaves this function by calling another (tail call). */
  returnCall<Q extends readonly WasmType[]>(
    target: FunctionReference<Q>,
    ...args: Arguments<Q>
  ): void {
    const values = args as readonly (Expression | number | bigint)[];
    values.forEach((value, i) => this.#write(lift(target.parameters[i]!, value)));
    this.#code.byte(CONTROL.returnCall);
    this.#code.unsigned(target.index);
  }

  /** Leaves this function by calling entry `slot` of table 0, whose type has index `typeIndex`. */
  returnCallIndirect(typeIndex: number, slot: I32Value, ...args: Expression[]): void {
    for (const value of args) this.#write(value);
    this.#write(liftI32(slot));
    this.#code.byte(CONTROL.returnCallIndirect);
    this.#code.unsigned(typeIndex);
    this.#code.byte(0);
  }

  /** Stores the low 8 bits. */
  store8(address: I32Value, offset: number, value: I32Value | Expression<"i64">): void {
    this.#store(address, offset, value, STORE.i32Store8, STORE.i64Store8);
  }

  /** Stores the low 16 bits. */
  store16(address: I32Value, offset: number, value: I32Value | Expression<"i64">): void {
    this.#store(address, offset, value, STORE.i32Store16, STORE.i64Store16);
  }

  /** Stores 32 bits. */
  store32(address: I32Value, offset: number, value: I32Value | Expression<"i64">): void {
    this.#store(address, offset, value, STORE.i32, STORE.i64Store32);
  }

  /** Stores 64 bits. */
  store64(address: I32Value, offset: number, value: I64Value): void {
    this.#store(address, offset, liftI64(value), STORE.i32, STORE.i64);
  }

  /** Fills `length` bytes from `address` with a byte. */
  fill(address: I32Value, value: number, length: I32Value): void {
    this.#write(liftI32(address));
    this.#write(liftI32(value));
    this.#write(liftI32(length));
    this.#code.append(BULK.memoryFill);
  }

  /** A block; branching to its label leaves it. */
  block(body: (label: Label) => void): void {
    this.#nest(CONTROL.block, body);
  }

  /** A loop; branching to its label starts it again, falling off its end leaves it. */
  loop(body: (label: Label) => void): void {
    this.#nest(CONTROL.loop, body);
  }

  /** Runs `then` if the condition is not zero, else `otherwise`. */
  if(
    condition: I32Value,
    then: (label: Label) => void,
    otherwise?: ((label: Label) => void) | undefined,
    likelihood?: Likelihood,
  ): void {
    this.#write(liftI32(condition));
    this.#hint(likelihood);
    this.#code.byte(CONTROL.if);
    this.#code.byte(CONTROL.emptyBlockType);
    this.#depth++;
    const label = { depth: this.#depth };
    then(label);
    if (otherwise !== undefined) {
      this.#code.byte(CONTROL.else);
      otherwise(label);
    }
    this.#depth--;
    this.#code.byte(CONTROL.end);
  }

  /** Branches to a label. */
  br(label: Label): void {
    this.#code.byte(CONTROL.br);
    this.#code.unsigned(this.#distance(label));
  }

  /** Branches to a label if the condition is not zero. */
  brIf(label: Label, condition: I32Value, likelihood?: Likelihood): void {
    this.#write(liftI32(condition));
    this.#hint(likelihood);
    this.#code.byte(CONTROL.brIf);
    this.#code.unsigned(this.#distance(label));
  }

  /** Branches to `labels[index]`, or to `otherwise` when the index is out of range. */
  brTable(index: I32Value, labels: readonly Label[], otherwise: Label): void {
    this.#write(liftI32(index));
    this.#code.byte(CONTROL.brTable);
    this.#code.unsigned(labels.length);
    for (const label of labels) this.#code.unsigned(this.#distance(label));
    this.#code.unsigned(this.#distance(otherwise));
  }

  /** Returns from the function, with a value if it has a result. */
  return(value?: I32Value | Expression): void {
    if (value !== undefined) this.#write(typeof value === "number" ? liftI32(value) : value);
    this.#code.byte(CONTROL.return);
  }

  /** Sets an imported mutable global. */
  setGlobal(index: number, value: Expression): void {
    this.#write(value);
    this.#code.byte(CONTROL.globalSet);
    this.#code.unsigned(index);
  }

  /** Traps the host: for places that must never be reached. */
  unreachable(): void {
    this.#code.byte(CONTROL.unreachable);
  }

  /** The body with its local declarations, and the branch hints relative to its start. */
  finish(): FinishedFunction {
    assert(this.#depth === 0, `${this.reference.name}: open block at the end`);
    const body = new ByteSink(this.#code.length + 64);
    body.unsigned(this.#localTypes.length);
    for (const type of this.#localTypes) {
      body.byte(1);
      body.byte(VALUE_TYPE[type]);
    }
    const shift = body.length;
    body.append(this.#code.bytes());
    if (this.reference.result !== undefined) body.byte(CONTROL.unreachable);
    body.byte(CONTROL.end);
    return {
      body: body.bytes(),
      hints: this.#hints.map(({ at, likely }) => ({ at: at + shift, likely })),
    };
  }

  #nest(opcode: number, body: (label: Label) => void): void {
    this.#code.byte(opcode);
    this.#code.byte(CONTROL.emptyBlockType);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#code.byte(CONTROL.end);
  }

  #distance(label: Label): number {
    assert(label.depth <= this.#depth, `${this.reference.name}: branch out of its block`);
    return this.#depth - label.depth;
  }

  #hint(likelihood: Likelihood): void {
    if (likelihood === undefined) return;
    this.#hints.push({ at: this.#code.length, likely: likelihood === "likely" });
  }

  #store(
    address: I32Value,
    offset: number,
    value: I32Value | Expression<"i64">,
    opcode32: number,
    opcode64: number,
  ): void {
    this.#write(liftI32(address));
    const tree = typeof value === "number" ? liftI32(value) : value;
    this.#write(tree);
    this.#code.byte(tree.type === "i64" ? opcode64 : opcode32);
    this.#code.byte(0);
    this.#code.unsigned(offset);
  }

  #write(tree: Expression): void {
    const code = this.#code;
    for (const operand of tree.operands) this.#write(operand);
    code.byte(tree.opcode);
    switch (tree.kind) {
      case NODE.constant:
        if (tree.type === "i32") code.signed32(tree.immediate as number);
        else if (tree.type === "i64") code.signed64(tree.immediate);
        else if (tree.type === "f32") code.float32(tree.immediate as number);
        else code.float64(tree.immediate as number);
        return;
      case NODE.load:
        code.byte(0);
        code.unsigned(tree.immediate as number);
        return;
      case NODE.local:
      case NODE.call:
      case NODE.global:
        code.unsigned(tree.immediate as number);
        return;
      case NODE.callIndirect:
        code.unsigned(tree.immediate as number);
        code.byte(0);
        return;
      default:
        return;
    }
  }
}
