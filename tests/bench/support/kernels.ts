/**
 * The kernels of guests/bench, run here and under QEMU: for the suites interp, cpu and fp.
 */
import { readImage } from "../../../kernel/machine/image.ts";
import type { MachineConfig } from "../../../kernel/machine/machine.ts";
import { runToEnd, testMachine } from "../../_support/machine.ts";
import { runPeer } from "../../_support/peers.ts";

const ELF = new URL("../../../guests/bench/bench.elf", import.meta.url);
/** The reference. */
export const QEMU = "qemu-system-riscv64";

/** A kernel with as many units of work as QEMU does in about a twentieth of a second. */
export interface BenchKernel {
  readonly name: string;
  readonly scale: number;
}

const kernels = (table: readonly (readonly [string, number])[]): readonly BenchKernel[] =>
  table.map(([name, scale]) => ({ name, scale }));

/** Integer kernels. */
export const INTEGER_KERNELS = kernels([
  ["alu", 100],
  ["crc", 60],
  ["copy", 100],
  ["matrix", 60],
  ["sieve", 50],
  ["recursion", 300],
  ["bytecode", 80],
  ["sort", 100],
]);
/** The pointer chase, which is bound by memory and by page walks. */
export const CHASE: BenchKernel = { name: "chase", scale: 100 };
/** Float kernels; montecarlo rounds in other modes than to nearest. */
export const FLOAT_KERNELS = kernels([
  ["nbody", 40],
  ["dmatrix", 60],
  ["fft", 100],
  ["montecarlo", 40],
]);

/** One run here. */
export interface KernelRun {
  readonly seconds: number;
  readonly instructions: number;
}

/** Runs a kernel in this process. */
export async function runHere(
  { name, scale }: BenchKernel,
  times: number,
  tier: NonNullable<MachineConfig["tier"]>,
): Promise<KernelRun> {
  const kernel = await readImage(await Deno.readFile(ELF));
  const append = `bench=${name} scale=${scale * times}`;
  const machine = testMachine({ kernel, bios: "builtin", append, tier });
  // The first slices run in the baseline tier of the host's compiler.
  machine.run(300_000);
  const before = machine.icount;
  const start = performance.now();
  runToEnd(machine);
  const seconds = (performance.now() - start) / 1000;
  return { seconds, instructions: machine.icount - before };
}

/** Seconds of a kernel under QEMU, by the guest's own clock, which QEMU drives with the host's time. */
export async function runQemu({ name, scale }: BenchKernel, times: number): Promise<number> {
  const append = `bench=${name} scale=${scale * times}`;
  const { stdout } = await runPeer(QEMU, [
    ...["-M", "virt", "-m", "64M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", decodeURIComponent(ELF.pathname), "-append", append],
  ]);
  const ticks = /ticks (\d+)/.exec(new TextDecoder().decode(stdout))?.[1];
  if (ticks === undefined) throw new Error(`QEMU did not run ${append}`);
  return Number(ticks) / 1e7;
}

/** Geometric mean. */
export function geomean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Middle value. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
