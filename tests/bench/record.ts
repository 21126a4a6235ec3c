/**
 * Benchmark suite `record`: what recording costs, how large its log is, how fast a replay is, and how fast
 * it goes backwards (issue 4, bars). Both sides of a comparison run in this process in turn, with the same
 * kept translations.
 */
import { type DebugTarget, type PowerOnOptions, type VM, VMKernel } from "../../mod.ts";
import { Prng } from "../../kernel/base/prng.ts";
import { defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import { recordingFacts } from "../../kernel/world/recording_facts.ts";
import { PROMPT } from "../_support/debian.ts";
import { BENCH_ELF } from "./support/command_line.ts";
import { median, ROUNDS } from "./support/score.ts";

/** Work that a guest does while it is timed; gives its seconds. */
type Job = (kernel: VMKernel, record: PowerOnOptions["record"]) => Promise<number>;

/** Seconds of the load under which going backwards is measured. */
const LOAD_SECONDS = 60;
/** Moments of it at which going backwards is measured. */
const MOMENTS = 10;
const IDLE_SECONDS = 12;
/** Disks and other guests of the host make single runs differ by a fifth. */
const OVERHEAD_ROUNDS = 9;
const TICKS = 1e7;

async function drain(stream: ReadableStream<Uint8Array>, until?: string): Promise<void> {
  let tail = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    tail = (tail + text).slice(-4000);
    if (until !== undefined && tail.includes(until)) return;
  }
}

async function timed(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}

/** A guest that computes and sends nothing. */
const compute: Job = async (kernel, record) => {
  const append = "bench=bytecode scale=4000";
  const vm = await kernel.powerOn({ kernel: BENCH_ELF, append, ...record && { record } });
  void drain(vm.console.readable);
  return await timed(() => vm.waitForExit());
};

/** Debian from its power-on to its power-off. */
const boot: Job = async (kernel, record) => {
  return await timed(async () => {
    const vm = await kernel.powerOn({ guest: "debian", ...record && { record } });
    const [shown, rest] = vm.console.readable.tee();
    void drain(rest);
    await drain(shown, PROMPT);
    await vm.console.write("poweroff -f\n");
    await vm.waitForExit();
  });
};

const IO_JOB = "mkdir -p /tmp/d; for i in 1 2 3 4; do " +
  "dd if=/dev/zero of=/dev/vda bs=64k count=512 conv=fsync; dd if=/dev/vda of=/dev/null bs=64k; " +
  "j=0; while [ $j -lt 40 ]; do dd if=/dev/vda of=/tmp/d/$j bs=4k count=8 skip=$j; " +
  "dd if=/tmp/d/$j of=/dev/vda bs=4k seek=$((j*50)) conv=fsync; j=$((j+1)); done; done 2>/dev/null";

/** A guest whose disk is busy. */
const diskWork: Job = async (kernel, record) => {
  const image = await Deno.makeTempFile();
  const noise = new Prng(5).bytes(1 << 20);
  for (let i = 0; i < 32; i++) await Deno.writeFile(image, noise, { append: true });
  try {
    const vm = await kernel.powerOn({
      guest: "debian",
      drives: [image],
      ...record && { record },
    });
    void drain(vm.console.readable);
    await vm.exec("true");
    const seconds = await timed(() => vm.exec(IO_JOB));
    await vm.powerOff();
    return seconds;
  } finally {
    await Deno.remove(image);
  }
};

/** Folders of recordings, which go with the suite. */
class Folders {
  readonly #root = Deno.makeTempDirSync({ prefix: "chronovisor-record-" });
  #next = 0;

  get next(): string {
    return `${this.#root}/${this.#next++}`;
  }

  get translations(): string {
    return `${this.#root}/translations`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#root, { recursive: true });
  }
}

