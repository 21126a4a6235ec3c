/**
 * Benchmark suite `interp`: the kernels of guests/bench on the interpreter tier, with translation on and
 * exact counts. Where QEMU is installed, its time divided by ours in the same run.
 */
import { type BenchContext, defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { CommandLine } from "./support/command_line.ts";
import { emulators, runKernel, secondsOf } from "./support/kernel_contest.ts";
import { CHASE, FLOAT_KERNELS, INTEGER_KERNELS, runnerOf } from "./support/kernels.ts";
import { geomean, median, type Rival, Score } from "./support/score.ts";

/** Least speed on integer loops. */
const LEAST_MIPS = 200;
const ROUNDS = 3;
const TIER = { wanted: { "--tier": "interpreter" } };
/** Here QEMU, which translates, is no bar. */
const QEMU_BESIDE: Rival = {
  time: "time under QEMU",
  ratio: "ratio to QEMU",
  geomean: "geomean to QEMU",
};

async function* measure(context: BenchContext): AsyncGenerator<Measurement> {
  const ours = runnerOf(await CommandLine.ours(), TIER);
  const rivals = await emulators(context, TIER, QEMU_BESIDE);
  const score = new Score();
  const speeds: number[] = [];
  for (const kernel of [...INTEGER_KERNELS, CHASE, ...FLOAT_KERNELS]) {
    const { runs, times } = await runKernel(kernel, 1, ours, rivals, ROUNDS);
    const mips = median(runs.map(({ instructions, seconds }) => instructions / seconds / 1e6));
    const judged = INTEGER_KERNELS.includes(kernel);
    const bar = judged ? { bar: { atLeast: LEAST_MIPS } } : {};
    yield { name: kernel.name, value: mips, unit: "MIPS", ...bar };
    yield* score.measure(kernel.name, secondsOf(runs), times, !judged);
    if (judged) speeds.push(mips);
  }
  yield { name: "geomean", value: geomean(speeds), unit: "MIPS", bar: { atLeast: LEAST_MIPS } };
  yield* score.means();
}

export default defineSuite({
  description: "the interpreter tier on integer, memory and float kernels",
  run: measure,
});
