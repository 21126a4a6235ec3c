/**
 * Looks an address up in a hart's page tables as a debugger does: no permission is asked, no A or D bit
 * set, no trap taken (privileged ISA, "Virtual address translation process").
 *
 * Invariant: nothing changes, so a machine that is looked at stays the machine it was.
 */
import { PPN_MASK, PTE, PTE_PPN_SHIFT, SATP_MODE, SATP_MODE_SHIFT } from "./pte.ts";

const LEVEL_BITS = 9n;
const PAGE_BITS = 12n;
const LEAF = PTE.R | PTE.W | PTE.X;

/**
 * Guest-physical address of a virtual one; undefined when it is not mapped.
 *
 * @param satp of the hart
 * @param address virtual, any 64-bit value
 * @param readEntry gives the 8 bytes at a guest-physical address, undefined outside RAM
 */
export function lookUp(
  satp: bigint,
  address: bigint,
  readEntry: (gpa: bigint) => bigint | undefined,
): bigint | undefined {
  const mode = Number(satp >> BigInt(SATP_MODE_SHIFT));
  if (mode === SATP_MODE.bare) return address;
  const levels = mode - 5;
  const bits = BigInt(levels) * LEVEL_BITS + PAGE_BITS;
  if (BigInt.asIntN(64, address) !== BigInt.asIntN(Number(bits), address)) return undefined;
  let table = (satp & PPN_MASK) << PAGE_BITS;
  for (let level = levels - 1; level >= 0; level--) {
    const shift = PAGE_BITS + BigInt(level) * LEVEL_BITS;
    const slot = address >> shift & (1n << LEVEL_BITS) - 1n;
    const entry = readEntry(table + slot * 8n);
    if (entry === undefined || (entry & PTE.V) === 0n) return undefined;
    const base = (entry >> BigInt(PTE_PPN_SHIFT) & PPN_MASK) << PAGE_BITS;
    const offset = (1n << shift) - 1n;
    if ((entry & LEAF) !== 0n) {
      return (base & offset) === 0n ? base | address & offset : undefined;
    }
    table = base;
  }
  return undefined;
}
