/** Logs of recordings made in memory, as a recorder and a writer would make them, and a manifest. */
import { concatBytes } from "../../kernel/base/bytes.ts";
import { hostCompression } from "../../kernel/host/compression.ts";
import type { Stamp } from "../../kernel/machine/event.ts";
import { MACHINE_VERSION } from "../../kernel/machine/version.ts";
import { LogEncoder } from "../../kernel/replay/log_encoder.ts";
import { frame, type LogStream, segmentHeader } from "../../kernel/replay/log_format.ts";
import { RECORDING_VERSION, type RecordingManifest } from "../../kernel/replay/manifest.ts";

/** A record that is to be in a log. */
export interface LogEntry {
  readonly kind: number;
  readonly stamp: Stamp;
  readonly fields: readonly unknown[];
}

/** A frame with these records. */
export function makeFrame(entries: readonly LogEntry[], packed = true): Uint8Array<ArrayBuffer> {
  const encoder = new LogEncoder();
  for (const { kind, stamp, fields } of entries) encoder.add(kind, stamp, fields);
  const cluster = encoder.take()!;
  const stored = packed ? hostCompression.pack(cluster.bytes) : cluster.bytes;
  return frame(cluster, stored.length < cluster.bytes.length ? stored : cluster.bytes);
}

/** A segment with these frames. */
export function makeSegment(
  stream: LogStream,
  frames: readonly Uint8Array[],
  number = 0,
): Uint8Array {
  return concatBytes([segmentHeader(stream, number), ...frames]);
}

/** Manifest of a small recording. */
export function makeManifest(changes: Partial<RecordingManifest> = {}): RecordingManifest {
  return {
    format: "chronovisor recording",
    version: RECORDING_VERSION,
    created: "2026-01-01T00:00:00.000Z",
    name: "made",
    machine: {
      version: MACHINE_VERSION,
      memoryBytes: 1 << 20,
      harts: 1,
      append: "",
      bios: "none",
      clock: "virtual",
      seed: 0,
      wallStart: "1767225600000000000",
      disks: [],
    },
    images: [],
    start: "power-on",
    shows: "console",
    console: "uart0",
    ...changes,
  };
}
