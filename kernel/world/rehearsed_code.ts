/**
 * Code for a rehearsal to decode: a VM that goes on from a checkpoint decodes all that it executes anew, some
 * 10,000 stretches in the first moments, and decoders that V8 has not compiled take 100 ms for that, compiled
 * ones 15 (S19.6; rehearsal.ts).
 *
 * Invariant: nothing of it is executed.
 */
import { Prng } from "../base/prng.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { COMPRESSED } from "../cpu/isa/c.ts";
import { ROWS } from "../cpu/isa/table.ts";
import type { Core } from "../cpu/core.ts";
import { RECORD_BYTES } from "../memory/memory_plan.ts";

/** Pages of code, and how often they are decoded. */
const [PAGES, ROUNDS] = [4, 6];
/** Page of RAM from which on they lie: behind what the rehearsed guest executes. */
const FIRST_PAGE = 16;
/** Of eight instructions, how many are compressed: as compilers make them. */
const COMPRESSED_OF_EIGHT = 5;

/** Lets a core decode instructions of all kinds. */
export function rehearseDecoding({ buffer, plan, decodedPages }: Core): void {
  if (plan.ramPages < FIRST_PAGE + PAGES) return;
  const bytes = PAGES * PAGE_BYTES;
  const halves = new Uint16Array(buffer, plan.ram + FIRST_PAGE * PAGE_BYTES, bytes / 2);
  const random = new Prng(1);
  for (let at = 0; at < halves.length;) {
    const isShort = random.below(8) < COMPRESSED_OF_EIGHT || at + 1 === halves.length;
    const { match, mask } = random.pick<{ match: number; mask: number }>(
      isShort ? COMPRESSED : ROWS,
    );
    const word = match | random.u32() & ~mask;
    halves[at++] = word;
    if (!isShort) halves[at++] = word >>> 16;
  }
  for (let round = 0; round < ROUNDS; round++) {
    decodedPages.clear();
    for (let page = FIRST_PAGE; page < FIRST_PAGE + PAGES; page++) {
      const decoded = decodedPages.pageAddress(page);
      for (let half = 0; half < PAGE_BYTES / 2; half++) {
        decodedPages.decodeAt(decoded + half * RECORD_BYTES, decoded);
      }
    }
  }
}
