/**
 * Benchmark suite `boot`: Debian from the command to its shell prompt, here and under QEMU, alternating;
 * and the memory of the process.
 */
import { defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { resolveGuest } from "../../tools/guests/mod.ts";
import { PROMPT } from "../_support/debian.ts";
import { hasPeer } from "../_support/peers.ts";

const CLI = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
const QEMU = "qemu-system-riscv64";
const ROUNDS = 3;
/** Most seconds to the prompt. */
const MOST_SECONDS = 15;

interface Boot {
  readonly seconds: number;
  /** Largest resident size of the process in MiB. */
  readonly peak: number;
}

/** Starts a process and stops it when its output shows the prompt. */
async function untilPrompt(program: string, args: readonly string[]): Promise<Boot> {
  const start = performance.now();
  const command = new Deno.Command(program, {
    args: [...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  });
  const child = command.spawn();
  let tail = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    tail = (tail + text).slice(-1000);
    if (tail.includes(PROMPT)) break;
  }
  const seconds = (performance.now() - start) / 1000;
  const peak = await peakMemory(child.pid);
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  await child.status;
  await child.stdin.close().catch(() => {});
  return { seconds, peak };
}

/** VmHWM in MiB; 0 where the host does not tell. */
async function peakMemory(pid: number): Promise<number> {
  try {
    const status = await Deno.readTextFile(`/proc/${pid}/status`);
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

async function* measure(): AsyncGenerator<Measurement> {
  const { kernel, initrd, append } = await resolveGuest("debian", { packages: [] });
  const ours: Boot[] = [];
  const theirs: Boot[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await untilPrompt(Deno.execPath(), ["run", "-A", CLI, "run", "debian"]));
    if (!hasPeer(QEMU)) continue;
    theirs.push(
      await untilPrompt(QEMU, [
        ...["-M", "virt", "-m", "512M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
        ...["-kernel", `${kernel}`, "-initrd", `${initrd}`, "-append", append ?? ""],
        ...["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device"],
      ]),
    );
  }
  const seconds = median(ours.map((boot) => boot.seconds));
  yield { name: "debian to prompt", value: seconds, unit: "s", bar: { atMost: MOST_SECONDS } };
  yield { name: "process memory", value: median(ours.map((boot) => boot.peak)), unit: "MiB" };
  if (theirs.length === 0) return;
  const peer = median(theirs.map((boot) => boot.seconds));
  yield { name: "debian to prompt under QEMU", value: peer, unit: "s" };
  yield { name: "ratio to QEMU", value: peer / seconds, unit: "x" };
}

export default defineSuite({
  description: "Debian to its shell prompt, here and under QEMU",
  run: measure,
});
