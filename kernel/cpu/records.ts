/**
 * Which operation numbers predecoded records have: a handler of the interpreter for each row of the
 * instruction table, by the length of the instruction and by where a branch leads.
 */
import { CONTROL } from "../memory/control_layout.ts";
import { CONTROL_BLOCK, HART_BLOCK } from "../memory/memory_plan.ts";
import { COMPRESSED } from "./isa/c.ts";
import { ROWS } from "./isa/table.ts";
import { SPECIALS } from "./record_layout.ts";

/** One handler of the interpreter. */
export interface Variant {
  /** Position in ROWS. */
  readonly row: number;
  readonly length: 2 | 4;
  /** A branch or jump whose target lies in the same page. */
  readonly near: boolean;
}

const compressible = new Set(COMPRESSED.map((row) => row.long));

/** All handlers; operation number = position + SPECIALS. */
export const VARIANTS: readonly Variant[] = ROWS.flatMap((row, i) => {
  const lengths: (2 | 4)[] = compressible.has(i) ? [4, 2] : [4];
  const nears = row.flow === "branch" || row.flow === "jump" ? [false, true] : [false];
  return lengths.flatMap((length) => nears.map((near) => ({ row: i, length, near })));
});

const numbers = new Map(VARIANTS.map((v, i) => [key(v.row, v.length, v.near), i + SPECIALS]));

function key(row: number, length: number, near: boolean): number {
  return row << 2 | (length >> 2) << 1 | (near ? 1 : 0);
}

/** Operation number of a handler; that of a near branch is one more. Undefined where there is none. */
export function operationOf(row: number, length: 2 | 4): number | undefined {
  return numbers.get(key(row, length, false));
}

/** Number of operations, specials included. */
export const OPERATIONS = VARIANTS.length + SPECIALS;

/** Where writes to x0 go, relative to the hart block. */
export const SINK = CONTROL_BLOCK + CONTROL.offset.sink - HART_BLOCK;
