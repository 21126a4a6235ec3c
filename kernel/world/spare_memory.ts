/**
 * What the kernel world has of a machine that a spare world has made ahead (spare_machine.ts): its memory, in which
 * the host has found room for the pages that the next VM is likely to load first: those of the one before.
 *
 * Invariants: it is given to a VM of just that make; its RAM is zero until then.
 */
import { PAGE_BYTES } from "../base/units.ts";
import { planOptions } from "../machine/machine_plan.ts";
import { planMemory } from "../memory/memory_plan.ts";
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

/** Pages that were loaded before a VM ran. */
export interface FirstPages {
  /** Guest pages of RAM. */
  readonly ramPages: number;
  /** First page and pages of each run. */
  readonly runs: ArrayLike<number>;
}

/** Has the host find the memory of pages, which takes it 1 to 10 µs for each, in a machine that nobody has yet. */
export function touchFirst(
  { config, memory }: SpareMachineFacts,
  { ramPages, runs }: FirstPages,
): void {
  const plan = planMemory(planOptions(config));
  if (plan.ramPages !== ramPages) return;
  const ram = new Uint8Array(memory.buffer, plan.ram, plan.ramBytes);
  for (let i = 0; i < runs.length; i += 2) {
    const end = runs[i]! + runs[i + 1]!;
    for (let page = runs[i]!; page < end; page++) ram[page * PAGE_BYTES] = 0;
  }
}
