/**
 * The kernel world's side of a replayed VM: what its world asks for and reports (issue 4, "Replay",
 * "Replay-time-only functionality"; S13.7).
 *
 * Invariants: what plugins print and what replay-only code prints goes nowhere else; the report of a core is
 * handed on when all of it has arrived.
 */
import { concatBytes } from "../base/bytes.ts";
import { unreachable } from "../base/assert.ts";
import type { CoreReport } from "../replay/replay_core.ts";
import { ByteOutput } from "./byte_output.ts";
import type { Received } from "./mailbox.ts";
import { TO_KERNEL } from "./protocol.ts";
import { ReplayedCommand, type ReplayParts, ReplaySource } from "./replay_source.ts";
import { TouchedPages } from "./touched_pages.ts";
import type { VmLink } from "./vm_link.ts";

/** A VM that replays. */
export class VmReplay {
  /** What the commands printed that were run in it when it was recorded. */
  readonly command: ReplayedCommand;
  readonly #source: ReplaySource;
  readonly #plugins: ByteOutput;
  readonly #onReplayOnly: ReplayParts["onReplayOnly"];
  readonly #onLearned: ReplayParts["onLearned"];
  readonly #touched: TouchedPages | undefined;
  /** Whether plugins observe it. */
  readonly hasPlugins: boolean;
  /** What arrived of the report that is under way. */
  #arrived: Uint8Array[] = [];

  /** `onRead` is called when a reader took output. */
  constructor(parts: ReplayParts, memoryPages: number, link: VmLink, onRead: () => void) {
    this.command = new ReplayedCommand(onRead);
    this.#source = new ReplaySource(parts, link);
    this.#plugins = new ByteOutput(onRead);
    this.#onReplayOnly = parts.onReplayOnly;
    this.#onLearned = parts.onLearned;
    if (parts.start.learn !== undefined) this.#touched = new TouchedPages(memoryPages);
    // What plugins print is kept for its reader from the first line on.
    this.hasPlugins = parts.start.plugins.length > 0;
    if (this.hasPlugins) void this.#plugins.readable;
  }

  /** What plugins print. */
  get pluginOutput(): ReadableStream<Uint8Array> {
    return this.#plugins.readable;
  }

  /** Output that nobody took yet, in bytes. */
  get backlog(): number {
    return this.command.backlog + this.#plugins.backlog;
  }

  /** A message that only a replay sends. */
  received(got: Received): void {
    switch (got.kind) {
      case TO_KERNEL.baseWanted:
        return this.#source.wanted(got);
      case TO_KERNEL.replayOnly:
        return this.#coreReported(got);
      case TO_KERNEL.pluginOutput:
        return this.#plugins.push(got.bytes);
      case TO_KERNEL.touched:
        if (this.#touched?.arrived(got)) this.#onLearned?.(this.#touched.pages);
        return;
      default:
        unreachable();
    }
  }

  /** Nothing more comes. */
  end(): void {
    this.command.end();
    this.#plugins.end();
  }

  /** Resolves when nothing is under way and the disks are closed. */
  close(): Promise<void> {
    return this.#source.close();
  }

  #coreReported({ device, numbers, bytes }: Received): void {
    const [icount = 0, executed = 0, hart = 0, more = 0, high = 0, low = 0] = numbers;
    this.#arrived.push(bytes);
    if (more !== 0) return;
    const output = concatBytes(this.#arrived);
    this.#arrived = [];
    const pc = BigInt(high) << 32n | BigInt(low);
    // The name of such a message is one of these words.
    const ended = device as CoreReport["ended"];
    this.#onReplayOnly?.({ pc, hart, icount, executed, output, ended });
  }
}
