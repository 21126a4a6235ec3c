/**
 * Claims of the structuring: over random graphs (reducible or not, with many entries), following the ways
 * that code generation would take visits the same blocks as the graph itself.
 */
import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../../kernel/base/prng.ts";
import { type FlowGraph, type Structure, structure } from "../../../kernel/translator/structure.ts";

function randomGraph(rng: Prng): FlowGraph {
  const count = 1 + rng.below(rng.pick([2, 6, 20, 60]));
  const successors = Array.from(
    { length: count },
    () => Array.from({ length: rng.below(3) }, () => rng.below(count)),
  );
  const entries = [...new Set(Array.from({ length: 1 + rng.below(3) }, () => rng.below(count)))];
  return { count, successors, entries };
}

/** Blocks that can be reached from the entries. */
function reachable({ successors, entries }: FlowGraph): Set<number> {
  const seen = new Set<number>(entries);
  for (const block of seen) for (const to of successors[block]!) seen.add(to);
  return seen;
}

/** The scopes that are open where code generation writes each block, as region_code.ts nests them. */
function scopes(s: Structure, count: number): Map<number, { labels: number[]; loops: number[] }> {
  const found = new Map<number, { labels: number[]; loops: number[] }>();
  const within = (block: number, labels: number[], loops: number[], merges: number[]): void => {
    const [last, ...others] = merges;
    if (last === undefined) {
      if (block !== count) {
        assert(!found.has(block), `block ${block} is written twice`);
        found.set(block, { labels, loops });
      }
      // Blocks with one way in are written where that way leaves this one.
      for (const child of s.children[block]!) if (!s.isMerge[child]) tree(child, labels, loops);
      return;
    }
    within(block, [...labels, last], loops, others);
    tree(last, labels, loops);
  };
  const tree = (block: number, labels: number[], loops: number[]): void => {
    const merges = s.children[block]!.filter((child) => s.isMerge[child]!).reverse();
    within(block, labels, s.isLoop[block]! ? [...loops, block] : loops, merges);
  };
  within(count, [], [], [...s.children[count]!].reverse());
  return found;
}

Deno.test("every edge of a random graph has a way in the structured code", () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const graph = randomGraph(new Prng(seed));
    const s = structure(graph);
    const written = scopes(s, graph.count);
    assertEquals(new Set(written.keys()), reachable(graph), `seed ${seed}: blocks written`);
    for (const [from, { labels, loops }] of written) {
      for (const to of graph.successors[from]!) {
        const name = `seed ${seed}: ${from} to ${to}`;
        if (s.position[to]! <= s.position[from]!) {
          assert(loops.includes(to) || s.entries.includes(to), `${name} goes back to nothing`);
        } else if (s.isMerge[to]) assert(labels.includes(to), `${name} has no label`);
        else assert(s.children[from]!.includes(to), `${name} is written elsewhere`);
      }
    }
  }
});

Deno.test("a loop with two ways in gets an entry for one of them, a loop with one way in none", () => {
  const twoWays = structure({ count: 3, successors: [[1, 2], [2], [1]], entries: [0] });
  assertEquals(twoWays.entries.length, 2);
  const oneWay = structure({ count: 3, successors: [[1], [2], [1]], entries: [0] });
  assertEquals([oneWay.entries, oneWay.isLoop[1]], [[0], true]);
});
