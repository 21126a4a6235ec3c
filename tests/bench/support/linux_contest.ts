/**
 * Suites that run one program as the first process of Debian's Linux, here, under QEMU, and at a revision
 * of ours when one is given, in turn; and on the host itself where it can. The program names each of its
 * parts on the console when it begins ("@part"), and "@end" at the end; the host takes the times.
 */
import {
  type BenchContext,
  defineSuite,
  type Measurement,
  type Suite,
} from "../../../tools/dev/bench_suite.ts";
import { resolveGuest } from "../../../tools/guests/mod.ts";
import { type CpioEntry, writeCpio } from "../../../tools/image/cpio.ts";
import { hasPeer } from "../../_support/peers.ts";
import { CommandLine } from "./command_line.ts";
import type { PartCounts } from "./counted_guest.ts";
import { QEMU } from "./kernels.ts";
import { MarkScanner } from "./marks.ts";
import {
  type Bars,
  inTurn,
  NATIVE_RIVAL,
  QEMU_RIVAL,
  revisionRival,
  type Rival,
  ROUNDS,
  Score,
} from "./score.ts";

const COUNTED = new URL("counted_guest.ts", import.meta.url).pathname;

/** What a suite runs and has to reach. */
export interface LinuxContest extends Bars {
  readonly description: string;
  /** Debian packages that the program needs. */
  readonly packages: readonly string[];
  /** The program: a file of the initial RAM disk that the kernel starts. */
  readonly program: { readonly name: string; readonly bytes: () => Promise<Uint8Array> };
  /** Names of the parts that are set-up, not measured. */
  readonly apart?: readonly string[];
  /**
   * Whether our runs use and keep translations, as they do unless they are told not to; the ratios of runs
   * without are given beside.
   */
  readonly keeps?: boolean;
  /** Makes ready what runs the parts on the host itself; nothing, with a note, where that cannot be. */
  readonly native?: (note: (why: string) => void) => Promise<NativeParts | undefined>;
}

/** Runs a suite's parts on the host itself; one whose program the host does not have is left out. */
export interface NativeParts extends AsyncDisposable {
  readonly run: () => Promise<PartTimes>;
}

/** Seconds by part. */
export type PartTimes = Map<string, number>;

/** Declares the suite. */
export function linuxSuite(contest: LinuxContest): Suite {
  return defineSuite({
    description: contest.description,
    run: (context) => measure(contest, context),
  });
}

async function* measure(
  contest: LinuxContest,
  context: BenchContext,
): AsyncGenerator<Measurement> {
  const { kernel, initrd } = await resolveGuest("debian", { packages: contest.packages });
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-bench-" });
  try {
    const combined = `${folder}/initrd`;
    await Deno.writeFile(combined, await withProgram(`${initrd}`, contest.program));
    const append = `console=ttyS0 panic=-1 quiet rdinit=/${contest.program.name}`;
    const boot = ["--kernel", `${kernel}`, "--initrd", combined, "--append", append];
    yield* rounds(contest, context, boot);
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

/** Who runs the parts beside us. */
interface PartsRival {
  readonly rival: Rival;
  readonly run: () => Promise<PartTimes>;
}

async function* rounds(
  contest: LinuxContest,
  context: BenchContext,
  boot: readonly string[],
): AsyncGenerator<Measurement> {
  await using native = await contest.native?.(context.note);
  const here = await CommandLine.ours();
  const rivals = await guestRivals(context, boot);
  if (native) rivals.push({ rival: NATIVE_RIVAL, run: native.run });
  const withoutKept = () => timeParts(Deno.execPath(), ours(here, boot));
  await using cache = await cacheFolder();
  const usual = () =>
    contest.keeps
      ? timeParts(Deno.execPath(), ours(here, boot, true), { env: cache.env })
      : withoutKept();
  const sides = [usual, ...rivals.map(({ run }) => run), ...contest.keeps ? [withoutKept] : []];
  const results = await inTurn(ROUNDS, sides);
  const fresh = contest.keeps ? results.pop() : undefined;
  const [times, ...theirs] = results;
  const counts = await countParts(boot);
  const score = new Score(contest);
  const freshScore = new Score();
  for (const part of times![0]!.keys()) {
    if (contest.apart?.includes(part)) continue;
    const others = theirs.map((runs, i) => ({
      rival: rivals[i]!.rival,
      seconds: secondsOf(runs, part),
    }));
    const instructions = counts[part]! / 1e6;
    yield { name: `${part} instructions`, value: instructions, unit: "million" };
    const there = others.filter(({ seconds }) => seconds.length > 0);
    yield* score.measure(part, secondsOf(times!, part), there);
    const peer = there.find(({ rival }) => rival === QEMU_RIVAL);
    if (fresh && peer) {
      const { seconds } = peer;
      const figures = freshScore.compare(part, secondsOf(fresh, part), { rival: FRESH, seconds });
      yield [...figures].at(-1)!;
    }
  }
  yield* freshScore.means();
  yield* score.means();
}

/** What the ratios to QEMU of runs without kept translations are called. */
const FRESH: Rival = { time: "", ratio: "ratio without kept", geomean: "geomean without kept" };

/** A cache folder that is empty at first. */
async function cacheFolder(): Promise<AsyncDisposable & { readonly env: Record<string, string> }> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-bench-" });
  return {
    env: { CHRONOVISOR_CACHE: folder },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

function secondsOf(runs: readonly PartTimes[], part: string): number[] {
  return runs.flatMap((times) => times.get(part) ?? []);
}

async function guestRivals(
  { against }: BenchContext,
  boot: readonly string[],
): Promise<PartsRival[]> {
  const rivals: PartsRival[] = [];
  if (hasPeer(QEMU)) {
    rivals.push({ rival: QEMU_RIVAL, run: () => timeParts(QEMU, qemuArguments(boot)) });
  }
  if (against !== undefined) {
    const line = await CommandLine.of(against);
    const run = () => timeParts(Deno.execPath(), ours(line, boot));
    rivals.push({ rival: revisionRival(against.name), run });
  }
  return rivals;
}

function ours(line: CommandLine, boot: readonly string[], keeps = false): string[] {
  return line.run([...boot, "--memory", "512M"], { keeps });
}

/** Guest instructions of each part, from a run of its own: asking for them takes time. */
async function countParts(boot: readonly string[]): Promise<PartCounts> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", COUNTED, ...boot.filter((word) => !word.startsWith("--"))],
    stdin: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("the run that counts instructions failed");
  return JSON.parse(new TextDecoder().decode(stdout)) as PartCounts;
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
  where: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Promise<PartTimes> {
  const command = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
    ...where,
  });
  const child = command.spawn();
  const times: PartTimes = new Map();
  let part: { name: string; start: number } | undefined;
  const marks = new MarkScanner();
  let ended = false;
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    const now = performance.now();
    for (const name of marks.scan(piece)) {
      if (part !== undefined) times.set(part.name, (now - part.start) / 1000);
      part = { name, start: now };
      ended ||= name === "end";
    }
  }
  await child.status;
  if (!ended || times.has("failed")) {
    throw new Error(`${program} did not come to its end after ${[...times.keys()]}: ${marks.rest}`);
  }
  return times;
}
