/**
 * Recognises branches whose sides are a few plain instructions and then go on alike, so that both sides can
 * be evaluated and their results chosen (translator.md, "What follows" 13).
 *
 * Invariant: an instruction of a side cannot leave the region and touches nothing but integer registers.
 */
import { isMarker } from "../cpu/isa/marker.ts";
import { ROWS } from "../cpu/isa/table.ts";
import type { I32, I64 } from "../cpu/isa/ops.ts";
import { i64 } from "../wasm/mod.ts";
import type { Block, Instruction } from "./region.ts";

/** What a branch compares; the opposite branches are the same comparison with their ways swapped. */
export type Comparison = "equal" | "less" | "lessUnsigned";

/** The comparisons as expressions. */
export const COMPARE: Readonly<Record<Comparison, (a: I64, b: I64) => I32>> = {
  equal: i64.eq,
  less: i64.ltS,
  lessUnsigned: i64.ltU,
};

/** Where both sides go on: at one place, or by one more branch. */
export type Way =
  | { readonly kind: "join"; readonly at: number }
  | {
    readonly kind: "branch";
    readonly compare: Comparison;
    readonly rs1: number;
    readonly rs2: number;
    readonly ifTrue: number;
    readonly ifFalse: number;
  };

/** One side: what it computes, and how many instructions it counts. */
export interface Side {
  readonly instructions: readonly Instruction[];
  readonly length: number;
}

/** Most instructions of a side. */
export const SIDE_MAXIMUM = 3;
const NOTHING: Side = { instructions: [], length: 0 };
const BRANCHES: Readonly<Record<string, readonly [Comparison, boolean]>> = {
  beq: ["equal", true],
  bne: ["equal", false],
  blt: ["less", true],
  bge: ["less", false],
  bltu: ["lessUnsigned", true],
  bgeu: ["lessUnsigned", false],
};

/** Rows that compute an integer register from others, quickly. */
const plain = ROWS.map(({ operands, flow, float, name }) =>
  flow === "straight" && !float && operands.startsWith("d") && !operands.includes("(") &&
  !/^(div|rem|mulh)/.test(name)
);

/** Whether an instruction computes an integer register from others, quickly, and cannot leave. */
export function isPlain({ row, bits }: Instruction): boolean {
  return plain[row]! && !isMarker(bits);
}

function readSide(block: Block | undefined): { side: Side; way: Way } | undefined {
  if (block === undefined || block.end.kind === "indirect" || block.end.kind === "step") {
    return undefined;
  }
  const { instructions, end } = block;
  const { length } = instructions;
  const last = instructions.at(-1);
  if (last === undefined || length > SIDE_MAXIMUM) return undefined;
  if (end.kind === "jump" && last.rd !== 0) return undefined;
  const kept = end.kind === "fall" ? instructions : instructions.slice(0, -1);
  if (!kept.every(isPlain)) return undefined;
  const side = { instructions: kept, length };
  if (end.kind !== "branch") {
    return { side, way: { kind: "join", at: end.kind === "fall" ? end.next : end.target } };
  }
  const [compare, positive] = BRANCHES[ROWS[last.row]!.name]!;
  const [ifTrue, ifFalse] = positive ? [end.target, end.next] : [end.next, end.target];
  return { side, way: { kind: "branch", compare, rs1: last.rs1, rs2: last.rs2, ifTrue, ifFalse } };
}

function sameWay(a: Way, b: Way): boolean {
  if (a.kind === "join" || b.kind === "join") {
    return a.kind === "join" && b.kind === "join" && a.at === b.at;
  }
  return a.compare === b.compare && a.rs1 === b.rs1 && a.rs2 === b.rs2 &&
    a.ifTrue === b.ifTrue && a.ifFalse === b.ifFalse;
}

/**
 * The sides of a branch to `target` or `next`, if both are short and go on alike. An empty side is one that
 * the branch skips to.
 * @param blockAt gives the block at a place
 */
export function shortSides(
  target: number,
  next: number,
  blockAt: (at: number) => Block | undefined,
): { readonly taken: Side; readonly fallen: Side; readonly way: Way } | undefined {
  const fallen = readSide(blockAt(next));
  if (fallen?.way.kind === "join" && fallen.way.at === target) {
    return { taken: NOTHING, fallen: fallen.side, way: fallen.way };
  }
  const taken = readSide(blockAt(target));
  if (taken?.way.kind === "join" && taken.way.at === next) {
    return { taken: taken.side, fallen: NOTHING, way: taken.way };
  }
  if (taken === undefined || fallen === undefined || !sameWay(taken.way, fallen.way)) {
    return undefined;
  }
  return { taken: taken.side, fallen: fallen.side, way: taken.way };
}
