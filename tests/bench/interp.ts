/**
 * Benchmark suite `interp`: the kernels of guests/bench on the interpreter tier, with translation on and
 * exact counts, in this process. Where QEMU is installed, its time divided by ours in the same run.
 */
import { readImage } from "../../kernel/machine/image.ts";
import { defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { hasPeer, runPeer } from "../_support/peers.ts";

const ELF = new URL("../../guests/bench/bench.elf", import.meta.url);
const QEMU = "qemu-system-riscv64";
/** Least speed on integer loops. */
const LEAST_MIPS = 200;

/** Kernels with units of work that take a fraction of a second; the chase is bound by memory. */
const KERNELS:
  readonly (readonly [name: string, scale: number, kind: "integer" | "memory" | "float"])[] = [
    ["alu", 100, "integer"],
    ["crc", 60, "integer"],
    ["copy", 100, "integer"],
    ["matrix", 60, "integer"],
    ["sieve", 50, "integer"],
    ["recursion", 300, "integer"],
    ["bytecode", 80, "integer"],
    ["sort", 100, "integer"],
    ["chase", 100, "memory"],
    ["nbody", 40, "float"],
    ["dmatrix", 60, "float"],
    ["fft", 100, "float"],
    ["montecarlo", 40, "float"],
  ];

async function ours(
  append: string,
): Promise<{ seconds: number; instructions: number }> {
  const kernel = await readImage(await Deno.readFile(ELF));
  const machine = testMachine({ kernel, bios: "builtin", append, tier: "interpreter" });
  // The first slices run in the baseline tier of the host's compiler.
  machine.run(300_000);
  const before = machine.icount;
  const start = performance.now();
  runToEnd(machine);
  const seconds = (performance.now() - start) / 1000;
  return { seconds, instructions: machine.icount - before };
}

/** Seconds of the kernel alone, by the guest's own clock, which QEMU drives with the host's time. */
async function theirs(append: string): Promise<number> {
  const { stdout } = await runPeer(QEMU, [
    ...["-M", "virt", "-m", "64M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", ELF.pathname, "-append", append],
  ]);
  const ticks = /ticks (\d+)/.exec(new TextDecoder().decode(stdout))?.[1];
  if (ticks === undefined) throw new Error(`QEMU did not run ${append}`);
  return Number(ticks) / 1e7;
}

function geomean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

async function* measure(): AsyncGenerator<Measurement> {
  const speeds: number[] = [];
  for (const [name, scale, kind] of KERNELS) {
    const append = `bench=${name} scale=${scale}`;
    const { seconds, instructions } = await ours(append);
    const mips = instructions / seconds / 1e6;
    if (kind === "integer") speeds.push(mips);
    yield {
      name,
      value: mips,
      unit: "MIPS",
      ...(kind === "integer" ? { bar: { atLeast: LEAST_MIPS } } : {}),
    };
    if (hasPeer(QEMU)) {
      yield { name: `${name} ratio to QEMU`, value: await theirs(append) / seconds, unit: "x" };
    }
  }
  yield { name: "geomean", value: geomean(speeds), unit: "MIPS", bar: { atLeast: LEAST_MIPS } };
}

export default defineSuite({
  description: "the interpreter tier on integer, memory and float kernels",
  run: measure,
});