async function* overhead(
  kernel: VMKernel,
  folders: Folders,
  { name, job, most }: { readonly name: string; readonly job: Job; readonly most: number },
): AsyncGenerator<Measurement> {
  // The first run makes translations for both.
  await job(kernel, undefined);
  const [plain, recorded]: [number[], number[]] = [[], []];
  for (let round = 0; round < OVERHEAD_ROUNDS; round++) {
    plain.push(await job(kernel, undefined));
    recorded.push(await job(kernel, folders.next));
  }
  yield { name: `${name} time`, value: median(plain), unit: "s" };
  const percent = (median(recorded) / median(plain) - 1) * 100;
  yield { name: `${name} overhead`, value: percent, unit: "%", bar: { atMost: most } };
}

async function* logs(kernel: VMKernel, folders: Folders): AsyncGenerator<Measurement> {
  const computing = folders.next;
  const recorded = await compute(kernel, computing);
  const facts = await recordingFacts(computing);
  const bytes = facts.logBytes.events + facts.logBytes.outputs;
  const perKinstr = bytes / (facts.icount / 1000);
  yield { name: "log bytes per kinstr", value: perKinstr, unit: "B", bar: { atMost: 0.1 } };
  const replays: number[] = [];
  const records: number[] = [recorded];
  for (let round = 0; round < ROUNDS; round++) {
    records.push(await compute(kernel, folders.next));
    replays.push(await replay(kernel, computing));
  }
  const speed = median(records) / median(replays);
  yield { name: "replay speed", value: speed, unit: "x", bar: { atLeast: 0.97 } };
}

/** Seconds from a replay's first instruction to its end. */
async function replay(kernel: VMKernel, folder: string): Promise<number> {
  const vm = await kernel.replay(folder);
  void drain(vm.console.readable);
  return await timed(async () => {
    const { replay } = await vm.waitForExit();
    if (replay?.kind !== "end") throw new Error(`the replay ended as ${JSON.stringify(replay)}`);
  });
}

async function* idle(kernel: VMKernel, folders: Folders): AsyncGenerator<Measurement> {
  const vm = await kernel.powerOn({ guest: "debian" });
  void drain(vm.console.readable);
  await vm.exec("true");
  const folder = folders.next;
  await vm.startRecording({ folder });
  await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000));
  await vm.stopRecording();
  await vm.powerOff();
  const { logBytes } = await recordingFacts(folder);
  const state = Deno.statSync(`${folder}/state-000000.log`).size;
  yield { name: "state of a running Debian", value: state / 2 ** 20, unit: "MiB" };
  const rate = (logBytes.events + logBytes.outputs) * 8 / IDLE_SECONDS / 1e6;
  yield { name: "idle log Mbit/s", value: rate, unit: "Mbit/s", bar: { atMost: 0.2 } };
  const again = await replay(kernel, folder);
  yield {
    name: "idle replay speed",
    value: IDLE_SECONDS / again,
    unit: "x",
    bar: { atLeast: 10 },
  };
}

const LOAD = "end=$(($(date +%s)+SECONDS)); i=0; while [ $(date +%s) -lt $end ]; do i=$((i+1)); " +
  "ls -laR /sys/class /proc/self > /tmp/x$((i%10)); gzip -c /tmp/x$((i%10)) | md5sum > /dev/null; done";

async function* backwards(kernel: VMKernel, folders: Folders): AsyncGenerator<Measurement> {
  const folder = folders.next;
  const recorded = await kernel.powerOn({ guest: "debian", record: folder });
  void drain(recorded.console.readable);
  await recorded.exec(LOAD.replace("SECONDS", `${LOAD_SECONDS}`));
  const symbols = (await recorded.exec("cat /proc/kallsyms")).text;
  await recorded.powerOff();
  const facts = await recordingFacts(folder);
  const seconds = facts.ticks / TICKS;
  yield { name: "recording under load", value: seconds, unit: "s" };
  const vm = await kernel.replay(folder, { waitsForDebugger: true });
  void drain(vm.console.readable);
  yield* goBack(vm, facts.icount, symbols);
  await vm.powerOff();
}

