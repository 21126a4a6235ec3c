/**
 * Replays a recording in the thread that calls it: from its files to its end, with what it prints on the
 * way (issue 4, "Replay"). Knows no runtime, so a test runs the same as a browser does.
 *
 * Invariants: whoever watches hears at least every REPORT_MILLISECONDS while the machine runs; outputs are
 * always compared with the recording's.
 */
import { assert, unreachable } from "../../kernel/base/assert.ts";
import { DeviceRegistry } from "../../kernel/driver/mod.ts";
import type { HostClock } from "../../kernel/host/clock.ts";
import { SECTOR_BYTES } from "../../kernel/limits.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { Ledger } from "../../kernel/replay/ledger.ts";
import { LogReader } from "../../kernel/replay/log_reader.ts";
import type { RecordingManifest } from "../../kernel/replay/manifest.ts";
import type { ReadBase } from "../../kernel/replay/replay_disks.ts";
import { Replayer, type ReplayStop } from "../../kernel/replay/replayer.ts";
import { restoreState } from "../../kernel/replay/start_state.ts";
import type { BlockDevice } from "../../kernel/storage/block_device.ts";
import { EXEC_FRAME, ExecFrameReader } from "../../kernel/world/exec_protocol.ts";
import { createMachine } from "../../kernel/world/machine_adapter.ts";
import { DEVICE_NAMES } from "../../kernel/world/machine_port.ts";
import {
  openRecordedDisks,
  openRecording,
  readRecordedImages,
  recordedMachine,
  type Recording,
  type RecordingHost,
  type ReplayedHow,
} from "../../kernel/world/recordings.ts";
import { SliceSizer } from "../../kernel/world/slices.ts";
import { EXEC_PORT } from "../../kernel/world/vm_exec.ts";
import { BUILTIN_DEVICES } from "../../drivers/mod.ts";

/** Milliseconds between two reports. */
const REPORT_MILLISECONDS = 50;

/** The machine chooses its tiers and the sizes of its caches; nobody debugs it. */
const HOW: ReplayedHow = {
  tier: "auto",
  tlbEntries: undefined,
  cacheElements: undefined,
  marksExecution: false,
};

/** How far a replay has come. */
export interface ReplayProgress {
  /** Instructions executed since power-on. */
  readonly icount: number;
  /** Those of them that this replay executed. */
  readonly executed: number;
  /** Guest time in ticks of 100 ns since the guest last started. */
  readonly ticks: number;
  /** Time that it took to come here. */
  readonly milliseconds: number;
}

/** How a replay ended. */
export interface ReplayEnding extends ReplayProgress {
  readonly kind: "end" | "cut" | "diverged";
  /** A sentence for people. */
  readonly text: string;
  /** Digest of the machine's state. */
  readonly digest: string;
  /** Number of places at which the state was compared with the recorded machine's, its end among them. */
  readonly epochs: number;
}

/** Somebody who watches a replay. */
export interface ReplayWatcher {
  began(manifest: RecordingManifest): void;
  /** Bytes of what the recording shows: its terminal, or what its command printed. */
  printed(bytes: Uint8Array): void;
  progress(progress: ReplayProgress): void;
}

/**
 * Replays a recording whose files a host has. Rejects with HostError, FormatError and ConfigError when
 * the recording, or something that it needs, is missing, damaged or has changed.
 */
export async function replayRecording(
  host: RecordingHost,
  clock: HostClock,
  folder: string,
  watcher: ReplayWatcher,
): Promise<ReplayEnding> {
  const recording = await openRecording(host, folder);
  watcher.began(recording.manifest);
  const disks = await openRecordedDisks(host, recording);
  try {
    return await new Replay(host, clock, recording, disks, watcher).run();
  } finally {
    for (const disk of disks) await disk.close();
  }
}

type Ended = Extract<ReplayStop, { kind: ReplayEnding["kind"] }>;

class Replay {
  readonly #host: RecordingHost;
  readonly #clock: HostClock;
  readonly #recording: Recording;
  readonly #disks: readonly BlockDevice[];
  readonly #watcher: ReplayWatcher;
  readonly #agent = new ExecFrameReader();
  readonly #slices = new SliceSizer();
  /** Reads of disks that are under way. */
  readonly #reads = new Set<Promise<void>>();

  constructor(
    host: RecordingHost,
    clock: HostClock,
    recording: Recording,
    disks: readonly BlockDevice[],
    watcher: ReplayWatcher,
  ) {
    this.#host = host;
    this.#clock = clock;
    this.#recording = recording;
    this.#disks = disks;
    this.#watcher = watcher;
  }

