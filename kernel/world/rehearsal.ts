/**
 * What a spare VM world does while it waits: it makes and runs a machine like those that are to come, and
 * drops it. V8 compiles functions when they are first called; a machine that is made by functions that are
 * compiled already takes 1 ms instead of 20. Then one that goes on from a checkpoint (restore_rehearsal.ts).
 *
 * Invariant: nothing of it is left but warm code, and a machine that nobody has seen (spare_machine.ts).
 */
import type { MachineConfig, MachineFactory } from "./machine_port.ts";
import { CompilePort } from "./remote_compiler.ts";
import { makeSpareMachine, type SpareMachine } from "./spare_machine.ts";

/** What to rehearse; nothing, if there is no machine. */
export interface Rehearsal {
  /** A machine like those that are to come; it has no images and no disks. */
  readonly config?: MachineConfig | undefined;
  /** Its compiled core. */
  readonly core?: WebAssembly.Module | undefined;
  /** Whether what records is loaded, for a VM that is recorded from its start. */
  readonly records?: boolean;
  /** Whether to make a machine ahead for a VM that goes on, and whether its regions may be of earlier runs. */
  readonly goesOn?: { readonly keeps: boolean } | undefined;
}

/** `wfi`, and a jump back to it. */
const GUEST = Uint32Array.of(0x1050_0073, 0xffdf_f06f);
/** Instructions, and how often so many. */
const BUDGET = 100;
const SLICES = 3;

/** Rehearses. Gives the machine that is made ahead. Rejects with what a machine throws that cannot be made. */
export async function rehearse(
  rehearsal: Rehearsal,
  create: MachineFactory,
): Promise<SpareMachine | undefined> {
  const { config, core, records } = rehearsal;
  if (records) await import("./live_recording.ts");
  if (config === undefined) return undefined;
  const guest: MachineConfig = {
    ...config,
    kernel: new Uint8Array(GUEST.slice().buffer),
    bios: "none",
  };
  const { port1, port2 } = new MessageChannel();
  const compiler = new CompilePort(port1, false);
  const host = { ticks: () => 0, entropy16: () => 0 };
  const surroundings = { core, compiler, ...config.clock === "exact" && { host } };
  const machine = await create(guest, surroundings);
  for (let slice = 0; slice < SLICES; slice++) {
    machine.run(BUDGET);
    machine.takeOutputs();
  }
  machine.stats();
  const { rehearseRestore } = await import("./restore_rehearsal.ts");
  await rehearseRestore(config, surroundings, create);
  port1.close();
  port2.close();
  return await makeSpareMachine(rehearsal, create);
}
