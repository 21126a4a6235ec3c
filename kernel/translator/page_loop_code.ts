/**
 * Writes a loop that walks through memory (page_loops.ts): as many iterations as its pages and the budget
 * allow run without further checks; where that is none, one iteration runs as in any other block.
 *
 * Invariant: the iterations that run unchecked are charged before the first, and those that an early end of
 * the loop leaves over are given back.
 */
import type { I32, I64 } from "../cpu/isa/ops.ts";
import { i32, i64, type Label, type Local } from "../wasm/mod.ts";
import type { LoopBase } from "./page_loops.ts";
import type { Instruction } from "./region.ts";
import type { RegionFrame, RegionOps } from "./region_ops.ts";

/** The loop being written. */
export interface PageLoop {
  readonly frame: RegionFrame;
  readonly ops: RegionOps;
  /** Its one block. */
  readonly instructions: readonly Instruction[];
  /** Instructions on the longest way from behind the loop to the next check. */
  readonly behind: number;
  /** The loop's head, where the budget is checked. */
  readonly again: Label;
  /** Writes the block; `branch` is called with the condition that its last instruction branches on. */
  body(branch: (taken: I32) => void): void;
}

/** Writes the loop; control falls behind it when its branch is not taken. */
export function emitPageLoop(loop: PageLoop, bases: readonly LoopBase[]): void {
  const { frame: { f, budget }, instructions: { length }, again } = loop;
  f.block((exit) => {
    f.block((single) => {
      f.scope(() => emitUnchecked(loop, bases, { exit, single }));
    });
    f.set(budget, i64.sub(budget, length));
    loop.body((taken) => {
      f.brIf(again, taken);
      f.br(exit);
    });
  });
}

function emitUnchecked(
  loop: PageLoop,
  bases: readonly LoopBase[],
  labels: { readonly exit: Label; readonly single: Label },
): void {
  const { frame: { f, budget }, ops, instructions: { length }, again } = loop;
  const addends = new Map<number, Local<"i32">>();
  const left = f.let(emitIterations(loop, bases, addends, labels.single));
  f.set(budget, i64.sub(budget, i64.mul(left, length)));
  f.loop((next) => {
    f.set(left, i64.sub(left, 1));
    ops.withChecked(addends, () =>
      loop.body((taken) => {
        f.if(
          i32.eqz(taken),
          () => {
            f.set(budget, i64.add(budget, i64.mul(left, length)));
            f.br(labels.exit);
          },
          undefined,
          "unlikely",
        );
        f.brIf(next, i64.ne(left, 0), "likely");
        f.br(again);
      }));
  });
}

/** Iterations that the budget and the pages of all bases allow; branches to `none` when there is none. */
function emitIterations(
  loop: PageLoop,
  bases: readonly LoopBase[],
  addends: Map<number, Local<"i32">>,
  none: Label,
): I64 {
  const { frame: { f, budget, registers: { x } }, ops, instructions: { length }, behind } = loop;
  const most = f.let(i64.divU(i64.sub(budget, behind), length));
  for (const base of bases) {
    const address = f.let(i64.add(x.get(base.register)!, base.low));
    const page = f.let(i64.and(address, -4096));
    const inPage = f.let(i64.sub(address, page));
    // From the last byte of the first iteration to the page's end; downwards, from its first to the start.
    const above = f.let(i64.sub(4096 - (base.high - base.low), inPage));
    f.brIf(none, i64.ltS(above, 0), "unlikely");
    if (base.step !== 0) {
      const room = base.step < 0 ? inPage : above;
      const count = f.let(i64.add(i64.divU(room, Math.abs(base.step)), 1));
      f.set(most, i64.select(i64.ltU(count, most), count, most));
    }
    for (const kind of [0, 1] as const) {
      if (!(kind === 0 ? base.reads : base.writes)) continue;
      const { answers, addend } = ops.tlbEntry(kind, page);
      f.brIf(none, i32.eqz(answers), "unlikely");
      addends.set(base.register << 1 | kind, f.let(addend));
    }
  }
  return most;
}
