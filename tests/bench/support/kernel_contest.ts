/**
 * A suite of kernels against QEMU, the host itself, and a revision of ours when one is given: each kernel
 * on all of them in turn, with the medians' ratios and the ratios' geometric means.
 */
import {
  type BenchContext,
  defineSuite,
  type Measurement,
  type Suite,
} from "../../../tools/dev/bench_suite.ts";
import { hasPeer } from "../../_support/peers.ts";
import { CommandLine, type RunWishes } from "./command_line.ts";
import {
  type BenchKernel,
  type KernelRun,
  type KernelRunner,
  QEMU,
  runnerOf,
  runnerOfNative,
  runQemu,
} from "./kernels.ts";
import { buildNative } from "./native.ts";
import {
  type Bars,
  inTurn,
  NATIVE_RIVAL,
  QEMU_RIVAL,
  revisionRival,
  type Rival,
  type RivalTimes,
  ROUNDS,
  Score,
} from "./score.ts";

/** Makes a run long enough that compiling at its start counts for little. */
const TIMES = 20;
/** Of the kernels apart: QEMU needs twenty times as long for these. */
const TIMES_APART = 2;

/** What a suite measures and has to reach. */
export interface Contest extends Bars {
  readonly description: string;
  readonly kernels: readonly BenchKernel[];
  /** Kernels that are measured and left out of the geometric means. */
  readonly apart?: readonly BenchKernel[];
}

/** Who runs kernels beside us. */
export interface KernelRival {
  readonly rival: Rival;
  readonly run: KernelRunner;
}

/** Declares the suite. */
export function contestSuite(contest: Contest): Suite {
  return defineSuite({
    description: contest.description,
    run: (context) => measure(contest, context),
  });
}

async function* measure(contest: Contest, context: BenchContext): AsyncGenerator<Measurement> {
  await using native = await buildNative("bench", ["../sdk/start.S", "guest.c"], context.note);
  const ours = runnerOf(await CommandLine.ours());
  const rivals = await emulators(context);
  if (native) rivals.push({ rival: NATIVE_RIVAL, run: runnerOfNative(native.path) });
  const score = new Score(contest);
  for (const kernel of contest.kernels) {
    const { runs, times } = await runKernel(kernel, TIMES, ours, rivals);
    yield* figures(score, kernel, runs, times, false);
  }
  for (const kernel of contest.apart ?? []) {
    const { runs, times } = await runKernel(kernel, TIMES_APART, ours, rivals);
    yield* figures(score, kernel, runs, times, true);
  }
  yield* score.means();
}

/** QEMU where it is installed, and the revision where one is given. */
export async function emulators(
  { against }: BenchContext,
  wishes: RunWishes = {},
  qemu = QEMU_RIVAL,
): Promise<KernelRival[]> {
  const rivals: KernelRival[] = [];
  if (hasPeer(QEMU)) rivals.push({ rival: qemu, run: runQemu });
  if (against !== undefined) {
    const run = runnerOf(await CommandLine.of(against), wishes);
    rivals.push({ rival: revisionRival(against.name), run });
  }
  return rivals;
}

/** What came of a kernel: our runs, and the rivals' times. */
export interface KernelResult {
  readonly runs: readonly KernelRun[];
  readonly times: readonly RivalTimes[];
}

/** Runs a kernel on all sides in turn. Rejects when they do not come to one result: that is no time. */
export async function runKernel(
  kernel: BenchKernel,
  times: number,
  ours: KernelRunner,
  rivals: readonly KernelRival[],
  rounds = ROUNDS,
): Promise<KernelResult> {
  const sides = [ours, ...rivals.map(({ run }) => run)];
  const [runs, ...theirs] = await inTurn(rounds, sides.map((run) => () => run(kernel, times)));
  const { checksum } = runs![0]!;
  for (const [i, others] of theirs.entries()) {
    if (others.every((other) => other.checksum === checksum)) continue;
    const { time } = rivals[i]!.rival;
    throw new Error(`${kernel.name} gave ${checksum} here, but ${others[0]!.checksum} (${time})`);
  }
  return {
    runs: runs!,
    times: theirs.map((others, i) => ({ rival: rivals[i]!.rival, seconds: secondsOf(others) })),
  };
}

/** Seconds of runs. */
export function secondsOf(runs: readonly KernelRun[]): number[] {
  return runs.map(({ seconds }) => seconds);
}

function* figures(
  score: Score,
  { name }: BenchKernel,
  runs: readonly KernelRun[],
  times: readonly RivalTimes[],
  apart: boolean,
): Generator<Measurement> {
  const instructions = runs[0]!.instructions / 1e6;
  yield { name: `${name} instructions`, value: instructions, unit: "million" };
  yield* score.measure(name, secondsOf(runs), times, apart);
}
