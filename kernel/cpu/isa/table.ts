/**
 * The instruction table: all rows joined. A row's position is its operation number in every tier.
 * Invariants, asserted at load: names are unique; a match lies within its mask; no two rows of the
 * same specificity can match the same word (a more specific row wins over a more general one).
 */
import { assert } from "../../base/assert.ts";
import { A } from "./a.ts";
import { D, F } from "./fd.ts";
import { M } from "./m.ts";
import type { Row } from "./row.ts";
import { RV64I } from "./rv64i.ts";
import { PRIVILEGED, ZICBO, ZICSR } from "./system.ts";
import { ZB } from "./zb.ts";

/** All rows, in a fixed order. */
export const ROWS: readonly Row[] = [
  ...RV64I,
  ...M,
  ...A,
  ...ZICSR,
  ...F,
  ...D,
  ...ZB,
  ...ZICBO,
  ...PRIVILEGED,
];

const positions = new Map(ROWS.map((row, i) => [row.name, i]));

assert(positions.size === ROWS.length, "instruction names are unique");
for (const row of ROWS) {
  assert((row.match & ~row.mask) === 0, `${row.name}: match outside its mask`);
}

/** Position of a row by name. Throws RangeError when there is none. */
export function rowNumber(name: string): number {
  const position = positions.get(name);
  if (position === undefined) throw new RangeError(`no instruction is named ${name}`);
  return position;
}
