/**
 * The instruction trace: one line for the instruction that comes next (`run --trace`).
 */
import { csrName } from "../cpu/csr_table.ts";
import { decode, newDecoded } from "../cpu/isa/decode.ts";
import { disassemble } from "../cpu/isa/disassemble.ts";
import { PRIVILEGE } from "../memory/hart_layout.ts";
import { lookUp } from "../mmu/look.ts";
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
function instructionHalf(machine: Machine, hart: number, address: bigint): number | undefined {
  const { core } = machine;
  const machineMode = core.word(hart, "privilege") === PRIVILEGE.machine;
  const satp = machineMode ? 0n : core.register(hart, "satp");
  const gpa = lookUp(satp, address, (entry) => longAt(machine, entry));
  return gpa === undefined ? undefined : ramWord(machine, gpa, 2);
}

function longAt(machine: Machine, gpa: bigint): bigint | undefined {
  const low = ramWord(machine, gpa, 4);
  const high = ramWord(machine, gpa + 4n, 4);
  return low === undefined || high === undefined ? undefined : BigInt(high) << 32n | BigInt(low);
}

/** Reads past the traces: looking is no access. */
function ramWord(machine: Machine, gpa: bigint, size: 2 | 4): number | undefined {
  const { plan, bytes } = machine.core;
  const at = gpa - BigInt(plan.ramStart);
  if (at < 0n || at + BigInt(size) > BigInt(plan.ramBytes)) return undefined;
  const view = new DataView(bytes.buffer, plan.ram + Number(at), size);
  return size === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
}
