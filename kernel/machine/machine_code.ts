/**
 * Where a machine has its generated code from. A VM world is given the module of its core and a compiler of
 * regions from outside, and so loads nothing that generates code; `OWN_CODE` (own_code.ts) makes all of it
 * on the machine's thread.
 */
import type { Core, RegionCheck } from "../cpu/core.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import type { RegionCompiler, Translation } from "../translator/translation.ts";
import type { CoreMake } from "./machine_plan.ts";

/** Makes the code of machines. */
export interface MachineCode {
  /** The compiled module of a core. */
  core(plan: MemoryPlan, make: CoreMake): WebAssembly.Module;
  /** Makes regions, for a machine that has no other compiler. */
  regions(plan: MemoryPlan, checks: boolean): RegionCompiler;
  /** What checks regions in the tier `check`; `inSlot` gives the translation that a slot has. */
  checker(core: Core, inSlot: (slot: number) => Translation | undefined): RegionCheck;
}
