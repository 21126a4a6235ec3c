/**
 * Floor 1: a small typed language for generating WebAssembly. The interpreter tier, the page walker,
 * the exact floating point and the translator are all written in it.
 */
export * from "./expression.ts";
export * from "./function_builder.ts";
export { type MemoryImport, ModuleBuilder } from "./module_builder.ts";
