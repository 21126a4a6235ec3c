/**
 * What a VM's world posts to the kernel world, beside the mailbox, because shared memory cannot pass one: the
 * machine at the instant of a checkpoint (frozen_vm.ts), and memory that an idle VM does not need (idle_memory.ts).
 *
 * Invariants: who gives memory back is always answered; what makes no sense is dropped, or ends its VM: a VM's
 * world is not to be trusted with more than that.
 */
import type { Host } from "../host/host.ts";
import { isFrozenVm } from "./frozen_vm.ts";
import { IDLE_ANSWER, type IdleMemory } from "./idle_memory.ts";
import type { VmSaves } from "./vm_saves.ts";

/** Takes what was posted. @param fault ends the VM whose world posts what nobody wanted */
export function takePosted(
  posted: unknown,
  saves: VmSaves,
  host: Pick<Host, "memory">,
  fault: (error: unknown) => void,
): void {
  try {
    if (isFrozenVm(posted)) saves.posted(posted);
    else if (isIdleMemory(posted)) takeIdle(posted, host);
  } catch (error) {
    fault(error);
  }
}

function isIdleMemory(posted: unknown): posted is IdleMemory {
  if (typeof posted !== "object" || posted === null) return false;
  const { kind, buffer, ranges, answer } = posted as Partial<IdleMemory>;
  if (kind !== "idle memory" || !(buffer instanceof SharedArrayBuffer)) return false;
  if (!(answer instanceof SharedArrayBuffer) || answer.byteLength !== 4) return false;
  return Array.isArray(ranges) && ranges.every((range) => {
    const [from, bytes] = Array.isArray(range) ? range : [];
    return Number.isSafeInteger(from) && Number.isSafeInteger(bytes) && from >= 0 && bytes >= 0 &&
      from + bytes <= buffer.byteLength;
  });
}

function takeIdle({ buffer, ranges, answer }: IdleMemory, { memory }: Pick<Host, "memory">): void {
  const word = new Int32Array(answer);
  let isZero = false;
  try {
    // Of the first range alone it matters: the others are filled before they are read.
    isZero = ranges.map(([from, bytes]) => memory.giveBack(buffer, from, bytes))[0] ?? false;
  } finally {
    Atomics.store(word, 0, isZero ? IDLE_ANSWER.zero : IDLE_ANSWER.kept);
    Atomics.notify(word, 0);
  }
  memory.trim();
}
