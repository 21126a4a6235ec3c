/**
 * Suites that run one program as the first process of Debian's Linux, here and under QEMU in turn. The
 * program names each of its parts on the console when it begins ("@part"), and "@end" at the end; the host
 * takes the times.
 */
import { defineSuite, type Measurement, type Suite } from "../../../tools/dev/bench_suite.ts";
import { resolveGuest } from "../../../tools/guests/mod.ts";
import { type CpioEntry, writeCpio } from "../../../tools/image/cpio.ts";
import { hasPeer } from "../../_support/peers.ts";
import { geomean, median, QEMU } from "./kernels.ts";

const CLI = new URL("../../../tools/cli/main.ts", import.meta.url).pathname;
const ROUNDS = 5;

/** What a suite runs and has to reach. */
export interface LinuxContest {
  readonly description: string;
  /** Debian packages that the program needs. */
  readonly packages: readonly string[];
  /** The program: a file of the initial RAM disk that the kernel starts. */
  readonly program: { readonly name: string; readonly bytes: () => Promise<Uint8Array> };
  /** Names of the parts that are set-up, not measured. */
  readonly apart?: readonly string[];
  /** Runs the parts on the host itself, where it can; gives seconds by part. */
  readonly native?: () => Promise<ReadonlyMap<string, number>>;
  /** Least geometric mean of the ratios. */
  readonly leastMean: number;
}

/** Seconds by part. */
export type PartTimes = Map<string, number>;

/** Declares the suite. */
export function linuxSuite(contest: LinuxContest): Suite {
  return defineSuite({ description: contest.description, run: () => measure(contest) });
}

async function* measure(contest: LinuxContest): AsyncGenerator<Measurement> {
  const { kernel, initrd } = await resolveGuest("debian", { packages: contest.packages });
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-bench-" });
  try {
    const combined = `${folder}/initrd`;
    await Deno.writeFile(combined, await withProgram(`${initrd}`, contest.program));
    const append = `console=ttyS0 panic=-1 quiet rdinit=/${contest.program.name}`;
    const boot = ["--kernel", `${kernel}`, "--initrd", combined, "--append", append];
    yield* rounds(contest, boot);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The initial RAM disk with the program behind it: the kernel reads one archive after the other. */
async function withProgram(
  initrd: string,
  { name, bytes }: LinuxContest["program"],
): Promise<Uint8Array> {
  const first = await Deno.readFile(initrd);
  const entry: CpioEntry = { kind: "file", path: name, mode: 0o755, bytes: await bytes() };
  const second = writeCpio([entry]);
  const start = Math.ceil(first.length / 512) * 512;
  const whole = new Uint8Array(start + second.length);
  whole.set(first);
  whole.set(second, start);
  return whole;
}

async function* rounds(
  contest: LinuxContest,
  boot: readonly string[],
): AsyncGenerator<Measurement> {
  const ours: PartTimes[] = [];
  const theirs: PartTimes[] = [];
  const here = ["run", "-A", CLI, "run", ...boot, "--memory", "512M", "--no-translation-cache"];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await timeParts(Deno.execPath(), here));
    if (hasPeer(QEMU)) theirs.push(await timeParts(QEMU, qemuArguments(boot)));
  }
  const native = await contest.native?.();
  const measured = [...ours[0]!.keys()].filter((part) => !contest.apart?.includes(part));
  const ratios: number[] = [];
  for (const part of measured) {
    const of = (runs: readonly PartTimes[]) => median(runs.map((times) => times.get(part)!));
    yield { name: `${part} time`, value: of(ours), unit: "s" };
    if (theirs.length > 0) {
      const ratio = of(theirs) / of(ours);
      ratios.push(ratio);
      yield { name: `${part} time under QEMU`, value: of(theirs), unit: "s" };
      yield { name: `${part} ratio`, value: ratio, unit: "x" };
    }
    const alone = native?.get(part);
    if (alone !== undefined) yield { name: `${part} time on the host`, value: alone, unit: "s" };
  }
  if (ratios.length === 0) return;
  yield { name: "geomean", value: geomean(ratios), unit: "x", bar: { atLeast: contest.leastMean } };
}

function qemuArguments(boot: readonly string[]): string[] {
  const same = boot.map((word) => word.replace(/^--(kernel|initrd|append)$/, "-$1"));
  const machine = ["-M", "virt", "-m", "512M", "-display", "none", "-monitor", "none"];
  return [...machine, "-serial", "stdio", "-no-reboot", ...same];
}

/** Runs a program to its end and times the parts that it names. Throws when it does not come to "@end". */
export async function timeParts(
  program: string,
  args: readonly string[],
  cwd?: string,
): Promise<PartTimes> {
  const command = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    ...(cwd === undefined ? {} : { cwd }),
  });
  const child = command.spawn();
  const times: PartTimes = new Map();
  let part: { name: string; start: number } | undefined;
  let text = "";
  let ended = false;
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += piece;
    const now = performance.now();
    for (let found = MARK.exec(text); found !== null; found = MARK.exec(text)) {
      if (part !== undefined) times.set(part.name, (now - part.start) / 1000);
      part = { name: found[1]!, start: now };
      ended ||= part.name === "end";
      text = text.slice(found.index + found[0].length);
    }
  }
  await child.status;
  if (!ended || times.has("failed")) {
    throw new Error(`${program} did not come to its end after ${[...times.keys()]}: ${text}`);
  }
  return times;
}

const MARK = /^@(\S+)[^\n]*\n/m;
