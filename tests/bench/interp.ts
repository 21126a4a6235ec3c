/**
 * Benchmark suite `interp`: the kernels of guests/bench on the interpreter tier, with translation on and
 * exact counts, in this process. Where QEMU is installed, its time divided by ours in the same run.
 */
import { defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { hasPeer } from "../_support/peers.ts";
import {
  type BenchKernel,
  CHASE,
  FLOAT_KERNELS,
  geomean,
  INTEGER_KERNELS,
  QEMU,
  runHere,
  runQemu,
} from "./support/kernels.ts";

/** Least speed on integer loops. */
const LEAST_MIPS = 200;

async function* measure(): AsyncGenerator<Measurement> {
  const speeds: number[] = [];
  for (const kernel of INTEGER_KERNELS) speeds.push(yield* measureKernel(kernel, LEAST_MIPS));
  for (const kernel of [CHASE, ...FLOAT_KERNELS]) yield* measureKernel(kernel, undefined);
  yield { name: "geomean", value: geomean(speeds), unit: "MIPS", bar: { atLeast: LEAST_MIPS } };
}

async function* measureKernel(
  kernel: BenchKernel,
  least: number | undefined,
): AsyncGenerator<Measurement, number> {
  const { seconds, instructions } = await runHere(kernel, 1, "interpreter");
  const mips = instructions / seconds / 1e6;
  const bar = least === undefined ? {} : { bar: { atLeast: least } };
  yield { name: kernel.name, value: mips, unit: "MIPS", ...bar };
  if (hasPeer(QEMU)) {
    const ratio = await runQemu(kernel, 1) / seconds;
    yield { name: `${kernel.name} ratio to QEMU`, value: ratio, unit: "x" };
  }
  return mips;
}

export default defineSuite({
  description: "the interpreter tier on integer, memory and float kernels",
  run: measure,
});
