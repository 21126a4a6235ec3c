/**
 * What a recording says happened, in order, without running anything: its event log and its output
 * ledger as one sequence (issue 4, "Formats for other tools").
 *
 * Invariant: items come in the order of their icounts and, within one, of their guest time; each log
 * keeps its own order.
 */
import { hostCompression } from "../host/compression.ts";
import { denoHost } from "../host/deno_host.ts";
import type { Host } from "../host/host.ts";
import type { Stamp } from "../machine/event.ts";
import type { TornTail } from "../replay/log_format.ts";
import { LogReader } from "../replay/log_reader.ts";
import type { RecordingManifest } from "../replay/manifest.ts";
import {
  type EventRecord,
  type OutputRecord,
  type RawRecord,
  readEventRecord,
  readOutputRecord,
} from "../replay/record_table.ts";
import { openRecording } from "./recordings.ts";

/** Nanoseconds of a tick of guest time. */
const TICK_NANOSECONDS = 100n;

/** One thing that came in, left, or was noted about a recorded VM. */
export type HistoryItem =
  & {
    /** When it was, and at whose turn; its icount is since the recording began. */
    readonly stamp: Stamp;
    /** The guest's wall clock then, in nanoseconds since 1970. */
    readonly wallNanoseconds: bigint;
  }
  & (
    | { readonly log: "events"; readonly record: EventRecord }
    | { readonly log: "outputs"; readonly record: OutputRecord }
  );

/** A recording's logs as one sequence. */
export class RecordedHistory {
  readonly #events: LogReader;
  readonly #outputs: LogReader;

  /** Reads the logs' segments. Throws FormatError when they are none. */
  constructor(
    /** What the recording is of. */
    readonly manifest: RecordingManifest,
    events: readonly Uint8Array[],
    outputs: readonly Uint8Array[],
  ) {
    this.#events = new LogReader("events", events, hostCompression.unpack);
    this.#outputs = new LogReader("outputs", outputs, hostCompression.unpack);
  }

  /** Where the logs were cut, if they were. */
  get torn(): { readonly events: TornTail | undefined; readonly outputs: TornTail | undefined } {
    return { events: this.#events.torn, outputs: this.#outputs.torn };
  }

  /** All items in order. Throws FormatError where a record is none. */
  *items(): Generator<HistoryItem, void, undefined> {
    const [events, outputs] = [this.#events.cursor(), this.#outputs.cursor()];
    let wallStart = BigInt(this.manifest.machine.wallStart);
    const timed = ({ stamp }: RawRecord) => ({
      stamp,
      wallNanoseconds: wallStart + BigInt(stamp.ticks) * TICK_NANOSECONDS,
    });
    for (;;) {
      const [event, output] = [events.peek(), outputs.peek()];
      if (output !== undefined && (event === undefined || precedes(output.stamp, event.stamp))) {
        outputs.advance();
        yield { ...timed(output), log: "outputs", record: readOutputRecord(output) };
      } else if (event !== undefined) {
        events.advance();
        const record = readEventRecord(event);
        yield { ...timed(event), log: "events", record };
        // Guest time begins anew, and the wall clock goes on; or the wall clock alone was moved.
        if (record.type === "reset") wallStart = record.wallStart;
        if (record.type === "event" && record.event.kind === "wall") {
          wallStart = record.event.wallStart;
        }
      } else return;
    }
  }
}

/** Whether an output left before an event came in. */
function precedes(output: Stamp, event: Stamp): boolean {
  if (output.icount !== event.icount) return output.icount < event.icount;
  // What leaves at an event's own time is the event's doing.
  return output.ticks < event.ticks;
}

/** Reads a recording's logs. Rejects with HostError and FormatError. */
export async function recordedHistory(
  folder: string,
  host: Host = denoHost,
): Promise<RecordedHistory> {
  const { manifest, events, outputs } = await openRecording(host, folder);
  return new RecordedHistory(manifest, events, outputs);
}
