/**
 * Benchmark suite `checkpoint`: how long a VM stands still for a checkpoint and how much it is slowed while
 * it is saved, how fast it goes on, and what forks cost (issue 5, bars). All VMs are Debian; those that write
 * memory hard run guests/writer.
 */
import { type LoadOptions, type MadeCheckpoint, type VM, VMKernel } from "../../mod.ts";
import { defineSuite, type Measurement } from "../../tools/dev/bench_suite.ts";
import type { ForkCosts } from "./support/fork_probe.ts";
import { median } from "./support/score.ts";

const WRITER = new URL("../../guests/writer/writer", import.meta.url);
const CLI = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
const RESUMER = new URL("./support/resume_probe.ts", import.meta.url).pathname;
const FORKER = new URL("./support/fork_probe.ts", import.meta.url).pathname;
/** What `deno task start` gives V8. */
const CLI_FLAGS = ["--v8-flags=--max-semi-space-size=4"];
const TRANSLATIONS = `${Deno.env.get("HOME")}/.cache/chronovisor/translations`;
const WORLDS = `${TRANSLATIONS}/../worlds`;

/** Checkpoints of a VM whose pauses are looked at. */
const PAUSES = 40;
/** MiB that the writer of these writes to. */
const PAUSE_WRITER_MIB = 96;
const RESUMES = 15;
/** Saves of a VM whose speed is looked at. */
const SAVES = 7;

const sleep = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** A kernel with a store of its own, which goes with it. */
class Bench implements AsyncDisposable {
  private constructor(readonly kernel: VMKernel, readonly folder: string) {}

  static async start(): Promise<Bench> {
    const folder = await Deno.makeTempDir({ prefix: "chronovisor-checkpoint-" });
    const options = { checkpoints: folder, translations: TRANSLATIONS, worlds: WORLDS };
    const kernel = await VMKernel.start(options);
    return new Bench(kernel, folder);
  }

  async debian(memory: string): Promise<VM> {
    const vm = await this.kernel.powerOn({ guest: "debian", memory });
    await vm.exec("true");
    return vm;
  }

