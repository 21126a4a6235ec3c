/**
 * How much of the budget a block of a region may use before the next check: the longest way to it.
 *
 * Invariant: no way from a block uses more than is said here, whichever sides of branches are evaluated on
 * it; a side that has a check of its own is evaluated only as the first one (region_code.ts).
 */
import type { Block } from "./region.ts";
import { SIDE_MAXIMUM } from "./short_sides.ts";
import type { FlowGraph, Structure } from "./structure.ts";

/**
 * Instructions on the longest way from each block to the next check, the block's own included.
 * @param isCheckpoint whether a block begins with a check
 */
export function longestWays(
  graph: FlowGraph,
  blocks: readonly Block[],
  { position }: Structure,
  isCheckpoint: (block: number) => boolean,
): Int32Array {
  const need = new Int32Array(graph.count);
  const length = (block: number) => blocks[block]!.instructions.length;
  const wayThrough = (to: number): number => {
    if (!isCheckpoint(to)) return need[to]!;
    if (length(to) > SIDE_MAXIMUM) return 0;
    // It may be evaluated on the way, without its check; what comes behind it then follows.
    const behind = graph.successors[to]!.filter((block) => !isCheckpoint(block));
    return length(to) + Math.max(0, ...behind.map((block) => need[block]!));
  };
  const order = [...graph.successors.keys()].filter((block) => position[block]! >= 0);
  order.sort((a, b) => position[b]! - position[a]!);
  for (const block of order) {
    need[block] = length(block) + Math.max(0, ...graph.successors[block]!.map(wayThrough));
  }
  return need;
}
