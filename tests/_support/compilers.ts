/**
 * Makers of regions for tests: some that take their time, and some that remember, or bring regions of
 * earlier runs.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import type { MachineCompiler } from "../../kernel/machine/machine.ts";
import type { MemoryPlan } from "../../kernel/memory/memory_plan.ts";
import type { KeptRegions } from "../../kernel/translator/kept_regions.ts";
import { RegionMaker } from "../../kernel/translator/region_maker.ts";
import type {
  Batch,
  MadeBatch,
  MadeRegion,
  RegionCompiler,
} from "../../kernel/translator/translation.ts";

/** A compiler whose batches are ready after so many looks, which chance tells anew for each batch. */
export function lateCompiler(rng: Prng, looks: readonly number[]): MachineCompiler {
  return {
    keeps: false,
    begin: (plan) => new TestCompiler(plan, () => rng.pick(looks)),
  };
}

/** A compiler that brings regions of an earlier run, and remembers all it made. */
export class KeepingCompiler implements MachineCompiler {
  readonly regions: MadeRegion[] = [];
  plan: MemoryPlan | undefined;

  constructor(private readonly kept?: KeptRegions) {}

  get keeps(): boolean {
    return this.kept !== undefined;
  }

  begin(plan: MemoryPlan): RegionCompiler {
    this.plan = plan;
    const compiler = new TestCompiler(plan, () => 0, (regions) => this.regions.push(...regions));
    if (this.kept !== undefined) compiler.ready.push(keptBatch(this.kept));
    return compiler;
  }
}

function keptBatch({ regions, module }: KeptRegions): MadeBatch {
  return {
    kept: true,
    module: new WebAssembly.Module(module),
    bytes: module.length,
    translations: regions.map(({ parts, entries, instructions }, i) => ({
      slot: i + 1,
      parts,
      entries,
      instructions,
    })),
  };
}

class TestCompiler implements RegionCompiler {
  readonly firstSlot = 5000;
  readonly ready: MadeBatch[] = [];
  busy = false;
  readonly #maker: RegionMaker;
  #looks = 0;

  constructor(
    plan: MemoryPlan,
    private readonly delay: () => number,
    private readonly made: (regions: readonly MadeRegion[]) => void = () => {},
  ) {
    this.#maker = new RegionMaker(plan);
  }

  submit(batch: Batch): void {
    const { made, regions } = this.#maker.compile(batch);
    this.made(regions);
    this.ready.push(made);
    this.busy = true;
    this.#looks = this.delay();
  }

  take(): MadeBatch | undefined {
    if (this.#looks-- > 0) return undefined;
    const made = this.ready.shift();
    if (made !== undefined && !made.kept) this.busy = false;
    return made;
  }
}
