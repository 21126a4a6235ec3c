/**
 * How a recording becomes a VM that replays it (issue 4, "Replay").
 *
 * Invariant: what a recording needs is found and identified before there is a VM.
 */
import { ConfigError } from "./base/errors.ts";
import type { PowerOnOptions } from "./config.ts";
import type { GuestSymbol } from "./debug/symbol_table.ts";
import { importLate } from "./host/late_import.ts";
import type { CoreReport } from "./replay/replay_core.ts";
import type { VmMaking } from "./vm_making.ts";
import { coreRecipe } from "./world/core_modules.ts";
import { DEVICE_NAMES } from "./world/machine_port.ts";
import type { ReplayLearning } from "./world/replay_learner.ts";
import type { PluginSource } from "./world/plugin_side.ts";
import { translationsName } from "./world/translation_service.ts";
import { VM } from "./world/vm.ts";

/** Most bytes of memory that going back in a replay takes, unless told otherwise. */
const HISTORY_BYTES = 512 * 1024 * 1024;

/** How to replay a recording. */
export interface ReplayOptions {
  /** Whether outputs and digests of the state are compared with the recording's. */
  readonly verify?: boolean;
  /** icount to stop at; the recording's end by default. */
  readonly to?: number;
  /** "max" (default), or 1: no faster than the guest's own time. */
  readonly speed?: "max" | 1;
  /** Whether it stands still until a debugger takes hold of it (`VM.debug`). */
  readonly waitsForDebugger?: boolean;
  /** Most bytes of memory that going back may take; 512 MiB by default. */
  readonly historyBytes?: number;
  /** Whether replay-only code of the guest runs; it does by default. */
  readonly replayOnly?: boolean;
  /** Told of each replay-only code that ran. */
  readonly onReplayOnly?: (report: CoreReport) => void;
  /** Who observes the replay, in order; what they print is `VM.pluginOutput`. */
  readonly plugins?: readonly PluginSource[];
  /** Names of addresses in the guest, for plugins. */
  readonly symbols?: readonly GuestSymbol[];
  /** Which tiers execute, as for `PowerOnOptions`; need not be those of the recording. */
  readonly tier?: PowerOnOptions["tier"];
  /** Entries of each software TLB. */
  readonly tlbEntries?: number;
  /** Number of cache elements. */
  readonly cacheElements?: number;
  /** Which pages its guest uses first, from an instruction on, is to be learned; the replay ends with that. */
  readonly learn?: ReplayLearning & { readonly onLearned: (pages: Uint32Array) => void };
}

/** What the replay's world is to learn: what can be sent to it. */
function learningOf({ learn }: ReplayOptions): ReplayLearning | undefined {
  if (learn === undefined) return undefined;
  const { from, harts, milliseconds } = learn;
  return { from, harts, milliseconds };
}

/** Replays a recording; told about at `Kernel.replay`. */
export async function replayVm(
  { host, worlds, translations, cores, admit, follow }: VmMaking,
  folder: string,
  options: ReplayOptions,
): Promise<VM> {
  const { plugins = [], waitsForDebugger = false } = options;
  if (waitsForDebugger && plugins.length > 0) {
    throw new ConfigError("A replay has either plugins or a debugger: plugins cannot go back");
  }
  const translates = options.tier !== "interpreter" && options.tier !== "check";
  using world = worlds.take("replay");
  const recordings = await importLate<typeof import("./world/recordings.ts")>(
    "./world/recordings.ts",
    import.meta.url,
  );
  const { openRecordedDisks, readRecordedImages, recordedMachine } = recordings;
  const recording = await recordings.openRecording(host, folder);
  const { manifest: { machine, name, console }, events, outputs, state } = recording;
  admit({ name, memoryBytes: machine.memoryBytes });
  const images = async () => {
    const read = await readRecordedImages(host, recording);
    const { kernel, initrd, bios } = read;
    const all = [kernel, initrd, bios].filter((image) => image instanceof Uint8Array);
    return { images: { kernel, initrd }, read, moved: all.map(({ buffer }) => buffer) };
  };
  const { read, moved } = await images();
  const config = recordedMachine(recording.manifest, read, {
    tier: options.tier ?? "auto",
    tlbEntries: options.tlbEntries,
    cacheElements: options.cacheElements,
    marksExecution: waitsForDebugger,
  });
  const { verify = false, to, speed = "max", replayOnly = true } = options;
  const compiler = translates ? await translations.connect(translationsName(config)) : undefined;
  const vm = new VM({
    host,
    world,
    name,
    config,
    moved: [...moved, ...[...events, ...outputs, ...state].map(({ buffer }) => buffer)],
    images,
    disks: [],
    consoleDevice: console === DEVICE_NAMES.console ? "virtio" : "uart",
    network: "none",
    onReset: "restart",
    compiler,
    core: await cores.getIfPossible(coreRecipe(config, compiler?.keeps ?? false)),
    waitsForDebugger,
    replay: {
      start: {
        events,
        outputs,
        state,
        verify,
        to,
        realTime: speed === 1,
        historyBytes: options.historyBytes ?? HISTORY_BYTES,
        replayOnly,
        plugins,
        symbols: plugins.length === 0 ? undefined : options.symbols,
        learn: learningOf(options),
      },
      onReplayOnly: options.onReplayOnly,
      onLearned: options.learn?.onLearned,
      disks: await openRecordedDisks(host, recording),
    },
  });
  follow(vm);
  if (translates) translations.start();
  await vm.started();
  return vm;
}
