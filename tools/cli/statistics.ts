/** `--stats`: one JSON object about a VM at its end (issue 2, section 6). */
import { HostError, type VM } from "../../mod.ts";
import { writeOut } from "./streams.ts";

/** The object that is written. */
export async function statisticsOf(vm: VM): Promise<Record<string, unknown>> {
  const stats = await vm.stats();
  const shares = Object.fromEntries(
    Object.entries(stats.tiers).map(([tier, count]) => [tier, share(count, stats.instructions)]),
  );
  return {
    name: vm.name,
    state: vm.state,
    instructions: stats.instructions,
    wallMilliseconds: Math.round(stats.wallMilliseconds * 1000) / 1000,
    mips: Math.round(stats.mips * 1000) / 1000,
    tierShares: shares,
    translator: stats.translator,
    tlbFills: stats.tlbFills,
    memory: stats.memory,
    traces: stats.traces,
    traps: stats.traps,
    interrupts: stats.interrupts,
    nondeterminism: stats.nondeterminism,
    devices: stats.devices,
  };
}

/** Writes the object to a file, or to standard output for "-". */
export async function writeStatistics(vm: VM, to: string | undefined): Promise<void> {
  if (to === undefined) return;
  const text = JSON.stringify(await statisticsOf(vm)) + "\n";
  if (to === "-") return writeOut(text);
  try {
    await Deno.writeTextFile(to, text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot write statistics to "${to}": ${reason}`, { cause });
  }
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round(part / whole * 1e6) / 1e6;
}
