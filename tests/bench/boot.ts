/**
 * Benchmark suite `boot`: Debian from the command to its shell prompt and to power-off, here and under
 * QEMU, alternating; once without translations of earlier runs and once with them; and the memory of the
 * process.
 */
import { defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { cacheFolder } from "../../tools/guests/cache.ts";
import { resolveGuest } from "../../tools/guests/mod.ts";
import { PROMPT } from "../_support/debian.ts";
import { hasPeer } from "../_support/peers.ts";
import { median, QEMU } from "./support/kernels.ts";
import type { MemoryUse } from "./support/memory_probe.ts";

const CLI = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
const PROBE = new URL("support/memory_probe.ts", import.meta.url).pathname;
const ROUNDS = 5;
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

/** A cache folder with the guest of the user's, and no translations. */
async function freshCache(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-bench-" });
  for await (const { name } of Deno.readDir(cacheFolder())) {
    if (name !== "translations") {
      await Deno.symlink(`${cacheFolder()}/${name}`, `${folder}/${name}`);
    }
  }
  return folder;
}

async function memoryUse(): Promise<MemoryUse> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", PROBE],
    stdin: "null",
    stderr: "null",
  });
  const { stdout } = await command.output();
  return JSON.parse(new TextDecoder().decode(stdout)) as MemoryUse;
}

async function* measure(): AsyncGenerator<Measurement> {
  const { kernel, initrd, append } = await resolveGuest("debian", { packages: [] });
  const cold: Boot[] = [];
  const warm: Boot[] = [];
  const theirs: Boot[] = [];
  const ours = ["run", "-A", CLI, "run", "debian"];
  const peer = [
    ...["-M", "virt", "-m", "512M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", `${kernel}`, "-initrd", `${initrd}`, "-append", append ?? "", "-no-reboot"],
    ...["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device"],
  ];
  for (let round = 0; round < ROUNDS; round++) {
    const folder = await freshCache();
    const env = { CHRONOVISOR_CACHE: folder };
    cold.push(await boot(Deno.execPath(), ours, env));
    if (hasPeer(QEMU)) theirs.push(await boot(QEMU, peer));
    warm.push(await boot(Deno.execPath(), ours, env));
    await Deno.remove(folder, { recursive: true });
  }
  yield* times(cold, warm, theirs);
  const { peak, touched } = await memoryUse();
  yield { name: "process memory", value: peak / MiB, unit: "MiB" };
  yield { name: "guest memory touched", value: touched / MiB, unit: "MiB" };
  const over = (peak - touched) / 1e6;
  yield { name: "memory over guest", value: over, unit: "MB", bar: { atMost: 250 } };
}

function* times(
  cold: readonly Boot[],
  warm: readonly Boot[],
  theirs: readonly Boot[],
): Generator<Measurement> {
  const seconds = (boots: readonly Boot[], what: keyof Boot) =>
    median(boots.map((boot) => boot[what]));
  const prompt = seconds(cold, "prompt");
  yield { name: "debian to prompt", value: prompt, unit: "s", bar: { atMost: MOST_SECONDS } };
  yield { name: "debian to power-off, cold", value: seconds(cold, "off"), unit: "s" };
  yield { name: "debian to power-off, warm", value: seconds(warm, "off"), unit: "s" };
  if (theirs.length === 0) return;
  const peer = seconds(theirs, "off");
  yield { name: "debian to power-off under QEMU", value: peer, unit: "s" };
  const ratio = (boots: readonly Boot[]) => peer / seconds(boots, "off");
  yield { name: "ratio cold", value: ratio(cold), unit: "x", bar: { atLeast: 0.8 } };
  yield { name: "ratio warm", value: ratio(warm), unit: "x", bar: { atLeast: 1.1 } };
}

export default defineSuite({
  description: "Debian to its shell prompt and power-off, here and under QEMU",
  run: measure,
});
