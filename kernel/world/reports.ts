/**
 * What is reported at a VM's end, by the VM world to the kernel world (as JSON) and by the kernel
 * world to its user.
 */
import type { WorldDeath } from "../host/workers.ts";
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { PluginStop } from "../debug/plugin_host.ts";
import type { EndCause } from "../replay/record_table.ts";
import type { HaltCause, HartReport, MachinePort, MachineStats } from "./machine_port.ts";

/** How a machine ended by itself, or because it was told to stop. */
export interface EndReport {
  /** "stopped" when it was told to, "replayed" when a replay came to where it was to end. */
  readonly why: HaltCause | "stopped" | "replayed";
  /** The guest's exit code, 0 to 255 usually; 0 when it was stopped. */
  readonly code: number;
  /** Its counters. */
  readonly stats: MachineStats;
  /** How a replay ended. */
  readonly replay?: ReplayReport;
}

/** How a replay ended, and where. */
export type ReplayReport =
  & {
    /** Instructions executed since the recording began. */
    readonly icount: number;
    /** Epochs at which the state was compared and was the recording's. */
    readonly epochs: number;
  }
  & (
    /** Where it was told to stop. */
    | { readonly kind: "reached" }
    /** Where the recording ends, in the way the recording did. */
    | { readonly kind: "end"; readonly why: EndCause; readonly code: number }
    /** Where the recording was cut. */
    | { readonly kind: "cut"; readonly reason?: string }
    /** Where it first differs from the recording. */
    | { readonly kind: "diverged"; readonly what: string }
    /** Where a plugin stopped it, or failed. */
    | PluginStop
  );

/** Registers as they cross between worlds: 64-bit values as "0x…". */
export interface HartDump {
  /** Hart number. */
  readonly hart: number;
  /** "M", "S" or "U". */
  readonly privilege: string;
  /** Whether it waits for an interrupt. */
  readonly waiting: boolean;
  /** Program counter. */
  readonly pc: string;
  /** x0 to x31. */
  readonly x: readonly string[];
  /** f0 to f31 as bits. */
  readonly f: readonly string[];
  /** Control and status registers by name. */
  readonly csrs: Readonly<Record<string, string>>;
}

/** Why a VM failed, with the state it was in as far as it could still be read. */
export interface FailureReport {
  /** What it was doing: "start" or "run". */
  readonly phase: string;
  /** The error's class. */
  readonly name: string;
  /** The error's message. */
  readonly message: string;
  /** The error's stack, for us. */
  readonly stack: string;
  /** Retired instructions. */
  readonly icount: number;
  /** Registers of the harts that could be read. */
  readonly harts: readonly HartDump[];
}

/** Registers as text parts; the bigints become "0x…". */
export function dumpHart(report: HartReport): HartDump {
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  return {
    ...report,
    pc: hex(report.pc),
    x: report.x.map(hex),
    f: report.f.map(hex),
    csrs: Object.fromEntries(
      Object.entries(report.csrs).map(([name, value]) => [name, hex(value)]),
    ),
  };
}

/** Reports an error thrown while a machine was made or run. Reads what is readable, never throws. */
export function reportFailure(phase: string, error: unknown, machine?: MachinePort): FailureReport {
  const thrown = error instanceof Error ? error : new Error(String(error));
  const harts: HartDump[] = [];
  for (let i = 0; machine !== undefined && i < machine.harts; i++) {
    try {
      harts.push(dumpHart(machine.hart(i)));
    } catch {
      // The machine is broken: what cannot be read is left out of the report.
    }
  }
  return {
    phase,
    name: thrown.name,
    message: thrown.message,
    stack: thrown.stack ?? "",
    icount: machine?.icount ?? 0,
    harts,
  };
}

const REGISTER_NAMES = ("zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 " +
  "s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6").split(" ");

/** The sum of two counts, number by number: a VM's counters go on when its guest resets itself. */
export function addStats(a: MachineStats, b: MachineStats): MachineStats {
  return addNumbers(a, b) as MachineStats;
}

function addNumbers(a: unknown, b: unknown): unknown {
  if (typeof a === "number" || typeof b === "number") return Number(a ?? 0) + Number(b ?? 0);
  const [left, right] = [a ?? {}, b ?? {}] as [Record<string, unknown>, Record<string, unknown>];
  const names = Object.keys({ ...left, ...right });
  return Object.fromEntries(names.map((name) => [name, addNumbers(left[name], right[name])]));
}

/** Registers of a hart as lines of text. */
export function formatHart(dump: HartDump): string {
  const wide = (value: string): string => value.slice(2).padStart(16, "0");
  const cells = [
    ...dump.x.map((value, i) => `${(REGISTER_NAMES[i] ?? `x${i}`).padEnd(13)} ${wide(value)}`),
    ...Object.entries(dump.csrs).map(([name, value]) => `${name.padEnd(13)} ${wide(value)}`),
  ];
  const lines = [
    `hart ${dump.hart}: pc ${wide(dump.pc)}, ${dump.privilege}-mode${
      dump.waiting ? ", waiting for an interrupt" : ""
    }`,
  ];
  for (let i = 0; i < cells.length; i += 4) lines.push("  " + cells.slice(i, i + 4).join("  "));
  return lines.join("\n");
}

/** A failure as text for people: what happened, when, and the state. */
export function formatFailure(report: FailureReport): string {
  return [
    `${report.name} in phase "${report.phase}" after ${report.icount} instructions: ${report.message}`,
    ...report.harts.map(formatHart),
    report.stack,
  ].filter((part) => part !== "").join("\n");
}

/** Thrown to whoever waits for a VM that failed. */
export class VmFailure extends Error {
  /** "VmFailure". */
  override name = "VmFailure";

  /** Makes the error of a report. */
  constructor(
    /** Name of the VM. */
    readonly vm: string,
    /** What is known. */
    readonly report: FailureReport,
  ) {
    super(`VM "${vm}" failed: ${report.message}`);
  }
}

/** The error of a report: a user's mistake keeps its class, anything else is a `VmFailure`. */
export function failureError(vm: string, report: FailureReport): Error {
  if (report.phase === "start") {
    for (const Kind of [ConfigError, FormatError, HostError]) {
      if (new Kind("").name === report.name) return new Kind(report.message);
    }
  }
  return new VmFailure(vm, report);
}

/** Counters of a machine that never ran. */
export const NO_STATS: MachineStats = {
  instructions: 0,
  tiers: {},
  translator: {},
  tlbFills: {},
  memory: {},
  traces: {},
  traps: {},
  interrupts: {},
  nondeterminism: {},
  devices: {},
};

/** What is known of a failure that the VM world did not report. */
export function failureReport(
  phase: FailureReport["phase"],
  error: unknown,
  icount: number,
): FailureReport {
  const thrown = error instanceof Error ? error : new Error(String(error));
  const { name, message, stack } = thrown;
  return { phase, name, message, stack: stack ?? "", icount, harts: [] };
}

/** What is told of a VM whose worker died by itself. */
export function deathReport(
  phase: FailureReport["phase"],
  { message, place }: WorldDeath,
  icount: number,
): FailureReport {
  return {
    phase,
    name: "WorkerError",
    message: `its worker died: ${message}`,
    stack: message + (place === "" ? "" : `\n    at ${place}`),
    icount,
    harts: [],
  };
}
