/** `ps`: the VMs of this user that run now, in all processes. */
import { Command } from "commander";
import { findKernels, type FoundKernel } from "../control/sockets.ts";
import { writeError, writeOut } from "../streams.ts";

/** The command. */
export function psCommand(): Command {
  return new Command("ps")
    .description("list the VMs that run now")
    .option("--json", "as one JSON array")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const kernels = await findKernels();
      for (const { process, vms } of kernels) {
        if (vms === undefined) writeError(`chronovisor: process ${process} does not answer\n`);
      }
      const rows = listVms(kernels);
      writeOut(json ? JSON.stringify(rows) + "\n" : formatTable(rows));
    });
}

interface Row {
  readonly name: string;
  readonly state: string;
  readonly icount: number;
  readonly process: number;
  readonly recording: string | null;
}

function listVms(kernels: readonly FoundKernel[]): Row[] {
  return kernels.flatMap(({ process, vms = [] }) =>
    vms.map(({ name, state, icount, recording }) => ({ name, state, icount, process, recording }))
  );
}

function formatTable(rows: readonly Row[]): string {
  const cells = [
    ["NAME", "STATE", "INSTRUCTIONS", "PROCESS", "RECORDING"],
    ...rows.map(({ name, state, icount, process, recording }) => [
      name,
      state,
      `${icount}`,
      `${process}`,
      recording ?? "-",
    ]),
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) => row.map((cell, i) => cell.padEnd(widths[i]!)).join("  ");
  return cells.map((row) => `${line(row).trimEnd()}\n`).join("");
}
