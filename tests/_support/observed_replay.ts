/**
 * Replays with plugins and replay-only code, in this process: what a VM world does for them, in its simplest
 * form, with slices as long as wanted.
 */
import { latin1 } from "../../kernel/base/bytes.ts";
import { readMemory } from "../../kernel/debug/hart_memory.ts";
import { MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import type { ReplayPlugin } from "../../kernel/debug/plugin.ts";
import { PluginHost, type PluginStop } from "../../kernel/debug/plugin_host.ts";
import type { GuestSymbol } from "../../kernel/debug/symbol_table.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { Snapshots } from "../../kernel/machine/snapshot.ts";
import { type CoreReport, ReplayCores } from "../../kernel/replay/replay_core.ts";
import type { ReplayStop } from "../../kernel/replay/replayer.ts";
import { testMachine } from "./machine.ts";
import { type TestRecording, testReplayer } from "./recording.ts";

/** How to replay. */
export interface Observation {
  readonly plugins?: readonly ReplayPlugin[];
  readonly symbols?: readonly GuestSymbol[];
  /** Whether replay-only code runs. */
  readonly cores?: boolean;
  readonly slice?: () => number;
}

/** What became of a replay. */
export interface ObservedReplay {
  readonly machine: Machine;
  readonly stop: ReplayStop;
  readonly console: string;
  /** What plugins printed. */
  readonly printed: string;
  readonly pluginStop: PluginStop | undefined;
  readonly reports: readonly CoreReport[];
}

/** Replays a recording under observation. */
export function observeReplay(
  recording: TestRecording,
  options: Partial<MachineConfig>,
  { plugins = [], symbols, cores = false, slice = () => 50_000_000 }: Observation,
): ObservedReplay {
  const machine = testMachine({ ...recording.config, ...options });
  const text: string[] = [];
  let printed = "";
  const reports: CoreReport[] = [];
  const host = new PluginHost({ symbols, print: (more) => printed += more });
  const replayer = testReplayer(recording, machine, {
    sent: (output, icount) => {
      host.sent(output, icount);
      if (output.kind === "bytes") text.push(latin1(output.bytes));
    },
    epochPassed: () => host.tell("epoch", undefined),
    drive: (_machine, budget) => {
      const end = machine.icount + budget;
      for (;;) {
        const stop = host.run(end - machine.icount);
        if (stop?.kind !== "marker") return stop;
        replayer.takeOutputs();
        const report = replayCores.pass(stop);
        if (report !== undefined) reports.push(report);
        if (machine.icount >= end) return { kind: "budget" };
      }
    },
  });
  const snapshots = new Snapshots(machine, { limitBytes: 64 << 20 });
  const replayCores = new ReplayCores(
    machine,
    snapshots,
    readMemory,
    (body) => host.aside(() => replayer.aside(body)),
  );
  replayCores.stopAtMarkers(cores);
  host.moveTo(new MachineDebugger(machine), 0);
  host.start(plugins.map((plugin) => ({ plugin, options: {} })));
  for (;;) {
    const stop = replayer.run(slice());
    if (stop.kind === "budget") continue;
    if (stop.kind === "end") host.ended(stop);
    else host.ended({ kind: "stopped" });
    replayCores.stopAtMarkers(false);
    return { machine, stop, console: text.join(""), printed, pluginStop: host.stop, reports };
  }
}