  async run(): Promise<ReplayEnding> {
    const { manifest, events, outputs, state } = this.#recording;
    const { unpack } = this.#host.compression;
    const log = new LogReader("events", events, unpack);
    const ledger = new Ledger(new LogReader("outputs", outputs, unpack).cursor());
    const machine = await this.#machine(BigInt(manifest.machine.wallStart));
    if (state.length > 0) restoreState(machine, new LogReader("state", state, unpack));
    const replayer = new Replayer(machine, {
      events: log,
      ledger,
      comparesEpochs: true,
      readBase: (...wanted) => this.#readBase(...wanted),
      sent: (output) => {
        if (output.kind === "bytes") this.#sent(output.device, output.port, output.bytes);
      },
    });
    const first = replayer.icount;
    const started = this.#clock.monotonicMilliseconds();
    const progress = (): ReplayProgress => ({
      icount: replayer.icount,
      executed: replayer.icount - first,
      ticks: replayer.machine.ticks(),
      milliseconds: this.#clock.monotonicMilliseconds() - started,
    });
    for (;;) {
      const stop = this.#runForReport(replayer);
      this.#watcher.progress(progress());
      switch (stop.kind) {
        case "budget":
          break;
        case "await":
          assert(this.#reads.size > 0, "the replay waits for a disk that nobody reads");
          await Promise.race(this.#reads);
          break;
        case "reset":
          replayer.restart(await this.#machine(stop.wallStart));
          break;
        case "end":
        case "cut":
        case "diverged": {
          const text = describe(stop, log.torn?.reason);
          const digest = replayer.machine.digest();
          return { ...progress(), kind: stop.kind, text, digest, epochs: replayer.epochsCompared };
        }
        default:
          unreachable("nobody wants to stop");
      }
    }
  }

  /** Runs in slices until it is time for a report. */
  #runForReport(replayer: Replayer): ReplayStop {
    const slices = this.#slices;
    const started = this.#clock.monotonicMilliseconds();
    for (;;) {
      const before = replayer.icount;
      const sliceStarted = this.#clock.monotonicMilliseconds();
      const stop = replayer.run(slices.budget);
      const now = this.#clock.monotonicMilliseconds();
      slices.record(replayer.icount - before, now - sliceStarted);
      if (stop.kind !== "budget" || now - started >= REPORT_MILLISECONDS) return stop;
    }
  }

  async #machine(startWallNanoseconds: bigint): Promise<Machine> {
    const { manifest } = this.#recording;
    const images = await readRecordedImages(this.#host, this.#recording);
    const config = { ...recordedMachine(manifest, images, HOW), startWallNanoseconds };
    const { machine } = await createMachine(config, new DeviceRegistry(BUILTIN_DEVICES));
    assert(machine !== undefined, "this machine cannot be replayed");
    return machine;
  }

  #sent(device: string, port: number, bytes: Uint8Array): void {
    const { shows, console } = this.#recording.manifest;
    if (shows === "console") {
      if (device === console && port === 0) this.#watcher.printed(bytes);
    } else if (device === DEVICE_NAMES.console && port === EXEC_PORT) {
      for (const { kind, payload } of this.#agent.push(bytes)) {
        if (kind === EXEC_FRAME.stdout || kind === EXEC_FRAME.stderr) {
          this.#watcher.printed(payload);
        }
      }
    }
  }

  #readBase(...[disk, sector, bytes, arrived]: Parameters<ReadBase>): void {
    const device = this.#disks[disk];
    if (device === undefined || sector + bytes / SECTOR_BYTES > device.sectors) {
      return arrived(undefined);
    }
    const data = new Uint8Array(bytes);
    // A disk that cannot be read is an answer too: the guest's request fails, and the replay diverges.
    const read = device.read(sector, data).then(() => arrived(data), () => arrived(undefined))
      .then(() => void this.#reads.delete(read));
    this.#reads.add(read);
  }
}

function describe(stop: Ended, torn: string | undefined): string {
  switch (stop.kind) {
    case "diverged":
      return `The replay differs from the recording: ${stop.what}`;
    case "cut":
      return `The recording was cut here: ${torn ?? "it was never ended"}`;
    case "end":
      return {
        "power-off": `The guest switched itself off with code ${stop.code}.`,
        reset: "The guest reset itself, which ended the recording.",
        stopped: "The recording was stopped here.",
        failed: "The recorded VM failed here.",
      }[stop.why];
  }
}
