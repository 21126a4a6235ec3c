/** Claims about the generated-WebAssembly language: what is built runs and means what it says. */
import { assertEquals } from "@std/assert";
import { call, i32, i64, ModuleBuilder } from "../../../kernel/wasm/mod.ts";

const shape = { minimum: 1, maximum: 1, shared: true };

function instantiate(module: ModuleBuilder): WebAssembly.Exports {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const compiled = new WebAssembly.Module(module.build());
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports;
}

Deno.test("loops, locals and branches compute a factorial", () => {
  const module = new ModuleBuilder(shape);
  module.function("factorial", ["i64"], "i64", (f) => {
    const [n] = f.parameters;
    const product = f.let(i64.const(1));
    f.block((done) => {
      f.loop((again) => {
        f.brIf(done, i64.leU(n, 1), "unlikely");
        f.set(product, i64.mul(product, n));
        f.set(n, i64.sub(n, 1));
        f.br(again);
      });
    });
    f.return(product);
  }, true);
  const { factorial } = instantiate(module) as { factorial: (n: bigint) => bigint };
  assertEquals(factorial(20n), 2432902008176640000n);
});

Deno.test("functions call each other before they are defined", () => {
  const module = new ModuleBuilder(shape);
  const odd = module.declare("odd", ["i32"], "i32");
  const even = module.function("even", ["i32"], "i32", (f) => {
    const [n] = f.parameters;
    f.if(i32.eqz(n), () => f.return(1));
    f.return(call(odd, i32.sub(n, 1)));
  }, true);
  module.define(odd, (f) => {
    const [n] = f.parameters;
    f.if(i32.eqz(n), () => f.return(0));
    f.returnCall(even, i32.sub(n, 1));
  }, true);
  const exports = instantiate(module) as Record<string, (n: number) => number>;
  assertEquals(exports.even!(10), 1);
  assertEquals(exports.odd!(10), 0);
});

Deno.test("stores and loads keep width and sign; 64-bit constants are exact", () => {
  const module = new ModuleBuilder(shape);
  module.function("roundTrip", [], "i64", (f) => {
    f.store64(0, 16, 0x8877_6655_4433_2211n);
    f.store16(8, 0, i32.load16U(16));
    const low = f.let(i64.load16U(8));
    f.return(i64.add(i64.shl(i64.load8S(0, 23), 16), low));
  }, true);
  const { roundTrip } = instantiate(module) as { roundTrip: () => bigint };
  assertEquals(roundTrip(), (-0x78n << 16n) + 0x2211n);
});

Deno.test("brTable chooses by index and falls to the default", () => {
  const module = new ModuleBuilder(shape);
  module.function("choose", ["i32"], "i32", (f) => {
    const [n] = f.parameters;
    f.block((other) => {
      f.block((second) => {
        f.block((first) => f.brTable(n, [first, second], other));
        f.return(10);
      });
      f.return(20);
    });
    f.return(i32.select(i32.ltS(n, 0), -1, 30));
  }, true);
  const { choose } = instantiate(module) as { choose: (n: number) => number };
  assertEquals([0, 1, 2, -5].map(choose), [10, 20, 30, -1]);
});

Deno.test("locals made in a scope are reused by the next scope", () => {
  const module = new ModuleBuilder(shape);
  module.function("reuse", [], "i32", (f) => {
    const indices: number[] = [];
    for (let i = 0; i < 3; i++) f.scope(() => indices.push(f.let(i32.const(i)).index));
    assertEquals(new Set(indices).size, 1);
    f.return(7);
  });
  module.build();
});
