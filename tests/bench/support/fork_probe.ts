/**
 * A process that forks a Debian of 512 MiB and prints what that costs as JSON: a part of the suite `checkpoint`,
 * in a process of its own, because what others have left would be freed while memory is measured.
 */
import { VMKernel } from "../../../mod.ts";

/** What forks cost. */
export interface ForkCosts {
  /** Milliseconds until all forks were made, behind the first. */
  readonly milliseconds: number;
  /** MiB that each takes while it waits. */
  readonly parked: number;
  /** MiB that each takes that runs, idle. */
  readonly idle: number;
}

const FORKS = 100;
/** Forks that run, each idle in its own world, while their memory is measured. */
const IDLE_FORKS = 10;
/** Forks that run before, idle, too: they bring what all share. */
const EARLIER_FORKS = 10;
const IDLE_SECONDS = 12;
/** V8 collects the garbage of a worker that does nothing when it has done nothing for half a minute. */
const SETTLE_SECONDS = 45;
const MIB = 2 ** 20;

const sleep = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/**
 * Bytes of memory that this process has of its own, without what is garbage: the memory of VMs that have ended would
 * be freed while others are measured, as if these had done that.
 */
async function resident(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    (globalThis as typeof globalThis & { gc(): void }).gc();
    await sleep(100);
  }
  const rollup = Deno.readTextFileSync("/proc/self/smaps_rollup");
  const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(rollup)?.[1] ?? 0);
  return (kib("Private_Dirty") + kib("Private_Clean")) * 1024;
}

async function measure(checkpoints: string, translations: string): Promise<ForkCosts> {
  const worlds = `${translations}/../worlds`;
  await using kernel = await VMKernel.start({ checkpoints, translations, worlds });
  const vm = await kernel.powerOn({ guest: "debian", memory: "512M" });
  await vm.exec("true");
  const [first] = await kernel.fork(vm, { count: 2 });
  const { id } = (await kernel.checkpoints()).find({ kind: "fork" })!;
  await vm.powerOff();
  await (await first!.start()).exec("true");
  const earlier = await kernel.fork(id, { count: EARLIER_FORKS, name: "earlier" });
  for (const fork of earlier) await fork.start();
  await sleep(IDLE_SECONDS * 1000);
  const before = await resident();
  const start = performance.now();
  const forks = await kernel.fork(id, { count: FORKS });
  const milliseconds = performance.now() - start;
  const parked = (await resident() - before) / FORKS / MIB;
  await sleep(SETTLE_SECONDS * 1000);
  const quiet = await resident();
  for (const fork of forks.slice(0, IDLE_FORKS)) await fork.start();
  await sleep(IDLE_SECONDS * 1000);
  return { milliseconds, parked, idle: (await resident() - quiet) / IDLE_FORKS / MIB };
}

if (import.meta.main) {
  const [checkpoints, translations] = Deno.args;
  console.log(JSON.stringify(await measure(checkpoints!, translations!)));
  Deno.exit(0);
}
