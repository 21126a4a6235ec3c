/**
 * Recording in a VM world: takes what its machine's recorder has written down and sends it to the kernel
 * world, which alone can write files (issue 4, "Record").
 *
 * Invariants: with `every`, what was recorded is sent before the outputs that follow from it; otherwise
 * nothing waits here longer than SYNC_MILLISECONDS while the VM world is awake or could be.
 */
import type { HostClock } from "../host/clock.ts";
import { type Cluster, LOG_STREAM, type LogStream } from "../replay/log_format.ts";
import type { Recorder } from "../replay/recorder.ts";
import { type RecordSync, SYNC_MILLISECONDS } from "../replay/recording_writer.ts";
import type { EndCause } from "../replay/record_table.ts";
import type { VmMailbox } from "./mailbox.ts";
import { message, parts, TO_KERNEL } from "./protocol.ts";

/** TABLE: when what is recorded must be on stable storage, by its number in a message. */
export const SYNC_KINDS: readonly RecordSync[] = ["none", "periodic", "every"];

/** What waits is sent when it is longer than this many bytes. */
const CLUSTER_BYTES = 128 * 1024;

/** An epoch is as long as this at least, in host time… */
const EPOCH_MILLISECONDS = 1000;
/** …and in instructions: an idle guest's state need not be compared again and again. */
const EPOCH_INSTRUCTIONS = 1_000_000;

/** The recording of one VM, as its world sees it. */
export class VmRecording {
  #sent: number;
  #epochEnd: number;
  #epochIcount = 0;
  #ended = false;

  /** Begins now. */
  constructor(
    readonly recorder: Recorder,
    private readonly mailbox: VmMailbox,
    private readonly clock: HostClock,
    private readonly sync: RecordSync,
  ) {
    this.#sent = this.#epochEnd = clock.monotonicMilliseconds();
  }

  /** Between a slice and its outputs. */
  afterSlice(): void {
    const now = this.clock.monotonicMilliseconds();
    this.#endEpoch(now);
    const { waiting } = this.recorder;
    if (waiting === 0) return;
    const due = this.sync === "every" || waiting > CLUSTER_BYTES ||
      now - this.#sent >= SYNC_MILLISECONDS;
    if (due) this.#send(now);
  }

  /** Before a sleep of so many milliseconds: how long it may be so that nothing waits too long. */
  beforeSleep(milliseconds: number): number {
    if (this.recorder.waiting === 0) return milliseconds;
    const now = this.clock.monotonicMilliseconds();
    const left = this.#sent + SYNC_MILLISECONDS - now;
    if (left > 0) return Math.min(milliseconds, left);
    this.#send(now);
    return milliseconds;
  }

  /** The recording ends. */
  end(why: EndCause, code: number): void {
    this.recorder.end(why, code);
    this.#ended = true;
    this.#send(this.clock.monotonicMilliseconds());
    this.mailbox.send(TO_KERNEL.recordEnd, message());
  }

  #endEpoch(now: number): void {
    const { icount } = this.recorder;
    if (now - this.#epochEnd < EPOCH_MILLISECONDS) return;
    if (icount - this.#epochIcount < EPOCH_INSTRUCTIONS || !this.recorder.epoch()) return;
    this.#epochEnd = now;
    this.#epochIcount = icount;
  }

  #send(now: number): void {
    this.#sent = now;
    if (!this.#ended) this.recorder.reached(this.sync === "every");
    for (const { stream, cluster } of this.recorder.take()) {
      sendCluster(this.mailbox, stream, cluster);
    }
  }
}

/** Sends a cluster of a log to the kernel world. */
export function sendCluster(mailbox: VmMailbox, stream: LogStream, cluster: Cluster): void {
  const { icount, ticks, bytes } = cluster;
  const all = [...parts(bytes)];
  all.forEach((part, i) => {
    const more = i < all.length - 1 ? 1 : 0;
    const numbers = [LOG_STREAM[stream], icount, ticks, more];
    mailbox.send(TO_KERNEL.record, message("", numbers, part));
  });
}

/** The stream with a number. */
export function streamNumbered(number: number | undefined): LogStream | undefined {
  return (Object.keys(LOG_STREAM) as LogStream[]).find((name) => LOG_STREAM[name] === number);
}
