/**
 * Recognises loops of one block whose accesses walk through memory by small constant steps, so that pages
 * are checked once for many iterations (translator.md, "What follows" 4 and 13).
 *
 * Invariant: such a block does nothing but compute in integer registers, load and store; so once its pages
 * are known, no iteration can leave but by its own branch.
 */
import { ROWS } from "../cpu/isa/table.ts";
import type { Block, Instruction } from "./region.ts";
import { isPlain } from "./short_sides.ts";

/** What a base register of the loop leads to. */
export interface LoopBase {
  readonly register: number;
  /** What each iteration adds to it. */
  readonly step: number;
  /** From its value at the start of an iteration to the first byte that the iteration touches. */
  readonly low: number;
  /** And to the byte behind the last. */
  readonly high: number;
  readonly reads: boolean;
  readonly writes: boolean;
}

/** Larger steps leave a page too soon for the check to pay. */
const STEP_MAXIMUM = 512;
const BASES_MAXIMUM = 4;
const ACCESSES = /^(l|s)(b|h|w|d|bu|hu|wu)$/;
const WIDTHS: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, d: 8 };

const access = ROWS.map(({ name }) => {
  const match = ACCESSES.exec(name);
  return match === null ? undefined : { writes: match[1] === "s", width: WIDTHS[match[2]![0]!]! };
});

/** Increments of a register in the block: undefined when it is written in any other way, or twice. */
function stepOf(register: number, instructions: readonly Instruction[]): number | undefined {
  let step = 0;
  let seen = false;
  for (const { row, rd, rs1, imm } of instructions) {
    if (rd !== register || !ROWS[row]!.operands.includes("d")) continue;
    if (seen || ROWS[row]!.name !== "addi" || rs1 !== register) return undefined;
    seen = true;
    step = imm;
  }
  return Math.abs(step) <= STEP_MAXIMUM ? step : undefined;
}

/** The bases of a loop of one block that qualifies; undefined for any other. */
export function loopBases(block: Block): readonly LoopBase[] | undefined {
  const { start, instructions, end } = block;
  if (end.kind !== "branch" || end.target !== start) return undefined;
  const body = instructions.slice(0, -1);
  if (!body.every((instruction) => isPlain(instruction) || access[instruction.row] !== undefined)) {
    return undefined;
  }
  const bases = new Map<number, LoopBase>();
  const moved = new Set<number>();
  for (const { row, rd, rs1, imm } of body) {
    const found = access[row];
    if (found === undefined) {
      moved.add(rd);
      continue;
    }
    const step = stepOf(rs1, body);
    if (rs1 === 0 || step === undefined) return undefined;
    const first = imm + (moved.has(rs1) ? step : 0);
    const { low, high, reads, writes } = bases.get(rs1) ??
      { low: first, high: first, reads: false, writes: false };
    bases.set(rs1, {
      register: rs1,
      step,
      low: Math.min(low, first),
      high: Math.max(high, first + found.width),
      reads: reads || !found.writes,
      writes: writes || found.writes,
    });
    if (!found.writes) moved.add(rd);
  }
  return bases.size > 0 && bases.size <= BASES_MAXIMUM ? [...bases.values()] : undefined;
}
