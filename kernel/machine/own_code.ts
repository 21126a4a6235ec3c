/** Generated code that is made on the machine's own thread; loads all that generates code. */
import { generateCore } from "../cpu/core_code.ts";
import { InlineCompiler } from "../translator/inline_compiler.ts";
import { RegionChecker } from "../translator/region_check.ts";
import type { MachineCode } from "./machine_code.ts";

/** Makes everything here and now. */
export const OWN_CODE: MachineCode = {
  core: (plan, { heat, checks }) => new WebAssembly.Module(generateCore(plan, heat, checks)),
  regions: (plan, checks) => new InlineCompiler(plan, checks),
  checker: (core, inSlot) => new RegionChecker(core, inSlot),
};
