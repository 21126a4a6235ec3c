/**
 * Modules that few runs want, in the kernel world. What an `import()` names by a literal, Deno finds, reads
 * and analyses with the module that has it, wanted or not: half of a short command's time. What is computed,
 * it does not. A VM world may not do so: it can import only what was found for it.
 */

/**
 * Imports a module of this program: `await importLate<typeof import("./late.ts")>("./late.ts", import.meta.url)`.
 *
 * @param base address of the module that imports it
 */
export function importLate<Module>(path: string, base: string): Promise<Module> {
  return import(new URL(path, base).href);
}
