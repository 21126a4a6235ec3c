/**
 * Runs fuzz targets. Each step gets a generator of its own, seeded with the first seed plus the step's
 * number: the seed of a step that failed is all that is needed to repeat it alone.
 *
 * Invariant: what a target does depends on its seed only, never on earlier steps or on the host.
 */
import { Prng } from "../../kernel/base/prng.ts";

/** A parser or machine that takes foreign bytes, with what must hold for all of them. */
export interface FuzzTarget {
  /** Name on the command line, lower case. */
  readonly name: string;
  /** Draws an input and tries it. Throws when something does not hold. */
  step(random: Prng): void | Promise<void>;
}

/** How long a target runs; it ends with whichever comes first. */
export interface FuzzBudget {
  /** Seed of the first step. */
  readonly seed: number;
  /** Most steps. */
  readonly steps?: number;
  /** Most seconds. */
  readonly seconds?: number;
}

/** How a run of a target ended. */
export interface FuzzResult {
  readonly name: string;
  /** Steps that were begun. */
  readonly steps: number;
  /** The step that failed, if one did. */
  readonly failure?: { readonly seed: number; readonly cause: unknown };
}

/** A step that takes longer than this hangs, as far as a guest's owner can tell. */
const STEP_MILLISECONDS_MAXIMUM = 5000;

/** Runs a target until its budget is used or a step fails. */
export async function fuzz(target: FuzzTarget, budget: FuzzBudget): Promise<FuzzResult> {
  const { seed, steps: most = Infinity, seconds = Infinity } = budget;
  const start = performance.now();
  let steps = 0;
  while (steps < most && performance.now() - start < seconds * 1000) {
    const stepSeed = seed + steps++;
    try {
      await timedStep(target, stepSeed);
    } catch (cause) {
      return { name: target.name, steps, failure: { seed: stepSeed, cause } };
    }
  }
  return { name: target.name, steps };
}

async function timedStep(target: FuzzTarget, seed: number): Promise<void> {
  const start = performance.now();
  await target.step(new Prng(seed));
  const took = performance.now() - start;
  if (took > STEP_MILLISECONDS_MAXIMUM) throw new Error(`the step took ${Math.round(took)} ms`);
}
