/**
 * Benchmark suite `boot`: Debian from the command to its shell prompt and to power-off, here, under QEMU,
 * and at a revision of ours when one is given, in turn; once without translations of earlier runs and once
 * with them; and the memory of the process.
 */
import { type BenchContext, defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { resolveGuest } from "../../tools/guests/mod.ts";
import { PROMPT } from "../_support/debian.ts";
import { hasPeer } from "../_support/peers.ts";
import { CommandLine, startArguments } from "./support/command_line.ts";
import { QEMU } from "./support/kernels.ts";
import type { MemoryUse } from "./support/memory_probe.ts";
import { median, revisionRival, ROUNDS, Score } from "./support/score.ts";

const PROBE = new URL("support/memory_probe.ts", import.meta.url).pathname;
/** Most seconds to the prompt. */
const MOST_SECONDS = 15;
const MiB = 2 ** 20;

/** Seconds from the command to the prompt, and to the end of the process. */
interface Boot {
  readonly prompt: number;
  readonly off: number;
}

/** Starts a process, turns its guest off at the prompt and waits for the end. */
async function boot(program: string, args: readonly string[], env = {}): Promise<Boot> {
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  const command = new Deno.Command(program, {
    args: [...args],
    env,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  });
  const child = command.spawn();
  const keyboard = child.stdin.getWriter();
  let tail = "";
  let prompt = 0;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    tail = (tail + text).slice(-1000);
    if (prompt > 0 || !tail.includes(PROMPT)) continue;
    prompt = since();
    await keyboard.write(new TextEncoder().encode("poweroff -f\n"));
  }
  await child.status;
  await keyboard.close().catch(() => {});
  if (prompt === 0) throw new Error(`${program} ended without a prompt: ${tail}`);
  return { prompt, off: since() };
}

/** The two boots of a tree in a round. */
interface Pair {
  readonly cold: Boot;
  readonly warm: Boot;
}

/**
 * Boots with a cache folder that is empty, then with what that left. The guest's images are named, so that
 * the folder has only the tree's translations, and older trees start the same guest.
 */
async function coldAndWarm(line: CommandLine, images: Images): Promise<Pair> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-bench-" });
  try {
    const env = { CHRONOVISOR_CACHE: folder };
    const { kernel, initrd, append } = images;
    const guest = ["--kernel", kernel, "--initrd", initrd, "--append", append, "--memory", "512M"];
    const args = line.run(guest, { keeps: true });
    const cold = await boot(Deno.execPath(), args, env);
    return { cold, warm: await boot(Deno.execPath(), args, env) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function underQemu({ kernel, initrd, append }: Images): Promise<Boot> {
  return await boot(QEMU, [
    ...["-M", "virt", "-m", "512M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", kernel, "-initrd", initrd, "-append", append, "-no-reboot"],
    ...["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device"],
  ]);
}

/** What both kinds of machine start. */
interface Images {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
}

async function memoryUse(): Promise<MemoryUse> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [...await startArguments(), PROBE],
    stdin: "null",
    stderr: "null",
  });
  const { stdout } = await command.output();
  return JSON.parse(new TextDecoder().decode(stdout)) as MemoryUse;
}

async function* measure({ against }: BenchContext): AsyncGenerator<Measurement> {
  const { kernel, initrd, append = "" } = await resolveGuest("debian", { packages: [] });
  const images: Images = { kernel: `${kernel}`, initrd: `${initrd}`, append };
  const here = await CommandLine.ours();
  const before = against && await CommandLine.of(against);
  const ours: Pair[] = [];
  const peers: Boot[] = [];
  const theirs: Pair[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await coldAndWarm(here, images));
    if (before) theirs.push(await coldAndWarm(before, images));
    if (hasPeer(QEMU)) peers.push(await underQemu(images));
  }
  yield* times(ours, peers);
  if (against) yield* comparison(against.name, ours, theirs);
  yield* memory();
}

async function* memory(): AsyncGenerator<Measurement> {
  const { peak, resident, touched } = await memoryUse();
  yield { name: "process memory at most", value: peak / MiB, unit: "MiB" };
  yield { name: "process memory", value: resident / MiB, unit: "MiB" };
  yield { name: "guest memory touched", value: touched / MiB, unit: "MiB" };
  const over = (resident - touched) / 1e6;
  yield { name: "memory over guest", value: over, unit: "MB", bar: { atMost: 250 } };
}

/** The times that are measured of a round. */
const MEASURES = {
  "debian to prompt": ({ cold }: Pair) => cold.prompt,
  "debian to power-off, cold": ({ cold }: Pair) => cold.off,
  "debian to power-off, warm": ({ warm }: Pair) => warm.off,
};

function* times(ours: readonly Pair[], theirs: readonly Boot[]): Generator<Measurement> {
  for (const [name, secondsOf] of Object.entries(MEASURES)) {
    const bar = name === "debian to prompt" ? { bar: { atMost: MOST_SECONDS } } : {};
    yield { name, value: median(ours.map(secondsOf)), unit: "s", ...bar };
  }
  if (theirs.length === 0) return;
  const peer = median(theirs.map(({ off }) => off));
  yield { name: "debian to power-off under QEMU", value: peer, unit: "s" };
  const ratio = (kind: keyof Pair) => peer / median(ours.map((pair) => pair[kind].off));
  yield { name: "ratio cold", value: ratio("cold"), unit: "x", bar: { atLeast: 0.8 } };
  yield { name: "ratio warm", value: ratio("warm"), unit: "x", bar: { atLeast: 1.1 } };
}

function* comparison(
  revision: string,
  ours: readonly Pair[],
  theirs: readonly Pair[],
): Generator<Measurement> {
  const score = new Score();
  const rival = revisionRival(revision);
  for (const [name, secondsOf] of Object.entries(MEASURES)) {
    yield* score.compare(name, ours.map(secondsOf), { rival, seconds: theirs.map(secondsOf) });
  }
  yield* score.means();
}

export default defineSuite({
  description: "Debian to its shell prompt and power-off, here and under QEMU",
  run: measure,
});
