/**
 * What to do about a checkpoint that cannot be deleted because one cannot be read: what is a difference to that one
 * has lost its pages, and goes with it.
 */
import { FormatError } from "../../../kernel/base/errors.ts";
import type { CheckpointEntry } from "../../../mod.ts";
import { CliExit, EXIT } from "../errors.ts";
import { SHOWN_DIGITS } from "./find_checkpoint.ts";

/** Most ids that a hint lists. */
const IDS_MAXIMUM = 20;
/** How the store names the checkpoint that cannot be read. */
const NAMED = /checkpoint ([0-9a-f]{32}): /g;

/** The error of a deletion with what can be deleted instead, where that is known. */
export function withDeletionHint(error: unknown, entries: readonly CheckpointEntry[]): unknown {
  if (!(error instanceof FormatError)) return error;
  const damaged = Array.from(error.message.matchAll(NAMED)).at(-1)?.[1];
  if (damaged === undefined) return error;
  const ids = [damaged, ...descendants(entries, damaged)];
  const shown = ids.slice(0, IDS_MAXIMUM).map((id) => id.slice(0, SHOWN_DIGITS)).join(" ");
  const more = ids.length > IDS_MAXIMUM ? ` and ${ids.length - IDS_MAXIMUM} more` : "";
  const hint = ids.length === 1
    ? `delete the one that cannot be read first: \`checkpoint delete ${shown}\``
    : "one that cannot be read is deleted only together with all that are differences to it, in one command: " +
      `\`checkpoint delete ${shown}\`${more}`;
  return new CliExit(EXIT.failure, error.message, hint);
}

/** Ids of those that are differences to a checkpoint, also by way of others. */
function descendants(entries: readonly CheckpointEntry[], ancestor: string): string[] {
  const found = new Set([ancestor]);
  for (let before = 0; before < found.size;) {
    before = found.size;
    for (const { id, head } of entries) {
      if (head !== undefined && head.parent !== null && found.has(head.parent)) found.add(id);
    }
  }
  found.delete(ancestor);
  return [...found];
}
