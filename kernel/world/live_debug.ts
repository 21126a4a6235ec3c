/**
 * What a VM world needs to debug the machine that it runs: loaded by the first debugger that comes
 * (vm_extras.ts).
 */
import { assert } from "../base/assert.ts";
import { MachineDebugger } from "../debug/machine_debugger.ts";
import { DebugSide, LiveDriver } from "./debug_side.ts";
import type { MachinePort } from "./machine_port.ts";
import type { VmMailbox } from "./mailbox.ts";

/** A debugger's hold on a machine, from now on. */
export function beginDebugging({ machine }: MachinePort, mailbox: VmMailbox): DebugSide {
  assert(machine !== undefined, "this machine cannot be debugged");
  const driver = new LiveDriver(() => machine.icount);
  return new DebugSide(new MachineDebugger(machine), driver, mailbox);
}

/** The guest reset itself: the hold goes on with its next machine. */
export function moveDebugger(debug: DebugSide, { machine }: MachinePort): void {
  if (machine !== undefined) debug.moveTo(new MachineDebugger(machine));
}
