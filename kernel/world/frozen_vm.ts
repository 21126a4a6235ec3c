/**
 * What a VM world posts to the kernel world, beside the mailbox, when its machine is frozen for a checkpoint
 * (S17.2): shared memory cannot pass a mailbox.
 *
 * Invariant: it is of the instant that the marker `frozen` of the same number tells of (vm_saves.ts).
 */
import type { MachineImage } from "../machine/machine_image.ts";

/** A VM at the instant of a checkpoint: what its world posts, beside the mailbox, for the marker `frozen`. */
export interface FrozenVm {
  readonly kind: "frozen";
  /** Number of the checkpoint: that of the marker. */
  readonly id: number;
  readonly image: MachineImage;
  /** Instructions executed and guest time in ticks of 100 ns. */
  readonly icount: number;
  readonly ticks: number;
  /** Guest pages in the order of their first use since `trace`; undefined when that was not asked for. */
  readonly active: Uint32Array<ArrayBuffer> | undefined;
  /** What the saver reads (memory/frozen_pages.ts), the VM's memory, and where RAM lies in it. */
  readonly area: SharedArrayBuffer;
  readonly memory: SharedArrayBuffer;
  readonly ram: number;
}

/** Whether a message that a world posts is of a frozen VM. */
export function isFrozenVm(posted: unknown): posted is FrozenVm {
  return typeof posted === "object" && posted !== null && (posted as FrozenVm).kind === "frozen";
}
