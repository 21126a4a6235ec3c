/**
 * The kernel world's side of a replay: what the replayed disks held, and what the recorded command
 * printed (issue 4, "Replay").
 *
 * Invariant: a disk that cannot be read is an answer too, so a replay never waits for ever.
 */
import { MESSAGE_DATA_MAXIMUM, SECTOR_BYTES } from "../limits.ts";
import type { CoreReport } from "../replay/replay_core.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import { ByteOutput } from "./byte_output.ts";
import { EXEC_FRAME, ExecFrameReader, execNumber } from "./exec_protocol.ts";
import { type Message, message, TO_VM } from "./protocol.ts";
import type { ReplayStart } from "./replay_side.ts";
import type { VmLink } from "./vm_link.ts";

/** Most bytes asked for at once. */
const MOST_BYTES = 64 * 1024 * 1024;

/** What a replayed VM is fed from. */
export interface ReplayParts {
  readonly start: ReplayStart;
  /** The disks as they were when the recording began. */
  readonly disks: readonly BlockDevice[];
  /** Told of each replay-only code that ran. */
  readonly onReplayOnly?: ((report: CoreReport) => void) | undefined;
  /** Told of what was to be learned, unless the recording ends before. */
  readonly onLearned?: ((pages: Uint32Array) => void) | undefined;
}

/** Serves a replay's disks. */
export class ReplaySource {
  #turn: Promise<void> = Promise.resolve();

  constructor(private readonly parts: ReplayParts, private readonly link: VmLink) {}

  /** The VM world asks what a disk held. */
  wanted({ numbers: [id = 0, disk = 0, sector = 0, bytes = 0] }: Message): void {
    this.#turn = this.#turn.then(() => this.#serve(id, disk, sector, bytes));
  }

  /** Resolves when nothing is under way and the disks are closed. */
  async close(): Promise<void> {
    await this.#turn;
    await Promise.all(this.parts.disks.map((disk) => disk.close()));
  }

  async #serve(id: number, disk: number, sector: number, bytes: number): Promise<void> {
    const device = this.parts.disks[disk];
    let failed = device === undefined || bytes > MOST_BYTES ||
      sector + bytes / SECTOR_BYTES > device.sectors;
    for (let at = 0; at < bytes && !failed; at += MESSAGE_DATA_MAXIMUM) {
      const part = new Uint8Array(Math.min(MESSAGE_DATA_MAXIMUM, bytes - at));
      try {
        await device!.read(sector + at / SECTOR_BYTES, part);
      } catch {
        failed = true;
        break;
      }
      const more = at + part.length < bytes ? 1 : 0;
      await this.link.send(TO_VM.baseData, message("", [id, more, 0], part));
    }
    if (failed) await this.link.send(TO_VM.baseData, message("", [id, 0, 1]));
  }
}

/** What the commands of a recorded `exec` printed, taken from what its guest's agent said. */
export class ReplayedCommand {
  readonly #reader = new ExecFrameReader();
  readonly #stdout: ByteOutput;
  readonly #stderr: ByteOutput;
  /** Exit status of the last command that ended. */
  status: number | undefined;

  /** `onRead` is called when a reader took output. */
  constructor(onRead: () => void) {
    this.#stdout = new ByteOutput(onRead);
    this.#stderr = new ByteOutput(onRead);
  }

  /** What it printed. */
  get stdout(): ReadableStream<Uint8Array> {
    return this.#stdout.readable;
  }

  /** What it printed as errors. */
  get stderr(): ReadableStream<Uint8Array> {
    return this.#stderr.readable;
  }

  /** Output that nobody took yet, in bytes. */
  get backlog(): number {
    return this.#stdout.backlog + this.#stderr.backlog;
  }

  /** Bytes arrived from the guest's agent. */
  arrived(bytes: Uint8Array): void {
    for (const { kind, payload } of this.#reader.push(bytes)) {
      if (kind === EXEC_FRAME.stdout) this.#stdout.push(payload);
      else if (kind === EXEC_FRAME.stderr) this.#stderr.push(payload);
      else if (kind === EXEC_FRAME.exit) this.status = execNumber(payload);
    }
  }

  /** The replay ended. */
  end(): void {
    this.#stdout.end();
    this.#stderr.end();
  }
}
