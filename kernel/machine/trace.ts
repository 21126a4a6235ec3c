/**
 * The instruction trace: one line for the instruction that comes next (`run --trace`).
 */
import { csrName } from "../cpu/csr_table.ts";
import { decode, newDecoded } from "../cpu/isa/decode.ts";
import { disassemble } from "../cpu/isa/disassemble.ts";
import { addressSpace, guestAddress, ramBytes } from "./guest_view.ts";
import type { Machine } from "./machine.ts";

const MODES: Readonly<Record<number, string>> = { 0: "U", 1: "S", 3: "M" };
const decoded = newDecoded();

/** icount, hart, mode, address, bits and text of the next instruction. Changes nothing. */
export function traceLine(machine: Machine): string {
  const { core, state } = machine;
  const hart = state.turn;
  const pc = core.register(hart, "pc");
  const head = `${state.icount} ${hart} ${MODES[core.word(hart, "privilege")]} ` +
    pc.toString(16).padStart(16, "0");
  const low = instructionHalf(machine, hart, pc);
  if (low === undefined) return `${head} (no instruction there)`;
  const high = (low & 3) === 3 ? instructionHalf(machine, hart, pc + 2n) ?? 0 : 0;
  decode(high << 16 | low, decoded);
  const bits = decoded.bits.toString(16).padStart(decoded.length * 2, "0");
  return `${head} ${bits} ${disassemble(decoded, pc, { csr: csrName })}`;
}

/** Two bytes at a virtual address of a hart; undefined where there is no memory. */
function instructionHalf({ core }: Machine, hart: number, address: bigint): number | undefined {
  const gpa = guestAddress(core, addressSpace(core, hart), address);
  if (gpa === undefined) return undefined;
  const [low, high] = ramBytes(core, gpa, 2);
  return high! << 8 | low!;
}
