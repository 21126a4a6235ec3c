/** Placeholder so that the hart can be generated before the exact operations exist. */
import type { FunctionReference, ModuleBuilder, WasmType } from "../../wasm/mod.ts";
import { FLOAT_FUNCTIONS, type FloatFunctionName } from "./names.ts";
export function emitSoftFloat(
  module: ModuleBuilder,
  _flags: { address: number },
): Record<FloatFunctionName, FunctionReference> {
  const all = {} as Record<FloatFunctionName, FunctionReference>;
  for (const [name, [parameters, result]] of Object.entries(FLOAT_FUNCTIONS)) {
    all[name as FloatFunctionName] = module.function(
      name,
      parameters as readonly WasmType[],
      result as WasmType,
      (f) => f.unreachable(),
    );
  }
  return all;
}
