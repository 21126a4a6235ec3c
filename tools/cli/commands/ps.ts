/** `ps`: the VMs of this user that run now, in all processes (issue 4, "Record"; issue 5, section 6). */
import { Command } from "commander";
import { formatSize } from "../../../kernel/base/units.ts";
import { writeError, writeOut } from "../streams.ts";

/** The command. */
export function psCommand(): Command {
  return new Command("ps")
    .description("list the VMs that run now")
    .option("--json", "as one JSON array")
    .action(list);
}

/** A VM, and the process that it runs in. */
interface Row {
  readonly name: string;
  readonly guest: string | null;
  readonly state: string;
  readonly icount: number;
  readonly memoryBytes: number;
  readonly uptimeMilliseconds: number;
  readonly process: number;
  readonly recording: string | null;
  readonly log: string | null;
}

async function list({ json }: { readonly json?: boolean }): Promise<void> {
  const { findKernels } = await import("../control/sockets.ts");
  const rows: Row[] = [];
  for (const { process, vms, log, problem } of await findKernels()) {
    if (vms === undefined) {
      writeError(`chronovisor: process ${process} does not answer: ${problem}\n`);
    }
    for (const { recording, ...vm } of vms ?? []) rows.push({ ...vm, process, recording, log });
  }
  if (json) return writeOut(JSON.stringify(rows) + "\n");
  writeOut(formatTable(rows));
}

function formatTable(rows: readonly Row[]): string {
  const cells = [
    ["NAME", "GUEST", "STATE", "INSTRUCTIONS", "MEMORY", "UPTIME", "PROCESS", "RECORDING"],
    ...rows.map((row) => [
      row.name,
      row.guest ?? "-",
      row.state,
      `${row.icount}`,
      formatSize(row.memoryBytes),
      formatDuration(row.uptimeMilliseconds),
      `${row.process}`,
      row.recording ?? "-",
    ]),
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) => row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ");
  return cells.map((row) => `${line(row).trimEnd()}\n`).join("");
}

/** A duration in its two largest units: 12s, 3m04s, 2h05m, 4d11h. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${two(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}
