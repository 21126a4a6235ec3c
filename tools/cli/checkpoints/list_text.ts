/**
 * Checkpoints for people and for programs: `checkpoint list`, `list --tree` and `show` (issue 5, section 6).
 */
import type { CheckpointEntry, CheckpointHead, CheckpointTree, ClaimState } from "../../../mod.ts";
import { formatSize, PAGE_BYTES } from "../../../kernel/base/units.ts";
import { formatTable } from "../table.ts";
import { SHOWN_DIGITS } from "./find_checkpoint.ts";
import { shownText, shownTime } from "./text.ts";

/** A checkpoint as JSON. */
export function entryAsJson(entry: CheckpointEntry): Record<string, unknown> {
  const { id, head, problem } = entry;
  if (head === undefined) return { id, problem: problem ?? null };
  const { memoryPages, ...rest } = head;
  return {
    ...rest,
    created: shownTime(head.created),
    memoryBytes: memoryPages * PAGE_BYTES,
    problem: problem ?? null,
  };
}

/** Trees as JSON: each checkpoint with the ids of its children, parents first. */
export function treeAsJson(trees: readonly CheckpointTree[]): Record<string, unknown>[] {
  return walked(trees).map(({ tree }) => ({
    ...entryAsJson(tree),
    children: tree.children.map(({ id }) => id),
  }));
}

/** All checkpoints as a table. */
export function listTable(entries: readonly CheckpointEntry[]): string {
  return table(entries.map((entry) => ({ entry, indent: "" })));
}

/** All checkpoints, each below its parent. */
export function treeTable(trees: readonly CheckpointTree[]): string {
  return table(
    walked(trees).map(({ tree, depth }) => ({ entry: tree, indent: "  ".repeat(depth) })),
  );
}

/** All of some trees, parents first. A chain may be long: no recursion. */
function walked(
  trees: readonly CheckpointTree[],
): { readonly tree: CheckpointTree; readonly depth: number }[] {
  const found: { tree: CheckpointTree; depth: number }[] = [];
  const waiting = trees.map((tree) => ({ tree, depth: 0 })).reverse();
  for (let next; (next = waiting.pop()) !== undefined;) {
    const { tree, depth } = next;
    found.push(next);
    for (const child of tree.children.toReversed()) waiting.push({ tree: child, depth: depth + 1 });
  }
  return found;
}

interface Row {
  readonly entry: CheckpointEntry;
  readonly indent: string;
}

function table(rows: readonly Row[]): string {
  const cells = [["ID", "VM", "LABEL", "KIND", "CREATED", "MEMORY", "STORED", "PROBLEM"]];
  for (const { entry: { id, head, problem }, indent } of rows) {
    const shown = indent + id.slice(0, SHOWN_DIGITS);
    cells.push([
      shown,
      head === undefined ? "-" : shownText(head.vm),
      head === undefined ? "-" : shownText(head.label),
      head?.kind ?? "-",
      head === undefined ? "-" : shownTime(head.created),
      head === undefined ? "-" : formatSize(head.memoryPages * PAGE_BYTES),
      head === undefined ? "-" : bytes(head.counts.storedBytes),
      problem ?? "",
    ]);
  }
  return formatTable(cells);
}

/** All that is known of a checkpoint, a line each. */
export function showLines(
  head: CheckpointHead,
  problem: string | undefined,
  claim: ClaimState | undefined,
): string {
  const { counts } = head;
  const lines: [string, string][] = [
    ["id", head.id],
    ["vm", shownText(head.vm)],
    ["label", shownText(head.label)],
    ["kind", head.kind + (claim === undefined ? "" : `, ${claimText(claim)}`)],
    ["created", shownTime(head.created)],
    ["parent", head.parent ?? "-"],
    ["memory", formatSize(head.memoryPages * PAGE_BYTES)],
    ["executed", `${head.icount} instructions`],
    ["machine", `version ${head.machineVersion}`],
    ["pages", countsText(counts)],
    ["packs", `${head.packs.length}`],
  ];
  if (problem !== undefined) lines.push(["problem", problem]);
  return lines.map(([name, value]) => `${name.padEnd(10)}${value}\n`).join("");
}

/** What became of the pages of a save. */
export function countsText(counts: CheckpointHead["counts"]): string {
  const { added, zero, known, stored, storedBytes } = counts;
  return `${added} saved: ${stored} new (${bytes(storedBytes)} stored), ${known} known already, ` +
    `${zero} zero`;
}

function claimText(claim: ClaimState): string {
  switch (claim) {
    case "available":
      return "can be resumed";
    case "in use":
      return "a VM runs from it";
    case "consumed":
      return "was resumed";
  }
}

function bytes(count: number): string {
  return count < 1024 ? `${count} bytes` : formatSize(Math.round(count / 1024) * 1024);
}
