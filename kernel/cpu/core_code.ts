/**
 * The code of a core: the WebAssembly module that all generated parts of a hart make together.
 *
 * Invariant: the same plan, heat and checks give the same bytes, so that modules can be kept and shared
 * (world/core_modules.ts). A VM world loads this, and all that it imports, only where nobody brought it a
 * module.
 */
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { emitCacheGroup } from "../mmu/cache_group.ts";
import { emitFirstWrite, emitSweepFlags } from "../mmu/mmu_code.ts";
import { emitPeek } from "../mmu/peek.ts";
import { emitPmp } from "../mmu/pmp.ts";
import { emitTableTracker } from "../mmu/table_tracker.ts";
import { emitWalk } from "../mmu/walk.ts";
import { ModuleBuilder } from "../wasm/mod.ts";
import { declareCpu } from "./cpu_code.ts";
import { emitCsr } from "./csr.ts";
import { emitDecoder } from "./decoder_code.ts";
import { emitInterpreter } from "./interpreter.ts";
import { emitMemoryAccess } from "./memory_access.ts";
import { emitNondeterminism } from "./nondeterminism.ts";
import { emitTraps } from "./trap.ts";

/** Generates the module of a plan: the same plan gives the same bytes. */
export function generateCore(
  plan: MemoryPlan,
  heat: number,
  checks = false,
): Uint8Array<ArrayBuffer> {
  const memory = { minimum: plan.wasmPages, maximum: plan.wasmPages, shared: true };
  const module = new ModuleBuilder(memory, heat > 0);
  module.named = true;
  const code = declareCpu(module, plan, heat, checks);
  emitPmp(code.mmuCode);
  emitWalk(code.mmuCode);
  emitCacheGroup(code.mmuCode);
  emitFirstWrite(code.mmuCode);
  emitSweepFlags(code.mmuCode);
  emitTableTracker(code.mmuCode);
  emitPeek(code.mmuCode);
  emitMemoryAccess(code);
  emitTraps(code);
  emitNondeterminism(code);
  emitCsr(code);
  emitDecoder(code);
  emitInterpreter(code);
  return module.build();
}
