/**
 * The instruction trace: one line for the instruction that comes next (`run --trace`).
 */
import { csrName } from "../cpu/csr_table.ts";
import { decode, newDecoded } from "../cpu/isa/decode.ts";
import { disassemble } from "../cpu/isa/disassemble.ts";
import { ACCESS } from "../mmu/pte.ts";
import type { Machine } from "./machine.ts";

const MODES: Readonly<Record<number, string>> = { 0: "U", 1: "S", 3: "M" };
const decoded = newDecoded();

/** icount, hart, mode, address, bits and text of the next instruction. */
export function traceLine(machine: Machine): string {
  const { core, state } = machine;
  const hart = state.turn;
  const pc = core.register(hart, "pc");
  const head = `${state.icount} ${hart} ${MODES[core.word(hart, "privilege")]} ` +
    pc.toString(16).padStart(16, "0");
  const half = (address: bigint): number | undefined => {
    if (hart !== core.current) core.switchTo(hart);
    const gpa = core.exports.translate(address, ACCESS.fetch, 2);
    core.setControlWord("faultCause", 0);
    return gpa < 0n ? undefined : machine.memory.integer(Number(gpa), 2);
  };
  const low = half(pc);
  if (low === undefined) return `${head} (no instruction there)`;
  const high = (low & 3) === 3 ? half(pc + 2n) ?? 0 : 0;
  decode(high << 16 | low, decoded);
  const bits = decoded.bits.toString(16).padStart(decoded.length * 2, "0");
  return `${head} ${bits} ${disassemble(decoded, pc, { csr: csrName })}`;
}
