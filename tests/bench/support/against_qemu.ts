/**
 * A suite of kernels against QEMU: each on both, alternating, with the medians' ratio (above 1: we are
 * faster) and the ratios' geometric mean.
 */
import { defineSuite, type Measurement, type Suite } from "../../../tools/dev/bench_suite.ts";
import { hasPeer } from "../../_support/peers.ts";
import { type BenchKernel, geomean, median, QEMU, runHere, runQemu } from "./kernels.ts";

const ROUNDS = 5;
/** Makes a run long enough that compiling at its start counts for little. */
const TIMES = 20;

/** What a suite measures and has to reach. */
export interface Contest {
  readonly description: string;
  readonly kernels: readonly BenchKernel[];
  /** Kernels that are measured and left out of the geometric mean. */
  readonly apart?: readonly BenchKernel[];
  /** Least ratio of each kernel. */
  readonly leastEach?: number;
  /** Least geometric mean. */
  readonly leastMean: number;
}

/** Declares the suite. */
export function contestSuite(contest: Contest): Suite {
  return defineSuite({ description: contest.description, run: () => measure(contest) });
}

async function* measure(contest: Contest): AsyncGenerator<Measurement> {
  const ratios: number[] = [];
  for (const kernel of contest.kernels) {
    const ratio = yield* measureKernel(kernel, TIMES, contest.leastEach);
    if (ratio !== undefined) ratios.push(ratio);
  }
  // QEMU needs twenty times as long for these.
  for (const kernel of contest.apart ?? []) yield* measureKernel(kernel, 2, undefined);
  if (ratios.length === 0) return;
  const bar = { atLeast: contest.leastMean };
  yield { name: "geomean", value: geomean(ratios), unit: "x", bar };
}

async function* measureKernel(
  kernel: BenchKernel,
  times: number,
  least: number | undefined,
): AsyncGenerator<Measurement, number | undefined> {
  const ours: number[] = [];
  const theirs: number[] = [];
  let instructions = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const run = await runHere(kernel, times, "translator");
    ours.push(run.seconds);
    instructions = run.instructions;
    if (hasPeer(QEMU)) theirs.push(await runQemu(kernel, times));
  }
  const { name } = kernel;
  yield { name: `${name} instructions`, value: instructions / 1e6, unit: "million" };
  yield { name: `${name} time`, value: median(ours), unit: "s" };
  if (theirs.length === 0) return undefined;
  yield { name: `${name} time under QEMU`, value: median(theirs), unit: "s" };
  const ratio = median(theirs) / median(ours);
  const bar = least === undefined ? {} : { bar: { atLeast: least } };
  yield { name: `${name} ratio`, value: ratio, unit: "x", ...bar };
  return ratio;
}
