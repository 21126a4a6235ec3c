/**
 * The machine that a spare world has made ahead (world_pool.ts), for a VM that goes on from a checkpoint: its
 * memory is the machine's, so that the kernel world puts pages where they belong at once (S19).
 *
 * Invariants: a machine that was made ahead has not run, and nobody but the restored VM will see it; it is used
 * for a VM of just its make alone, for which it is what a new one would be.
 */
import { assert } from "../base/assert.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { planOptions } from "../machine/machine_plan.ts";
import { DECODED_PAGE_BYTES, newMemory, planMemory } from "../memory/memory_plan.ts";
import {
  type MachineConfig,
  type MachineFactory,
  type MachinePort,
  tierOf,
} from "./machine_port.ts";
import { CompilePort } from "./remote_compiler.ts";
import type { Rehearsal } from "./rehearsal.ts";

/** Cache elements, and decoded pages, that are touched: what a command in Debian takes. 21 MiB in all. */
const [ELEMENTS, DECODED_PAGES] = [8, 600];

/** A machine that waits for its state. */
export interface SpareMachine {
  readonly machine: MachinePort;
  /** Its compiled core, for a guest that starts again. */
  readonly core: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** What its regions will be made by, once it is connected. */
  readonly compiler: CompilePort;
}

/**
 * Makes the machine that a rehearsal asks for; none where the host has not the memory. Rejects with what a machine
 * throws that cannot be made.
 */
export async function makeSpareMachine(
  { config, core, goesOn }: Rehearsal,
  create: MachineFactory,
): Promise<SpareMachine | undefined> {
  if (config === undefined || core === undefined || goesOn === undefined) return undefined;
  // An exact clock reads the host's time of its VM.
  if (config.clock === "exact" || tierOf(config) !== "translator") return undefined;
  const { kernel: _, initrd: __, ...make } = config;
  const compiler = new CompilePort(undefined, goesOn.keeps);
  const memory = memoryOf(make);
  if (memory === undefined) return undefined;
  const machine = await create(make, { core, compiler, restored: { memory } });
  for (const [from, end] of usedFirst(machine)) touch(memory, from, end);
  return { machine, core, memory, compiler };
}

function memoryOf(make: MachineConfig): WebAssembly.Memory | undefined {
  try {
    return newMemory(planMemory(planOptions(make)));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Areas that any guest uses as soon as it goes on. */
function usedFirst({ machine }: MachinePort): readonly (readonly [number, number])[] {
  assert(machine !== undefined, "a machine that can be saved");
  const { plan } = machine.core;
  return [
    [0, plan.elements + Math.min(ELEMENTS, plan.cacheElements) * plan.elementBytes],
    [plan.elements + plan.cacheElements * plan.elementBytes, plan.decoded],
    [plan.decoded, plan.decoded + Math.min(DECODED_PAGES, plan.decodedPages) * DECODED_PAGE_BYTES],
  ];
}

/** Has the host find memory, which takes it 2 to 14 µs a page, before somebody waits for it. */
function touch({ buffer }: WebAssembly.Memory, from: number, end: number): void {
  const bytes = new Uint8Array(buffer);
  for (let at = from; at < end; at += PAGE_BYTES) bytes[at] = bytes[at]!;
}
