/**
 * The second act of a rehearsal (rehearsal.ts): a machine that goes on from a checkpoint, and the loop that
 * drives it to its end, so that a VM that is resumed in this world finds warm code (S19). It loads what
 * freezes machines, too, because a restored VM wants that before its first instruction.
 *
 * Invariant: nothing of it is left but warm code.
 */
import { assert } from "../base/assert.ts";
import { hostClock } from "../host/clock.ts";
import { saveImage } from "../machine/machine_image.ts";
import { LAZY, LAZY_STATE, newLazyTable } from "../memory/lazy_table.ts";
import { newMemory } from "../memory/memory_plan.ts";
import { HostTime } from "./host_time.ts";
import type { MachineConfig, MachineFactory, MachineSurroundings } from "./machine_port.ts";
import { createMailbox, VmMailbox } from "./mailbox.ts";
import { VmExtras } from "./vm_extras.ts";
import { VmSide } from "./vm_side.ts";

/** Stores 0x5555 to the test device: power off. */
const GUEST = Uint32Array.of(0x0010_02b7, 0x0000_5337, 0x5553_0313, 0x0062_a023, 0x0000_006f);

/** Rehearses. Rejects with what a machine throws that cannot be made. */
export async function rehearseRestore(
  config: MachineConfig,
  surroundings: MachineSurroundings,
  create: MachineFactory,
): Promise<void> {
  const guest: MachineConfig = {
    ...config,
    kernel: new Uint8Array(GUEST.slice().buffer),
    bios: "none",
  };
  const before = await create(guest, surroundings);
  assert(before.machine !== undefined, "a machine that can be saved");
  before.run(1);
  before.takeOutputs();
  const { core } = before.machine;
  const memory = newMemory(core.plan);
  const from = core.plan.ram + Number(core.register(0, "pc")) - core.plan.ramStart;
  const code = core.bytes.slice(from, from + GUEST.byteLength);
  new Uint8Array(memory.buffer, from).set(code);
  const image = saveImage(before.machine);
  const { buffer: lazy, header, states } = newLazyTable(core.plan.ramPages);
  // A page that the guest does not use is missing, so that the others are looked through.
  states[core.plan.ramPages - 1] = LAZY_STATE.absent;
  header[LAZY.left] = 1;
  const restored = { image, ticks: 0, memory, lazy };
  const { kernel: _, ...rest } = guest;
  const machine = await create(rest, { ...surroundings, restored });
  const mailbox = new VmMailbox(createMailbox());
  const extras = new VmExtras();
  const saves = (await extras.loadSaving()).restoreMachine(machine, mailbox, image);
  const time = config.clock === "virtual" ? undefined : new HostTime(hostClock, 0);
  await new VmSide(machine, mailbox, { time, hostClock, extras, saves }).run();
}
