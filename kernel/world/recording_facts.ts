/**
 * What is in a recording, for people and for tools, without running anything (`replay info`, `replay
 * check`).
 */
import { hostCompression } from "../host/compression.ts";
import { denoHost } from "../host/deno_host.ts";
import type { Host } from "../host/host.ts";
import type { TornTail } from "../replay/log_format.ts";
import { LogReader } from "../replay/log_reader.ts";
import type { RecordingManifest } from "../replay/manifest.ts";
import { type EndCause, readEventRecord, readOutputRecord } from "../replay/record_table.ts";
import { openRecordedDisks, openRecording, readRecordedImages } from "./recordings.ts";

/** What is known of a recording. */
export interface RecordingFacts {
  /** Its manifest: machine, images, when it was made. */
  readonly manifest: RecordingManifest;
  /** Instructions executed while it was made, as far as the log goes. */
  readonly icount: number;
  /** Guest time at its end, in ticks of 100 ns. */
  readonly ticks: number;
  /** How it ended; undefined: it was cut. */
  readonly end: { readonly why: EndCause; readonly code: number } | undefined;
  /** Bytes of the log files. */
  readonly logBytes: { readonly events: number; readonly outputs: number };
  /** Number of records by kind. */
  readonly records: Readonly<Record<string, number>>;
  /** Where a log was cut, if it was. */
  readonly torn: { readonly events: TornTail | undefined; readonly outputs: TornTail | undefined };
}

/** Reads all of a recording's logs. Rejects with HostError and FormatError. */
export async function recordingFacts(
  folder: string,
  host: Host = denoHost,
): Promise<RecordingFacts> {
  const { manifest, events, outputs } = await openRecording(host, folder);
  const unpack = hostCompression.unpack;
  const eventLog = new LogReader("events", events, unpack);
  const ledger = new LogReader("outputs", outputs, unpack);
  const records: Record<string, number> = {};
  const count = (kind: string) => records[kind] = (records[kind] ?? 0) + 1;
  let [icount, ticks] = [0, 0];
  let end: RecordingFacts["end"];
  for (let frame = 0; frame < eventLog.frames.length; frame++) {
    for (const raw of eventLog.records(frame)) {
      ({ icount, ticks } = raw.stamp);
      const record = readEventRecord(raw);
      count(record.type === "event" ? record.event.kind : record.type);
      if (record.type === "end") end = { why: record.why, code: record.code };
    }
  }
  for (let frame = 0; frame < ledger.frames.length; frame++) {
    for (const raw of ledger.records(frame)) count(`${readOutputRecord(raw).type} out`);
  }
  const size = (segments: readonly Uint8Array[]) =>
    segments.reduce((n, { length }) => n + length, 0);
  return {
    manifest,
    icount,
    ticks,
    end,
    logBytes: { events: size(events), outputs: size(outputs) },
    records,
    torn: { events: eventLog.torn, outputs: ledger.torn },
  };
}

/** Checks all of a recording: logs, and what it needs. Gives a sentence for each problem. */
export async function checkRecording(folder: string, host: Host = denoHost): Promise<string[]> {
  const problems: string[] = [];
  const attempt = async (what: () => Promise<void>) => {
    try {
      await what();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      problems.push(error.message);
    }
  };
  await attempt(async () => {
    const { torn, end } = await recordingFacts(folder, host);
    for (const [log, tail] of Object.entries(torn)) {
      if (tail === undefined) continue;
      problems.push(
        `the log of ${log} is cut in segment ${tail.segment} at byte ${tail.offset}: ` +
          `${tail.reason} (${tail.bytes} bytes are not used)`,
      );
    }
    if (end === undefined) problems.push("the recording was never ended");
  });
  await attempt(async () => {
    const recording = await openRecording(host, folder);
    await readRecordedImages(host, recording);
    for (const disk of await openRecordedDisks(host, recording)) await disk.close();
  });
  return [...new Set(problems)];
}
