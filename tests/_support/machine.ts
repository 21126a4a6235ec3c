/**
 * Builds machines in this process for tests: no worker, no host clock.
 */
import { BUILTIN_DEVICES } from "../../drivers/mod.ts";
import { latin1 } from "../../kernel/base/bytes.ts";
import { DeviceRegistry } from "../../kernel/driver/mod.ts";
import { Machine, type MachineConfig } from "../../kernel/machine/machine.ts";
import { MACHINE_VERSION } from "../../kernel/machine/version.ts";
import { OWN_CODE } from "../../kernel/machine/own_code.ts";
import type { StopReason } from "../../kernel/machine/turns.ts";

/** 2026-01-01 00:00 UTC in nanoseconds. */
const WALL_START = 1_767_225_600_000_000_000n;

/** A machine with sensible defaults: 64 MiB, one hart, virtual clock, seed 1. */
export function testMachine(config: Partial<MachineConfig>): Machine {
  return new Machine({
    machineVersion: MACHINE_VERSION,
    bios: "none",
    code: OWN_CODE,
    memoryBytes: 64 * 1024 * 1024,
    harts: 1,
    append: "",
    disks: [],
    clock: "virtual",
    seed: 1n,
    wallStart: WALL_START,
    ...config,
  }, new DeviceRegistry(BUILTIN_DEVICES));
}

/** How a machine ended in `runToEnd`. */
export interface Ended {
  readonly stop: StopReason;
  /** What its serial port printed. */
  readonly console: string;
}

/** Options of `runToEnd`. */
export interface RunOptions {
  /** Most instructions. */
  readonly most?: number;
  /** Instructions of one slice. */
  readonly slice?: number;
  /** Stops when the console shows this. */
  readonly until?: string;
  /** Serves disk requests and whatever else leaves the machine. */
  readonly onOutput?: (output: ReturnType<Machine["takeOutputs"]>[number]) => void;
}

/** Runs a machine until it ends, is idle for ever, or has used its instructions. Idle time is skipped. */
export function runToEnd(machine: Machine, options: RunOptions = {}): Ended {
  const { most = 10_000_000_000, slice = 1_000_000, until, onOutput } = options;
  const parts: string[] = [];
  let tail = "";
  for (;;) {
    const stop = machine.run(Math.min(slice, most - machine.icount));
    for (const output of machine.takeOutputs()) {
      onOutput?.(output);
      if (output.kind !== "bytes" || output.device !== "uart0") continue;
      const text = latin1(output.bytes);
      parts.push(text);
      tail = (tail + text).slice(-4096);
    }
    const seen = until !== undefined && tail.includes(until);
    if (stop.kind === "idle" && stop.wakeTicks !== Infinity && !seen) {
      machine.skipTo(stop.wakeTicks);
      continue;
    }
    const goesOn = stop.kind === "output" || stop.kind === "await" ||
      (stop.kind === "budget" && machine.icount < most);
    if (!goesOn || seen) return { stop, console: parts.join("") };
  }
}

/** Offers bytes to port 0 of a console; gives how many were taken. */
export function offerBytes(machine: Machine, bytes: Uint8Array, device = "uart0"): number {
  return machine.gate.deliver({ kind: "console", device, port: 0, bytes });
}
