/**
 * Makes regions at once, on the thread of the VM: for tests, for the tier `check`, and
 * where there is no other thread.
 */
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { RegionMaker } from "./region_maker.ts";
import type { Batch, MadeBatch, RegionCompiler } from "./translation.ts";

/** A compiler that is done when `submit` returns. */
export class InlineCompiler implements RegionCompiler {
  readonly firstSlot = 1;
  readonly #maker: RegionMaker;
  #made: MadeBatch | undefined;

  /** @param checks whether the regions are for the tier `check` */
  constructor(plan: MemoryPlan, checks = false) {
    this.#maker = new RegionMaker(plan, checks);
  }

  get busy(): boolean {
    return this.#made !== undefined;
  }

  submit(batch: Batch): void {
    this.#made = this.#maker.compile(batch).made;
  }

  take(): MadeBatch | undefined {
    const made = this.#made;
    this.#made = undefined;
    return made;
  }
}
