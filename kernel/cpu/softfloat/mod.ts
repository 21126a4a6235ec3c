/**
 * Exact floating point in generated WebAssembly: the operations of the F and D extensions, the same
 * bits and flags on every host (design.md, "Floating point is host-independent").
 */
import type { FunctionReference, ModuleBuilder, WasmType } from "../../wasm/mod.ts";
import { emitAdd, emitDivide, emitMultiply, emitSquareRoot } from "./arithmetic.ts";
import { emitClass, emitComparison, emitSelection } from "./compare.ts";
import { emitConversions, type FloatReferences } from "./convert.ts";
import { DOUBLE, emitShared, SINGLE } from "./format.ts";
import { emitFused } from "./fused.ts";
import { FLOAT_FUNCTIONS, type FloatFunctionName } from "./names.ts";

/**
 * Generates all operations. `flags.address` is where the accrued exceptions of the current hart
 * lie: a word of memory, of which only flags that are raised are written.
 */
export function emitSoftFloat(
  module: ModuleBuilder,
  flags: { readonly address: number },
): FloatReferences {
  const references = {} as Record<FloatFunctionName, FunctionReference>;
  for (const [name, [parameters, result]] of Object.entries(FLOAT_FUNCTIONS)) {
    references[name as FloatFunctionName] = module.declare(
      name,
      parameters as readonly WasmType[],
      result as WasmType,
    );
  }
  const code = emitShared(module, flags.address);
  for (const format of [SINGLE, DOUBLE]) {
    const named = (operation: string) =>
      references[`${format.name}${operation}` as FloatFunctionName] as never;
    emitAdd(code, format, named("Add"), false);
    emitAdd(code, format, named("Sub"), true);
    emitMultiply(code, format, named("Mul"));
    emitDivide(code, format, named("Div"));
    emitSquareRoot(code, format, named("Sqrt"));
    emitFused(code, format, named("Fma"));
    emitComparison(code, format, named("Eq"), "eq");
    emitComparison(code, format, named("Lt"), "lt");
    emitComparison(code, format, named("Le"), "le");
    emitSelection(code, format, named("Min"), "min");
    emitSelection(code, format, named("Max"), "max");
    emitClass(code, format, named("Class"));
  }
  emitConversions(code, references);
  return references;
}