  /** Bytes of all files of the store. */
  bytes(): number {
    let bytes = 0;
    for (const part of ["packs", "checkpoints"]) {
      for (const { name } of Deno.readDirSync(`${this.folder}/${part}`)) {
        bytes += Deno.statSync(`${this.folder}/${part}/${name}`).size;
      }
    }
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kernel.stop();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Lets a VM write so many MiB of its memory over and over. */
async function write(vm: VM, mib: number): Promise<void> {
  await vm.exec("cat > /tmp/writer && chmod +x /tmp/writer", {
    stdin: await Deno.readFile(WRITER),
  });
  const running = await vm.spawn(["/tmp/writer", `${mib}`]);
  // It says that it is ready, and nothing more.
  await running.stdout.getReader().read();
}

/** The value that so much of a list is not above. */
function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}

async function* pauses(): AsyncGenerator<Measurement> {
  for (const memory of ["256M", "1G", "2G"]) {
    await using bench = await Bench.start();
    const { kernel } = bench;
    const vm = await bench.debian(memory);
    await write(vm, PAUSE_WRITER_MIB);
    const store = await kernel.checkpoints();
    const stood: number[] = [];
    let last: MadeCheckpoint | undefined;
    for (let i = 0; i < PAUSES; i++) {
      const made = await kernel.checkpoint(vm);
      stood.push(made.stoodMicroseconds! / 1000);
      if (last !== undefined) await store.delete([last.id]);
      last = made;
    }
    const name = memory === "1G" ? "" : ` ${memory}`;
    yield { name: `pause p50${name}`, value: median(stood), unit: "ms", bar: { atMost: 2 } };
    const high = percentile(stood, 0.99);
    yield { name: `pause p99${name}`, value: high, unit: "ms", bar: { atMost: 5 } };
  }
}

/** Millions of instructions in a second of so long. */
async function speed(vm: VM, milliseconds: number): Promise<number> {
  const [icount, at] = [vm.icount, performance.now()];
  await sleep(milliseconds);
  return (vm.icount - icount) / (performance.now() - at) / 1000;
}

async function* saving(): AsyncGenerator<Measurement> {
  await using bench = await Bench.start();
  const vm = await bench.debian("1G");
  await write(vm, 600);
  const slowdowns: number[] = [];
  let before = await speed(vm, 2000);
  for (let round = 0; round < SAVES; round++) {
    const [icount, at] = [vm.icount, performance.now()];
    await bench.kernel.checkpoint(vm);
    const saved = (vm.icount - icount) / (performance.now() - at) / 1000;
    const after = await speed(vm, 2000);
    // The host's own speed changes from second to second: each save is compared with what lies around it.
    slowdowns.push((1 - saved / ((before + after) / 2)) * 100);
    before = after;
  }
  yield { name: "saver slowdown", value: median(slowdowns), unit: "%", bar: { atMost: 10 } };
}

async function* chain(): AsyncGenerator<Measurement> {
  await using bench = await Bench.start();
  const vm = await bench.debian("1G");
  await bench.kernel.checkpoint(vm);
  const before = bench.bytes();
  await vm.exec("head -c 20000000 /dev/urandom > /tmp/noise; sync");
  const second = await bench.kernel.checkpoint(vm);
  const grown = (bench.bytes() - before) / (second.counts.added * 4096);
  yield {
    name: "second checkpoint over pages written",
    value: grown,
    unit: "x",
    bar: { atMost: 1.05 },
  };
}

/** TABLE of ways to load, by what they are called in the figures. */
const WAYS: Readonly<Record<string, LoadOptions>> = {
  "working set": { first: "active" },
  "lazily": { first: "none", inBackground: false, around: 1 },
  "lazily, neighbours and background": { first: "none", backgroundAfter: 0 },
  "all first": { first: "all" },
};

/** Milliseconds until a resumed VM runs, and until a command in it has answered. */
async function resumeOnce(
  kernel: VMKernel,
  id: string,
  how: LoadOptions & { readonly learn?: boolean },
): Promise<{ readonly vm: VM; readonly ran: number; readonly answered: number }> {
  const start = performance.now();
  const [fork] = await kernel.fork(id, { inBackground: true, ...how });
  const vm = await fork!.start();
  const ran = performance.now() - start;
  await vm.exec(["true"]);
  return { vm, ran, answered: performance.now() - start };
}

async function* resuming(): AsyncGenerator<Measurement> {
  // A resume waits for the disk, which is to be through with what others have written.
  await new Deno.Command("sync").output();
  await using bench = await Bench.start();
  const { kernel } = bench;
  await kernel.keepSpareWorlds(2, { memory: "1G" });
  let vm = await bench.debian("1G");
  // Until the first instruction, and until the kernel has told.
  const [ran, returned]: [number[], number[]] = [[], []];
  let id = "";
  for (let i = 0; i < RESUMES; i++) {
    // It ends with the VM, or before.
    vm.exec("for i in 1 2 3 4 5 6 7 8; do true; /bin/true; done").catch(() => {});
    ({ id } = await kernel.suspend(vm));
    await kernel.keepSpareWorlds(2, { memory: "1G" });
    await sleep(300);
    const start = performance.now();
    vm = await kernel.resume(id);
    returned.push(performance.now() - start);
    ran.push(vm.startedAt - performance.timeOrigin - start);
    await vm.exec("true");
  }
  yield { name: "resume ms", value: median(ran), unit: "ms", bar: { atMost: 8 } };
  yield { name: "resume has returned", value: median(returned), unit: "ms" };
  // A guest at rest: what it would still do is the same however its pages come.
  await sleep(2000);
  ({ id } = await kernel.suspend(vm));
  await (await resumeOnce(kernel, id, { learn: true })).vm.powerOff();
  const answered = new Map(Object.keys(WAYS).map((way) => [way, [] as number[]]));
  for (let round = 0; round < 5; round++) {
    for (const [way, how] of Object.entries(WAYS)) {
      await kernel.keepSpareWorlds(2, { memory: "1G" });
      await sleep(300);
      const one = await resumeOnce(kernel, id, how);
      answered.get(way)!.push(one.answered);
      await one.vm.powerOff();
    }
  }
  for (const [way, times] of answered) {
    yield { name: `exec after resume, ${way}`, value: median(times), unit: "ms" };
  }
  const gain = median(answered.get("lazily")!) / median(answered.get("working set")!);
  yield { name: "working set gain", value: gain, unit: "x", bar: { atLeast: 3.7 } };
  yield* resumingAnew(bench, id);
}

/** Wall milliseconds of a process. */
async function processMilliseconds(args: string[], env: Record<string, string> = {}) {
  const start = performance.now();
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args,
    env,
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed`);
  return { start, end: performance.now(), text: new TextDecoder().decode(stdout) };
}

/** Milliseconds of a Deno that does nothing. */
async function emptyStart(): Promise<number> {
  const empty = await Deno.makeTempFile({ suffix: ".js" });
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const { start, end } = await processMilliseconds(["run", "-A", "--no-check", empty]);
    times.push(end - start);
  }
  await Deno.remove(empty);
  return median(times);
}

async function* resumingAnew(bench: Bench, id: string): AsyncGenerator<Measurement> {
  const empty = await emptyStart();
  yield { name: "Deno's own start", value: empty, unit: "ms" };
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const began = Date.now();
    const { text } = await processMilliseconds(
      [
        "run",
        "-A",
        "--no-check",
        "--unstable-worker-options",
        RESUMER,
        bench.folder,
        TRANSLATIONS,
        id,
      ],
    );
    times.push(Number(text) - began - empty);
  }
  const bar = { atMost: 60 };
  yield { name: "resume in a new process", value: median(times), unit: "ms", bar };
}

async function* forking(): AsyncGenerator<Measurement> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-forks-" });
  try {
    const { text } = await processMilliseconds([
      "run",
      "-A",
      "--no-check",
      "--unstable-worker-options",
      `${CLI_FLAGS},--expose-gc`,
      FORKER,
      folder,
      TRANSLATIONS,
    ]);
    const { milliseconds, parked, idle } = JSON.parse(text) as ForkCosts;
    yield { name: "fork 100 ms", value: milliseconds, unit: "ms", bar: { atMost: 100 } };
    yield { name: "parked fork", value: parked, unit: "MiB", bar: { atMost: 1 } };
    yield { name: "idle fork", value: idle, unit: "MiB", bar: { atMost: 12 } };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function* warmExec(): AsyncGenerator<Measurement> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-warm-" });
  try {
    const command = ["run", "-A", ...CLI_FLAGS, CLI];
    const env = { CHRONOVISOR_CHECKPOINTS: folder };
    const exec = () => processMilliseconds([...command, "exec", "debian", "--", "true"], env);
    for (let i = 0; i < 2; i++) await exec();
    const times: number[] = [];
    for (let i = 0; i < 7; i++) {
      const { start, end } = await exec();
      times.push(end - start);
    }
    yield { name: "warm exec ms", value: median(times), unit: "ms", bar: { atMost: 500 } };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

export default defineSuite({
  description: "pauses, saves, resumes, forks and warm commands",
  async *run() {
    yield* pauses();
    yield* saving();
    yield* chain();
    yield* resuming();
    yield* forking();
    yield* warmExec();
  },
});
