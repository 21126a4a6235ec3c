/** What writes a manifest: a VM that is recorded needs nothing of what reads one (manifest.ts). */
import type { RecordingManifest } from "./manifest.ts";

/** Version of the manifest and of the folder around it. */
export const RECORDING_VERSION = 1;

/** Text of a manifest. */
export function formatRecordingManifest(manifest: RecordingManifest): string {
  return JSON.stringify(manifest, null, 2) + "\n";
}
