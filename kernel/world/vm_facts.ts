/** What a VM tells of itself: how it ended, and what it counted. */
import type { MachineStats } from "./machine_port.ts";
import type { EndReport, ReplayReport } from "./reports.ts";

/** How a VM ended. */
export interface VmExit {
  /** Exit code of the guest; 0 when it was stopped from outside. */
  readonly code: number;
  /** "power-off" and "reset" are the guest's doing, "stopped" is `powerOff`, "replayed" a replay's end. */
  readonly why: EndReport["why"];
  /** How a replay ended. */
  readonly replay?: ReplayReport;
}

/** Counters of a VM, with what the kernel world measured. */
export interface VmStats extends MachineStats {
  /** Milliseconds since the machine was made. */
  readonly wallMilliseconds: number;
  /** Millions of guest instructions in a second of that time. */
  readonly mips: number;
}
