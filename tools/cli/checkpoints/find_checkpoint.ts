/**
 * Which checkpoint a user means: by its id, the beginning of an id, its label, or the name of its VM, of
 * which the newest is meant (issue 5, section 6).
 *
 * Invariant: what could be two is nobody's, unless it is a whole id: the error lists the candidates.
 */
import { quoted } from "../../../kernel/base/quoted.ts";
import type { CheckpointEntry, CheckpointHead, CheckpointKind } from "../../../mod.ts";
import { CliExit, EXIT } from "../errors.ts";
import { nearMatch } from "../near_match.ts";
import { shownText, shownTime } from "./text.ts";

/** Least digits of an id's beginning. */
const PREFIX_DIGITS = 4;
/** Most candidates that an error lists. */
const CANDIDATES_MAXIMUM = 10;
/** Most characters of what was meant that an error shows. */
const MEANT_MAXIMUM = 200;
/** Digits of an id that are shown to people. */
export const SHOWN_DIGITS = 8;

/** Kinds that users make; the others are found by their ids and labels alone. */
const MADE_BY_USERS: readonly CheckpointKind[] = ["checkpoint", "suspended"];

/**
 * The checkpoint that is meant, also one that cannot be read: by its id. Throws CliExit.
 *
 * @param kinds of which kinds the newest of a VM is looked for
 */
export function findEntry(
  entries: readonly CheckpointEntry[],
  meant: string,
  kinds: readonly CheckpointKind[] = MADE_BY_USERS,
): CheckpointEntry {
  const exact = entries.find(({ id }) => id === meant);
  if (exact !== undefined) return exact;
  const isPrefix = new RegExp(`^[0-9a-f]{${PREFIX_DIGITS},32}$`).test(meant);
  const found = entries.filter(({ id, head }) =>
    (isPrefix && id.startsWith(meant)) || (meant !== "" && head?.label === meant)
  );
  const newest = entries.findLast(({ head }) =>
    head !== undefined && head.vm === meant && kinds.includes(head.kind)
  );
  if (newest !== undefined && !found.includes(newest)) found.push(newest);
  if (found.length > 1) throw ambiguous(meant, found);
  const [first] = found;
  if (first !== undefined) return first;
  throw missing(entries, meant, kinds);
}

/** The same for one that is to be read. Throws CliExit, also when it cannot be read. */
export function findHead(
  entries: readonly CheckpointEntry[],
  meant: string,
  kinds?: readonly CheckpointKind[],
): CheckpointHead {
  const { head, problem } = findEntry(entries, meant, kinds);
  if (head !== undefined && problem === undefined) return head;
  throw new CliExit(
    EXIT.failure,
    problem ?? "the checkpoint cannot be read",
    "`checkpoint verify` says what is damaged, `checkpoint delete ID` removes it",
  );
}

/** A checkpoint as one of several: id, VM, label, time. */
export function describeEntry({ id, head, problem }: CheckpointEntry): string {
  if (head === undefined) return `${id}  ${problem}`;
  const label = head.label === "" ? "" : `  "${shownText(head.label)}"`;
  return `${id}  ${shownText(head.vm)}${label}  ${head.kind}, ${shownTime(head.created)}`;
}

function ambiguous(meant: string, found: readonly CheckpointEntry[]): CliExit {
  const lines = found.slice(0, CANDIDATES_MAXIMUM).map((entry) => `\n  ${describeEntry(entry)}`);
  const more = found.length - lines.length;
  if (more > 0) lines.push(`\n  and ${more} more`);
  return new CliExit(
    EXIT.usage,
    `${found.length} checkpoints are ${shownMeant(meant)}: expected the id of one of${
      lines.join("")
    }`,
    "the beginning of an id, 4 digits or more, is enough",
  );
}

function missing(
  entries: readonly CheckpointEntry[],
  meant: string,
  kinds: readonly CheckpointKind[],
): CliExit {
  // Only what would be found: not the name of a VM where that means nothing.
  const names = entries.flatMap(({ head }) => {
    if (head === undefined) return [];
    return kinds.includes(head.kind) ? [head.label, head.vm] : [head.label];
  });
  const near = nearMatch(meant, names.filter((name) => name !== ""));
  return new CliExit(
    EXIT.usage,
    `There is no checkpoint ${shownMeant(meant)}`,
    near === undefined
      ? "`checkpoint list` shows all; an id's beginning has at least 4 digits"
      : `did you mean ${shownText(near)}?`,
  );
}

function shownMeant(meant: string): string {
  return quoted(meant.slice(0, MEANT_MAXIMUM));
}
