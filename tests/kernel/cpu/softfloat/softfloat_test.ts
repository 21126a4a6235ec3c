/**
 * Claims about the exact float operations: results and flags are those of the standards for every
 * function, rounding mode and way through the code. The judge works with exact rationals.
 */
import { assertEquals } from "@std/assert";
import { expected } from "../../../isa/float_oracle.ts";
import { arityOf, operandsFor, takesMode } from "../../../isa/float_operands.ts";
import { Prng } from "../../../../kernel/base/prng.ts";
import {
  call,
  type Expression,
  type FunctionReference,
  ModuleBuilder,
  type WasmType,
} from "../../../../kernel/wasm/mod.ts";
import { emitSoftFloat } from "../../../../kernel/cpu/softfloat/mod.ts";
import { FLOAT_FUNCTIONS, type FloatFunctionName } from "../../../../kernel/cpu/softfloat/names.ts";

const FLAGS = 64;
const MODES = [0, 1, 2, 3, 4];
/** Operand tuples of one function; each is tried in every mode, from every preset. */
const TUPLES = 1500;
/** Flags before an operation: none, inexact (opens the host's operations), all but inexact, all. */
const PRESETS = [0, 1, 0x1e, 0x1f];
const NAMES = Object.keys(FLOAT_FUNCTIONS) as FloatFunctionName[];

type Operation = (bits: readonly bigint[], mode: number, preset: number) => [string, number];

/** Makes a function callable from outside. */
function exportFunction(module: ModuleBuilder, name: string, target: FunctionReference): void {
  const inner = target as FunctionReference<readonly WasmType[], WasmType>;
  module.function(name, inner.parameters, inner.result, (f) => {
    f.return(call(inner, ...f.parameters as readonly (Expression<"i32"> & Expression<"i64">)[]));
  }, true);
}

/** Functions that take and give bits, with the flags that are set afterwards. */
function operations(): Record<FloatFunctionName, Operation> {
  const module = new ModuleBuilder({ minimum: 1, maximum: 1, shared: true });
  const references = emitSoftFloat(module, { address: FLAGS });
  for (const name of NAMES) exportFunction(module, name, references[name]);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const compiled = new WebAssembly.Module(module.build());
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  const word = new Uint32Array(memory.buffer, FLAGS, 1);
  const wrap = (name: FloatFunctionName): Operation => {
    const [parameters, result] = FLOAT_FUNCTIONS[name];
    const target = exports[name] as (...args: (number | bigint)[]) => number | bigint;
    return (bits, mode, preset) => {
      const all = takesMode(name) ? [...bits, BigInt(mode)] : bits;
      word[0] = preset;
      const value = target(...all.map((v, i) => parameters[i] === "i32" ? Number(v) | 0 : v));
      const width = result === "i32" ? 32 : 64;
      return [BigInt.asUintN(width, BigInt(value)).toString(16), word[0]!];
    };
  };
  return Object.fromEntries(NAMES.map((name) => [name, wrap(name)])) as ReturnType<
    typeof operations
  >;
}

const run = operations();

function check(name: FloatFunctionName, bits: readonly bigint[]): void {
  for (const mode of takesMode(name) ? MODES : [0]) {
    const right = expected(name, bits, mode);
    for (const preset of PRESETS) {
      const operands = bits.map((v) => v.toString(16)).join(", ");
      assertEquals(
        run[name](bits, mode, preset),
        [right.bits.toString(16), preset | right.flags],
        `${name}(${operands}) in mode ${mode} with flags ${preset} (left: ours)`,
      );
    }
  }
}

for (const name of NAMES) {
  Deno.test(`${name} gives the exactly rounded result and its flags`, () => {
    const rng = new Prng(NAMES.indexOf(name) + 1);
    for (let i = 0; i < TUPLES; i++) check(name, operandsFor(rng, name));
  });
}

/** Every value that decides a special case, by format. */
const SPECIALS = {
  f32: [0x0, 0x1, 0x7fffff, 0x800000, 0x800001, 0x3f800000, 0x7f7fffff, 0x7f800000, 0x7f800001]
    .concat([0x7fc00000, 0x7fc12345, 0x4f000000, 0x5f000000]).map(BigInt),
  f64: [0x0n, 0x1n, 0xfffffffffffffn, 0x10000000000000n, 0x10000000000001n, 0x3ff0000000000000n]
    .concat([0x7fefffffffffffffn, 0x7ff0000000000000n, 0x7ff0000000000001n, 0x7ff8000000000000n])
    .concat([0x7ff8000012345678n, 0x41e0000000000000n, 0x43e0000000000000n]),
};

/** All tuples of a length over some values. */
function tuples(values: readonly bigint[], length: number): bigint[][] {
  if (length === 0) return [[]];
  return tuples(values, length - 1).flatMap((tuple) => values.map((value) => [...tuple, value]));
}

Deno.test("every pair of special values gives what the standards say", () => {
  for (const name of NAMES.filter((n) => !n.includes("From") && arityOf(n) < 3)) {
    const format = name.slice(0, 3) as "f32" | "f64";
    const sign = format === "f32" ? 1n << 31n : 1n << 63n;
    const values = SPECIALS[format].flatMap((bits) => [bits, bits | sign]);
    for (const bits of tuples(values, arityOf(name))) check(name, bits);
  }
});

Deno.test("infinity times zero is invalid even when the addend is a quiet NaN", () => {
  const nan = 0x7ff8000000000000n;
  assertEquals(run.f64Fma([0x7ff0000000000000n, 0n, nan], 0, 0), ["7ff8000000000000", 16]);
  assertEquals(run.f32Fma([0n, 0xff800000n, 0x7fc00000n], 0, 0), ["7fc00000", 16]);
});

Deno.test("tininess is decided after rounding", () => {
  // (2 - 2^-52) / 2 × 2^-1022 rounds up to the least normal number: inexact, but not tiny, because
  // 53 digits with an unbounded exponent would reach it as well only when rounding up.
  const nearlyTwo = 0x3fffffffffffffffn;
  const half = 0x0008000000000000n;
  assertEquals(run.f64Mul([nearlyTwo, half], 0, 0), ["10000000000000", 3]);
  assertEquals(run.f64Mul([0x3ff0000000000001n, 0x000fffffffffffffn], 0, 0), [
    "10000000000000",
    1,
  ]);
});

Deno.test("a quotient by zero raises only that flag, zero by zero is invalid", () => {
  const one = 0x3f800000n;
  assertEquals(run.f32Div([one, 1n << 31n], 0, 0), ["ff800000", 8]);
  assertEquals(run.f32Div([0n, 0n], 0, 0), ["7fc00000", 16]);
});
