/** What a VM is made of: what the kernel gives to `VM`. */
import type { Host } from "../host/host.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import type { SavedFacts } from "./checkpoint_service.ts";
import type { EarlyWorld } from "./early_world.ts";
import type { MachineConfig } from "./machine_port.ts";
import type { PageLoader } from "./page_loader.ts";
import type { RecordingSession } from "./recording_session.ts";
import type { ReplayParts } from "./replay_source.ts";
import type { Connection } from "./translation_service.ts";
import type { ConsoleDevice } from "./vm_console.ts";
import type { AgentPlace } from "./vm_exec.ts";
import type { VmDisks } from "./vm_disks.ts";
import type { NewRecording } from "./vm_recordings.ts";
import type { ImagesMessage, RestoreStart, StartMessage } from "./vm_world.ts";

/** What a VM goes on from. */
export interface RestoreParts {
  readonly start: RestoreStart;
  /** The checkpoint. */
  readonly base: string;
  /** What was typed and not taken by the guest. */
  readonly typed: Uint8Array;
  /** Loads its pages; closed at its end. */
  readonly loader: PageLoader;
}

/** What a VM is made of. */
export interface VmParts {
  /** The host that carries it. */
  readonly host: Host;
  /** The VM world. */
  readonly world: EarlyWorld;
  /** Name, for messages. */
  readonly name: string;
  /** Name of the guest that it starts with, if it has one. */
  readonly guest?: string | undefined;
  /** The machine. */
  readonly config: MachineConfig;
  /** Images of `config` that nobody else needs: they move to the VM world instead of being copied. */
  readonly moved: readonly ArrayBuffer[];
  /** Reads the images again, for a guest that starts again. */
  readonly images: () => Promise<
    { readonly images: ImagesMessage; readonly moved: readonly ArrayBuffer[] }
  >;
  /** Its disks, in the order of `config.disks`; closed at its end. */
  readonly disks: readonly BlockDevice[];
  /** What these are made of, for a VM that can be saved; closed behind them. */
  readonly drives?: VmDisks | undefined;
  /** Which device is the terminal. */
  readonly consoleDevice: ConsoleDevice;
  /** What becomes of the frames it sends. */
  readonly network: "none" | "loopback";
  /** Whether a guest that resets itself starts again, or ends. */
  readonly onReset: "restart" | "end";
  /** The compiled core of its machine; undefined: the VM world makes it. */
  readonly core?: WebAssembly.Module | undefined;
  /** The way to the compile world, if there is one; closed at its end. */
  readonly compiler: Connection | undefined;
  /** Where it is recorded, if it is; closed at its end. */
  readonly recording?: RecordingSession | undefined;
  /** Begins a recording of it while it runs. */
  readonly newRecording?: NewRecording;
  /** The agent of a guest that goes on from where it said hello already. */
  readonly agent?: AgentPlace | undefined;
  /** How it was made, for a VM that can be saved. */
  readonly facts?: SavedFacts | undefined;
  /** What it goes on from; undefined: power-on. */
  readonly restore?: RestoreParts | undefined;
  /** What it replays, if it does; closed at its end. */
  readonly replay?: ReplayParts | undefined;
  /** Whether it stands still until a debugger comes. */
  readonly waitsForDebugger?: boolean;
}

/** The first message to the world of a VM. */
export function startMessage(parts: VmParts): StartMessage {
  const { compiler } = parts;
  return {
    mailbox: parts.world.mailbox,
    config: parts.config,
    onReset: parts.onReset,
    waitsForDebugger: parts.waitsForDebugger ?? false,
    record: parts.recording?.sync,
    replay: parts.replay?.start,
    restore: parts.restore?.start,
    // The world has that of a machine that it has made ahead: to unpack it once more takes a millisecond.
    core: parts.restore?.start.isSpare ? undefined : parts.core,
    compiler: compiler && { port: compiler.port, keeps: compiler.keeps },
  };
}
