/**
 * What the kernel world has of a machine that a spare world has made ahead (spare_machine.ts): its memory.
 *
 * Invariant: it is given to a VM of just that make.
 */
import { type MachineConfig, tierOf } from "./machine_port.ts";

/** What the kernel world knows of it. */
export interface SpareMachineFacts {
  readonly config: MachineConfig;
  /** Whether it expects regions of earlier runs. */
  readonly keeps: boolean;
  readonly memory: WebAssembly.Memory;
}

/** Memory of a machine that was made ahead, if it is what a configuration says and has code of the same kind. */
export function spareMemory(
  spare: SpareMachineFacts | undefined,
  config: MachineConfig,
  keeps: boolean | undefined,
): WebAssembly.Memory | undefined {
  if (spare === undefined || spare.keeps !== keeps) return undefined;
  return isSameMake(spare.config, config) ? spare.memory : undefined;
}

/** Whether a machine that was made for one configuration is what the other one says, but for its state. */
function isSameMake(a: MachineConfig, b: MachineConfig): boolean {
  return a.machineVersion === b.machineVersion && a.memoryBytes === b.memoryBytes &&
    a.harts === b.harts && a.bios === b.bios && typeof a.bios === "string" &&
    a.clock === b.clock && tierOf(a) === tierOf(b) && a.trace === b.trace &&
    a.tlbEntries === b.tlbEntries && a.cacheElements === b.cacheElements &&
    (a.marksExecution ?? false) === (b.marksExecution ?? false) &&
    a.disks.length === b.disks.length &&
    a.disks.every(({ sectors, readOnly }, i) =>
      sectors === b.disks[i]!.sectors && readOnly === b.disks[i]!.readOnly
    );
}
