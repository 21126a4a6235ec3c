/**
 * The order in which blocks of any control flow become structured WebAssembly: reverse postorder and
 * dominator tree under one dispatcher (N. Ramsey, "Beyond Relooper", ICFP 2022). An edge that goes back to
 * a block which does not dominate its source makes that block an entry of the dispatcher.
 */

/** A control-flow graph: blocks by number, successors by number. */
export interface FlowGraph {
  readonly count: number;
  readonly successors: readonly (readonly number[])[];
  /** Blocks that the dispatcher leads to. */
  readonly entries: readonly number[];
}

/** What code generation needs to know of each block. */
export interface Structure {
  /** Position in reverse postorder. */
  readonly position: readonly number[];
  /** Blocks that the dispatcher leads to: the given ones, then those that irreducible edges need. */
  readonly entries: readonly number[];
  /** Blocks immediately dominated by a block, in reverse postorder; the last list is the dispatcher's. */
  readonly children: readonly (readonly number[])[];
  /** Whether a block is the target of an edge that goes back to it from what it dominates. */
  readonly isLoop: readonly boolean[];
  /** Whether a block is reached from more than one place and so needs a label. */
  readonly isMerge: readonly boolean[];
}

/** Blocks in reverse postorder from the dispatcher, which is block `count`. */
function reversePostorder(graph: FlowGraph, entries: readonly number[]): number[] {
  const seen = new Uint8Array(graph.count + 1);
  const order: number[] = [];
  const successors = (block: number) => block === graph.count ? entries : graph.successors[block]!;
  const stack: { block: number; next: number }[] = [{ block: graph.count, next: 0 }];
  seen[graph.count] = 1;
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    // Later successors first, so that the first successor comes first in reverse postorder.
    const list = successors(top.block);
    if (top.next === list.length) {
      order.push(top.block);
      stack.pop();
      continue;
    }
    const to = list[list.length - 1 - top.next++]!;
    if (seen[to] === 0) {
      seen[to] = 1;
      stack.push({ block: to, next: 0 });
    }
  }
  return order.reverse();
}

/** Immediate dominators by position (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm"). */
function dominators(predecessors: readonly (readonly number[])[]): Int32Array {
  const idom = new Int32Array(predecessors.length).fill(-1);
  idom[0] = 0;
  for (let changed = true; changed;) {
    changed = false;
    for (let at = 1; at < predecessors.length; at++) {
      let best = -1;
      for (const from of predecessors[at]!) {
        if (idom[from] === -1) continue;
        best = best === -1 ? from : intersect(idom, best, from);
      }
      if (idom[at] !== best) {
        idom[at] = best;
        changed = true;
      }
    }
  }
  return idom;
}

function intersect(idom: Int32Array, a: number, b: number): number {
  while (a !== b) {
    while (a > b) a = idom[a]!;
    while (b > a) b = idom[b]!;
  }
  return a;
}

function dominates(idom: Int32Array, above: number, below: number): boolean {
  let at = below;
  while (at > above) at = idom[at]!;
  return at === above;
}

/** Structures a graph. Blocks that no entry reaches are left out. */
export function structure(graph: FlowGraph): Structure {
  const entries = [...graph.entries];
  for (;;) {
    const order = reversePostorder(graph, entries);
    const position = new Array<number>(graph.count + 1).fill(-1);
    order.forEach((block, at) => position[block] = at);
    const successors = order.map((block) =>
      (block === graph.count ? entries : graph.successors[block]!).map((to) => position[to]!)
    );
    const predecessors: number[][] = order.map(() => []);
    successors.forEach((list, from) => {
      for (const to of list) predecessors[to]!.push(from);
    });
    const idom = dominators(predecessors);
    const bad = new Set<number>();
    predecessors.forEach((list, to) => {
      if (list.some((from) => from >= to && !dominates(idom, to, from))) bad.add(order[to]!);
    });
    const missing = [...bad].filter((block) => !entries.includes(block));
    if (missing.length > 0) {
      entries.push(...missing);
      continue;
    }
    return describe(graph, { order, position, predecessors, idom, entries, bad });
  }
}

interface Analysis {
  readonly order: readonly number[];
  readonly position: readonly number[];
  readonly predecessors: readonly (readonly number[])[];
  readonly idom: Int32Array;
  readonly entries: readonly number[];
  /** Blocks that irreducible edges lead to: those edges go through the dispatcher. */
  readonly bad: ReadonlySet<number>;
}

function describe(graph: FlowGraph, analysis: Analysis): Structure {
  const { order, position, predecessors, idom, entries } = analysis;
  const children: number[][] = Array.from({ length: graph.count + 1 }, () => []);
  const isLoop = new Array<boolean>(graph.count + 1).fill(false);
  const isMerge = new Array<boolean>(graph.count + 1).fill(false);
  for (let at = 1; at < order.length; at++) {
    const block = order[at]!;
    children[order[idom[at]!]!]!.push(block);
    const list = predecessors[at]!;
    isLoop[block] = list.some((from) => from >= at && dominates(idom, at, from));
    isMerge[block] = list.includes(0) || list.filter((from) => from < at).length > 1;
  }
  return { position, entries, children, isLoop, isMerge };
}
