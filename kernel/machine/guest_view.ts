/**
 * Memory as a hart sees it, for those who look from outside: traces, the debugger. Without page traces,
 * permissions, or marks in page tables; MPRV is ignored.
 *
 * Invariant: looking changes nothing, and never leaves RAM: devices are not read.
 */
import type { Core } from "../cpu/core.ts";
import { PRIVILEGE } from "../memory/hart_layout.ts";
import { lookUp } from "../mmu/look.ts";

/** What a hart's addresses are translated by: its satp, 0 in machine mode, where they are physical. */
export function addressSpace(core: Core, hart: number): bigint {
  return core.word(hart, "privilege") === PRIVILEGE.machine ? 0n : core.register(hart, "satp");
}

/**
 * Guest-physical address in RAM of a virtual one; undefined where nothing or a device is mapped.
 * @param space as addressSpace gives it
 * @param met is told the addresses of the page-table entries that say so
 */
export function guestAddress(
  core: Core,
  space: bigint,
  address: bigint,
  met?: (entry: bigint) => void,
): number | undefined {
  const gpa = lookUp(space, BigInt.asUintN(64, address), (entry) => {
    met?.(entry);
    return entryAt(core, entry);
  });
  const { ramStart, ramBytes } = core.plan;
  if (gpa === undefined || gpa < BigInt(ramStart) || gpa >= BigInt(ramStart + ramBytes)) {
    return undefined;
  }
  return Number(gpa);
}

/** Bytes of RAM as they are; they must lie in it. */
export function ramBytes({ bytes, plan, flags }: Core, gpa: number, length: number): Uint8Array {
  flags.needBytes(gpa, length);
  const at = plan.ram + gpa - plan.ramStart;
  return bytes.subarray(at, at + length);
}

/** An entry of a page table. */
function entryAt(core: Core, gpa: bigint): bigint | undefined {
  const { plan, buffer, flags } = core;
  const at = gpa - BigInt(plan.ramStart);
  if (at < 0n || at + 8n > BigInt(plan.ramBytes)) return undefined;
  flags.needBytes(Number(gpa), 8);
  return new DataView(buffer, plan.ram + Number(at), 8).getBigUint64(0, true);
}
