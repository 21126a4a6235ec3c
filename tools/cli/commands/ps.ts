/** `ps`: the VMs of this user that run now, in all processes (issue 4, "Record"; issue 5, section 6). */
import { Command } from "commander";
import { formatSize, PAGE_BYTES } from "../../../kernel/base/units.ts";
import { importLate } from "../../../kernel/host/late_import.ts";
import { CHECKPOINTS_HELP } from "../checkpoints/folder.ts";
import { shownText } from "../checkpoints/text.ts";
import { writeError, writeOut } from "../streams.ts";
import { formatTable } from "../table.ts";

/** The command. */
export function psCommand(): Command {
  return new Command("ps")
    .description("list the VMs that run now")
    .option("--json", "as one JSON array")
    .option("--all", "also VMs that are suspended and can be resumed")
    .option("--checkpoints <folder>", CHECKPOINTS_HELP)
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
  /** Its number; null for a suspended VM, which has none. */
  readonly process: number | null;
  readonly recording: string | null;
  readonly log: string | null;
  /** Id of the checkpoint that a suspended VM is in. */
  readonly checkpoint?: string;
}

interface Options {
  readonly json?: boolean;
  readonly all?: boolean;
  readonly checkpoints?: string;
}

async function list({ json, all, checkpoints }: Options): Promise<void> {
  const { findKernels } = await import("../control/sockets.ts");
  const rows: Row[] = [];
  for (const { process, vms, log, problem } of await findKernels()) {
    if (vms === undefined) {
      writeError(`chronovisor: process ${process} does not answer: ${problem}\n`);
    }
    for (const { recording, ...vm } of vms ?? []) rows.push({ ...vm, process, recording, log });
  }
  if (all) rows.push(...await suspendedRows(checkpoints));
  if (json) return writeOut(JSON.stringify(rows) + "\n");
  writeOut(table(rows));
}

/** VMs that are suspended. */
async function suspendedRows(checkpoints: string | undefined): Promise<Row[]> {
  const { openStore } = await importLate<typeof import("../checkpoints/open_store.ts")>(
    "../checkpoints/open_store.ts",
    import.meta.url,
  );
  const store = openStore(checkpoints);
  const rows: Row[] = [];
  for (const { head, problem } of store.list()) {
    if (head?.kind !== "suspended" || problem !== undefined) continue;
    if (await store.claimState(head.id) !== "available") continue;
    const { icount, memoryPages, id: checkpoint } = head;
    const nothing = {
      guest: null,
      uptimeMilliseconds: 0,
      process: null,
      recording: null,
      log: null,
    };
    const memoryBytes = memoryPages * PAGE_BYTES;
    const name = shownText(head.vm);
    rows.push({ ...nothing, name, state: "suspended", icount, memoryBytes, checkpoint });
  }
  return rows;
}

function table(rows: readonly Row[]): string {
  const cells = [
    ["NAME", "GUEST", "STATE", "INSTRUCTIONS", "MEMORY", "UPTIME", "PROCESS", "RECORDING"],
    ...rows.map((row) => [
      row.name,
      row.guest ?? "-",
      row.state,
      `${row.icount}`,
      formatSize(row.memoryBytes),
      formatDuration(row.uptimeMilliseconds),
      row.process === null ? "-" : `${row.process}`,
      row.recording ?? "-",
    ]),
  ];
  return formatTable(cells);
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
