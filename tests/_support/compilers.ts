/**
 * Makers of regions for tests: some that take their time, some that remember, or bring regions of earlier
 * runs, and some that make mistakes.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import type { MachineCompiler } from "../../kernel/machine/machine.ts";
import type { MemoryPlan } from "../../kernel/memory/memory_plan.ts";
import type { KeptRegions } from "../../kernel/translator/kept_regions.ts";
import { packShapes } from "../../kernel/translator/kept_shapes.ts";
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
    begin: (plan, checks) => new TestCompiler(plan, checks, () => rng.pick(looks)),
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

  begin(plan: MemoryPlan, checks: boolean): RegionCompiler {
    this.plan = plan;
    const compiler = new TestCompiler(
      plan,
      checks,
      () => 0,
      (regions) => this.regions.push(...regions),
    );
    if (this.kept !== undefined) compiler.ready.push(keptBatch(this.kept));
    return compiler;
  }
}

/**
 * A compiler that makes mistakes: its regions execute one instruction in place of another of the same
 * format, wherever that lies on its own in the code.
 * @param from the 32 bits of the instruction
 * @param to what is executed
 */
export function wrongCompiler(from: number, to: number): MachineCompiler {
  const alter = (halves: Uint16Array<ArrayBuffer>) => {
    const altered = halves.slice();
    for (let i = 0; i + 1 < halves.length; i++) {
      if (halves[i] !== (from & 0xffff) || halves[i + 1] !== from >>> 16) continue;
      altered[i] = to & 0xffff;
      altered[i + 1] = to >>> 16;
    }
    return altered;
  };
  return {
    keeps: false,
    begin: (plan, checks) => new WrongCompiler(new RegionMaker(plan, checks), alter),
  };
}

/** Makes regions of altered code, which say that they were made of what guest memory holds. */
class WrongCompiler implements RegionCompiler {
  readonly firstSlot = 1;
  #made: MadeBatch | undefined;

  constructor(
    private readonly maker: RegionMaker,
    private readonly alter: (halves: Uint16Array<ArrayBuffer>) => Uint16Array<ArrayBuffer>,
  ) {}

  get busy(): boolean {
    return this.#made !== undefined;
  }

  submit({ orders, code }: Batch): void {
    const altered = new Map(
      [...code].map(([page, { halves, near }]) => [page, { halves: this.alter(halves), near }]),
    );
    const { made } = this.maker.compile({ orders, code: altered });
    const translations = made.translations.map((translation) => {
      const { pages } = orders.find(({ slot }) => slot === translation.slot)!;
      const parts = translation.parts.map(({ page, first, code: { length } }) => ({
        page,
        first,
        code: code.get(pages[page]!)!.halves.slice(first, first + length),
      }));
      return { ...translation, parts };
    });
    this.#made = { ...made, translations };
  }

  take(): MadeBatch | undefined {
    const made = this.#made;
    this.#made = undefined;
    return made;
  }
}

function keptBatch({ regions, module }: KeptRegions): MadeBatch {
  return {
    kept: packShapes(regions),
    module: new WebAssembly.Module(module),
    bytes: module.length,
    translations: [],
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
    checks: boolean,
    private readonly delay: () => number,
    private readonly made: (regions: readonly MadeRegion[]) => void = () => {},
  ) {
    this.#maker = new RegionMaker(plan, checks);
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
