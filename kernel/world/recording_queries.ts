/**
 * What tools may ask of a recording without running it. What answers is loaded with the first question: all
 * that reads logs and manifests.
 */
import type { Host } from "../host/host.ts";
import type { RecordedHistory } from "./recorded_history.ts";
import type { RecordingFacts } from "./recording_facts.ts";

/** Reads all of a recording's logs. Rejects with HostError and FormatError. */
export async function recordingFacts(folder: string, host?: Host): Promise<RecordingFacts> {
  return await (await import("./recording_facts.ts")).recordingFacts(folder, host);
}

/** What is wrong with a recording, one line each; nothing when it can be replayed here. */
export async function checkRecording(folder: string, host?: Host): Promise<string[]> {
  return await (await import("./recording_facts.ts")).checkRecording(folder, host);
}

/** Reads a recording's logs. Rejects with HostError and FormatError. */
export async function recordedHistory(folder: string, host?: Host): Promise<RecordedHistory> {
  return await (await import("./recorded_history.ts")).recordedHistory(folder, host);
}
