/** Claims about what is said when a checkpoint cannot be deleted. */
import { assertEquals } from "@std/assert";
import { type CheckpointEntry, type CheckpointHead, FormatError, HostError } from "../../../mod.ts";
import { CliExit } from "../errors.ts";
import { withDeletionHint } from "./deletion.ts";

const idOf = (digit: string) => digit.repeat(32);

function entry(digit: string, parent: string | null): CheckpointEntry {
  const head = { id: idOf(digit), parent: parent && idOf(parent) } as CheckpointHead;
  return { id: head.id, head, problem: undefined };
}

const ENTRIES: readonly CheckpointEntry[] = [
  entry("c", "b"),
  entry("b", "a"),
  entry("e", null),
  { id: idOf("a"), head: undefined, problem: "it is no checkpoint" },
];

const hintOf = (message: string) => {
  const told = withDeletionHint(new FormatError(message), ENTRIES);
  return told instanceof CliExit ? [told.status, told.message, told.hint] : undefined;
};

Deno.test("one that cannot be read is said to go only with its descendants", () => {
  const message = `checkpoint ${idOf("a")}: it is no checkpoint`;
  assertEquals(hintOf(message), [
    1,
    message,
    "one that cannot be read is deleted only together with all that are differences to it, in one command: " +
    "`checkpoint delete aaaaaaaa bbbbbbbb cccccccc`",
  ]);
});

Deno.test("one that may be needed by one that cannot be read is said to go after that", () => {
  const message =
    `Cannot delete checkpoint ${idOf("b")}, which one that cannot be read may need: ` +
    `checkpoint ${idOf("e")}: it is cut short`;
  assertEquals(hintOf(message), [
    1,
    message,
    "delete the one that cannot be read first: `checkpoint delete eeeeeeee`",
  ]);
});

Deno.test("other errors stay as they are", () => {
  assertEquals(hintOf("something else"), undefined);
  const error = new HostError(`checkpoint ${idOf("a")}: no`);
  assertEquals(withDeletionHint(error, ENTRIES), error);
});
