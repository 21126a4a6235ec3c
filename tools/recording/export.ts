/**
 * The exporters of recordings: what other tools can be given (issue 4, "Formats for other tools";
 * docs/export.md). Each is a file of this folder.
 */
import type { RecordedHistory } from "../../mod.ts";
import { exportChromeTrace } from "./export_chrome_trace.ts";
import { exportConsole } from "./export_console.ts";
import { exportEvents } from "./export_events.ts";
import { exportPcap } from "./export_pcap.ts";

/** A recording that is to be exported. */
export interface ExportSource {
  /** Folder of the recording, for exporters that replay it. */
  readonly folder: string;
  /** What its logs say. */
  readonly history: RecordedHistory;
}

/** Writes a recording in one format. Throws FormatError when the recording is damaged. */
export type Exporter = (
  source: ExportSource,
  write: (bytes: Uint8Array) => void,
) => void | Promise<void>;

/** TABLE of the exporters, by the option that asks for each. */
export const EXPORTERS = {
  pcap: { run: exportPcap, help: "network frames as a packet capture (pcapng)" },
  console: { run: exportConsole, help: "what the guest, or its recorded command, printed" },
  events: { run: exportEvents, help: "all that came in and left as JSON lines" },
  "chrome-trace": {
    run: exportChromeTrace,
    help: "turns, traps, disk requests and more as trace events: Perfetto reads them",
  },
  "chrome-trace-syscalls": {
    run: (source, write) => exportChromeTrace(source, write, { syscalls: true }),
    help: "the same, with the system calls of a Linux guest",
  },
} as const satisfies Readonly<Record<string, { readonly run: Exporter; readonly help: string }>>;

/** Name of an exporter. */
export type ExporterName = keyof typeof EXPORTERS;
