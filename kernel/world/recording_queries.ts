/**
 * What tools may ask of a recording without running it. What answers is loaded with the first question: all
 * that reads logs and manifests.
 */
import type { Host } from "../host/host.ts";
import type { RecordedHistory } from "./recorded_history.ts";
import type { RecordingFacts } from "./recording_facts.ts";
import { importLate } from "../host/late_import.ts";

/** Reads all of a recording's logs. Rejects with HostError and FormatError. */
export async function recordingFacts(folder: string, host?: Host): Promise<RecordingFacts> {
  return await (await importLate<typeof import("./recording_facts.ts")>(
    "./recording_facts.ts",
    import.meta.url,
  )).recordingFacts(folder, host);
}

/** What is wrong with a recording, one line each; nothing when it can be replayed here. */
export async function checkRecording(folder: string, host?: Host): Promise<string[]> {
  return await (await importLate<typeof import("./recording_facts.ts")>(
    "./recording_facts.ts",
    import.meta.url,
  )).checkRecording(folder, host);
}

/** Reads a recording's logs. Rejects with HostError and FormatError. */
export async function recordedHistory(folder: string, host?: Host): Promise<RecordedHistory> {
  return await (await importLate<typeof import("./recorded_history.ts")>(
    "./recorded_history.ts",
    import.meta.url,
  )).recordedHistory(folder, host);
}