/** Kernel functions that a busy Debian calls: some each second or so, some with each process. */
const FUNCTIONS = ["vmstat_update", "vmstat_shepherd", "do_exit"];
/** Seconds of guest time that count as "a second back". */
const SECOND_BACK = { least: 0.3, most: 3 };

/** How long a way back took, and how far it led. */
interface Way {
  readonly milliseconds: number;
  readonly seconds: number;
}

async function stepBack(target: DebugTarget, from: number): Promise<number> {
  const start = performance.now();
  const stop = await target.resume({ direction: "backward", stepHart: 0 });
  const milliseconds = performance.now() - start;
  if (stop.icount !== from - 1) throw new Error(`a step back from ${from} ended at ${stop.icount}`);
  return milliseconds;
}

async function backTo(target: DebugTarget, address: bigint): Promise<Way | undefined> {
  const before = await target.position();
  const point = { kind: "execute", address, size: 2 } as const;
  await target.addPoint(point);
  const start = performance.now();
  const hit = await target.resume({ direction: "backward" });
  const milliseconds = performance.now() - start;
  await target.removePoint(point);
  if (hit.why !== "breakpoint") return undefined;
  return { milliseconds, seconds: (before.ticks - (await target.position()).ticks) / TICKS };
}

async function* goBack(vm: VM, icount: number, symbols: string): AsyncGenerator<Measurement> {
  const target = await vm.debug();
  const rng = new Prng(1);
  const addresses = FUNCTIONS.flatMap((name) => {
    const found = new RegExp(`^([0-9a-f]{16}) [tT] ${name}$`, "m").exec(symbols);
    return found === null ? [] : [BigInt(`0x${found[1]}`)];
  });
  const steps: number[] = [];
  const ways: Way[] = [];
  for (let moment = 0; moment < MOMENTS; moment++) {
    // From one moment to a later one, as somebody who looks for something goes.
    const part = (moment + rng.below(1000) / 1000) / MOMENTS;
    const goal = Math.floor(icount * (0.1 + 0.9 * part)) - 1;
    for (const address of addresses) {
      await target.seek(goal);
      steps.push(await stepBack(target, goal));
      const way = await backTo(target, address);
      if (way !== undefined) ways.push(way);
    }
  }
  const marks = await target.checkpoints();
  const bytes = marks.reduce((sum, mark) => sum + mark.bytes, 0);
  const isFar = ({ seconds }: Way) => seconds >= SECOND_BACK.least && seconds <= SECOND_BACK.most;
  const far = ways.filter(isFar);
  const taken = (some: readonly Way[]) => median(some.map(({ milliseconds }) => milliseconds));
  const bar = { atMost: 100 };
  yield { name: "reverse-step ms", value: median(steps), unit: "ms", bar };
  yield { name: "reverse-continue 1 s back ms", value: taken(far), unit: "ms", bar };
  yield { name: "reverse-continue 1 s back, how many", value: far.length, unit: "" };
  yield { name: "reverse-continue to any hit ms", value: taken(ways), unit: "ms" };
  yield { name: "history memory", value: bytes / 2 ** 20, unit: "MiB", bar: { atMost: 512 } };
  yield { name: "history checkpoints", value: marks.length, unit: "" };
}

async function* measure(): AsyncGenerator<Measurement> {
  using folders = new Folders();
  await using kernel = await VMKernel.start({ translations: folders.translations });
  yield* overhead(kernel, folders, { name: "cpu", job: compute, most: 3 });
  yield* overhead(kernel, folders, { name: "boot", job: boot, most: 5 });
  yield* overhead(kernel, folders, { name: "io", job: diskWork, most: 10 });
  yield* logs(kernel, folders);
  yield* idle(kernel, folders);
  yield* backwards(kernel, folders);
}

export default defineSuite({
  description: "what recording costs, how fast replays are, and how fast they go backwards",
  run: measure,
});
