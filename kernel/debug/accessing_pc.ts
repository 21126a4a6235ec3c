/**
 * The address of the instruction that accessed memory, found behind it: generated code does not keep pc
 * while it executes, so what lies before the place where the run ended is decoded.
 *
 * Invariant: an address is given only where a load, store or atomic instruction ends at that place, and,
 * as far as its base register still tells, leads to the memory that was accessed.
 */
import { decode, ILLEGAL, newDecoded } from "../cpu/isa/decode.ts";
import { OPCODE } from "../cpu/isa/row.ts";
import { ROWS } from "../cpu/isa/table.ts";
import type { Machine } from "../machine/machine.ts";
import { readMemory } from "./hart_memory.ts";

const LOADS: readonly number[] = [OPCODE.load, OPCODE.loadFloat];
const STORES: readonly number[] = [OPCODE.store, OPCODE.storeFloat];
/** Most bytes of one access. */
const ACCESS_BYTES = 8n;
const PAGE_MASK = 4095n;
const OPCODE_MASK = 0x7f;

/**
 * @param address an address that was accessed, virtual or physical: its place in its page counts
 * @returns undefined where the run did not end right behind the instruction
 */
export function accessingPc(machine: Machine, hart: number, address: bigint): bigint | undefined {
  const next = machine.core.register(hart, "pc");
  for (const length of [4, 2]) {
    const pc = next - BigInt(length);
    const bytes = readMemory(machine, hart, pc, length);
    if (bytes.length === length && accesses(machine, hart, bytes, address)) return pc;
  }
  return undefined;
}

function accesses(machine: Machine, hart: number, bytes: Uint8Array, address: bigint): boolean {
  const bits = bytes.reduceRight((value, byte) => value << 8 | byte, 0);
  const decoded = newDecoded();
  const row = decode(bits, decoded);
  if (row === ILLEGAL || decoded.length !== bytes.length) return false;
  const opcode = ROWS[row]!.match & OPCODE_MASK;
  const isLoad = LOADS.includes(opcode);
  if (!isLoad && !STORES.includes(opcode) && opcode !== OPCODE.atomic) return false;
  // A load may have overwritten its base.
  if (!STORES.includes(opcode) && decoded.rd === decoded.rs1) return true;
  const offset = opcode === OPCODE.atomic ? 0 : decoded.imm;
  const start = machine.core.register(hart, "x", decoded.rs1) + BigInt(offset);
  return (address - start & PAGE_MASK) < ACCESS_BYTES;
}
