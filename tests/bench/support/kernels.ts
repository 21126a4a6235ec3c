/**
 * The kernels of guests/bench, run by a command line of ours, under QEMU and natively: for the suites
 * interp, cpu and fp. All three print one line with the time by the guest's own clock, which follows the
 * host's, and a checksum.
 */
import { runPeer } from "../../_support/peers.ts";
import { BENCH_ELF, type CommandLine, type RunWishes } from "./command_line.ts";

/** The reference. */
export const QEMU = "qemu-system-riscv64";
/** A kernel that takes longer has lost its way. */
const MOST_SECONDS = 300;

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

/** One run. */
export interface KernelRun {
  readonly seconds: number;
  /** Guest instructions; 0 where there is no guest. */
  readonly instructions: number;
  readonly checksum: string;
}

/** Runs a kernel with so many times its work. */
export type KernelRunner = (kernel: BenchKernel, times: number) => Promise<KernelRun>;

/** Runs kernels with a command line. */
export function runnerOf(line: CommandLine, wishes: RunWishes = {}): KernelRunner {
  return (kernel, times) => {
    const guest = [
      "--kernel",
      BENCH_ELF,
      "--memory",
      "64M",
      "--append",
      commandLine(kernel, times),
    ];
    return run(Deno.execPath(), line.run(guest, wishes));
  };
}

/** Runs kernels under QEMU. */
export const runQemu: KernelRunner = (kernel, times) =>
  run(QEMU, [
    ...["-M", "virt", "-m", "64M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", BENCH_ELF, "-append", commandLine(kernel, times)],
  ]);

/** Runs kernels with the program that guests/bench/native.c makes of them. */
export function runnerOfNative(program: string): KernelRunner {
  return ({ name, scale }, times) => run(program, [name, `${scale * times}`]);
}

function commandLine({ name, scale }: BenchKernel, times: number): string {
  return `bench=${name} scale=${scale * times}`;
}

async function run(program: string, args: readonly string[]): Promise<KernelRun> {
  const { stdout, stderr } = await runPeer(program, args, MOST_SECONDS);
  const text = new TextDecoder().decode(stdout);
  const [, ticks, instructions, checksum] = LINE.exec(text) ?? [];
  if (checksum === undefined) {
    throw new Error(`${program} ${args.join(" ")} did not run a kernel: ${text}${stderr}`);
  }
  return { seconds: Number(ticks) / 1e7, instructions: Number(instructions), checksum };
}

const LINE = /^bench: \S+ ticks (\d+) instructions (\d+) checksum (\d+)/m;
