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
/** Forks that ran and ended before: they bring what all share, and what is left of the boot is freed meanwhile. */
const EARLIER_FORKS = 4;
const IDLE_SECONDS = 4;
const MIB = 2 ** 20;

const sleep = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Bytes of memory that this process has of its own. */
function resident(): number {
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
  for (const fork of await kernel.fork(id, { count: EARLIER_FORKS, name: "earlier" })) {
    await using earlier = await fork.start();
    await earlier.exec("true");
  }
  await sleep(IDLE_SECONDS * 1000);
  const before = resident();
  const start = performance.now();
  const forks = await kernel.fork(id, { count: FORKS });
  const milliseconds = performance.now() - start;
  const parked = (resident() - before) / FORKS / MIB;
  await sleep(IDLE_SECONDS * 1000);
  const quiet = resident();
  for (const fork of forks.slice(0, IDLE_FORKS)) await fork.start();
  await sleep(IDLE_SECONDS * 1000);
  return { milliseconds, parked, idle: (resident() - quiet) / IDLE_FORKS / MIB };
}

if (import.meta.main) {
  const [checkpoints, translations] = Deno.args;
  console.log(JSON.stringify(await measure(checkpoints!, translations!)));
  Deno.exit(0);
}
