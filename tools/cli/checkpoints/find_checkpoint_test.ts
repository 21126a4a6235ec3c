/** Claims about which checkpoint is meant, and about hints. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  type CheckpointEntry,
  type CheckpointHead,
  type CheckpointKind,
  ConfigError,
  FormatError,
  HostError,
} from "../../../mod.ts";
import { CliExit } from "../errors.ts";
import { withHint } from "./explain.ts";
import { findEntry, findHead } from "./find_checkpoint.ts";
import { checkLabel } from "./save_request.ts";

function entry(
  start: string,
  vm: string,
  label = "",
  kind: CheckpointKind = "checkpoint",
): CheckpointEntry {
  const id = start.padEnd(32, "0");
  const head = { id, vm, label, kind, created: 1_767_225_600_000 } as CheckpointHead;
  return { id, head, problem: undefined };
}

const ENTRIES: readonly CheckpointEntry[] = [
  entry("abcd1", "web", "clean"),
  entry("abcd2", "web", "twice"),
  entry("beef1", "db", "twice"),
  entry("beef2", "db", "web-like", "suspended"),
  entry("feed1", "db", "", "fork"),
  { id: "dead".padEnd(32, "0"), head: undefined, problem: "damaged" },
];

const idOf = (meant: string, kinds?: readonly CheckpointKind[]) =>
  findEntry(ENTRIES, meant, kinds).id.slice(0, 5);

Deno.test("ids, their beginnings, labels, and names of VMs are found", () => {
  assertEquals(idOf("abcd1".padEnd(32, "0")), "abcd1");
  assertEquals(idOf("abcd2"), "abcd2");
  assertEquals(idOf("clean"), "abcd1");
  assertEquals(idOf("web"), "abcd2");
  assertEquals(idOf("db"), "beef2");
  assertEquals(idOf("db", ["checkpoint"]), "beef1");
  assertEquals(idOf("feed"), "feed1");
  assertEquals(idOf("dead"), "dead0");
});

Deno.test("what could be two is refused with the candidates, what is none with a hint", () => {
  const twice = assertThrows(() => findEntry(ENTRIES, "twice"), CliExit);
  assertEquals(twice.status, 2);
  assertEquals(twice.message.split("\n").length, 3);
  assertThrows(() => findEntry(ENTRIES, "abcd"), CliExit, '2 checkpoints are "abcd"');
  assertThrows(() => findEntry(ENTRIES, "abc"), CliExit, "There is no checkpoint");
  assertThrows(() => findEntry(ENTRIES, ""), CliExit, "There is no checkpoint");
  assertThrows(() => findEntry(ENTRIES, "web", []), CliExit, "There is no checkpoint");
  const near = assertThrows(() => findEntry(ENTRIES, "claen"), CliExit);
  assertEquals(near.hint, "did you mean clean?");
  const many = Array.from({ length: 30 }, (_, i) => entry(`${i + 1000}`, "web", "same"));
  const error = assertThrows(() => findEntry(many, "same"), CliExit);
  assertEquals(error.message.split("\n").at(-1), "  and 20 more");
});

Deno.test("a label that is also the name of a VM with another checkpoint is refused", () => {
  const entries = [entry("aaaa1", "dk"), entry("aaaa2", "web", "dk"), entry("aaaa3", "web")];
  const error = assertThrows(() => findEntry(entries, "dk"), CliExit, '2 checkpoints are "dk"');
  assertEquals(
    [error.status, error.message.includes("\n  aaaa1"), error.message.includes("\n  aaaa2")],
    [2, true, true],
  );
  // Where the name of a VM means nothing, and where both are the same one, nothing could be two.
  assertEquals(findEntry(entries, "dk", []).id.slice(0, 5), "aaaa2");
  const same = [entry("aaaa1", "dk"), entry("aaaa2", "dk", "dk")];
  assertEquals(findEntry(same, "dk").id.slice(0, 5), "aaaa2");
  const beginning = [entry("beef1", "web"), entry("aaaa1", "beef")];
  assertThrows(() => findEntry(beginning, "beef"), CliExit, '2 checkpoints are "beef"');
});

Deno.test("the hint names only what would be found, and not what was refused", () => {
  const entries = [entry("aaaa1", "dk"), entry("aaaa2", "web", "old")];
  const hint = (meant: string, kinds?: readonly CheckpointKind[]) =>
    assertThrows(() => findEntry(entries, meant, kinds), CliExit).hint;
  assertEquals(hint("dl"), "did you mean dk?");
  for (const meant of ["dk", "dl"]) assertEquals(hint(meant, []).includes("did you mean"), false);
});

Deno.test("what was meant is shown without what a terminal would obey", () => {
  const error = assertThrows(() => findEntry(ENTRIES, "\x1b[2J\u202e"), CliExit);
  assertEquals(error.message, 'There is no checkpoint "\\u001b[2J\\u202e"');
  const entries = [entry("aaaa1", "web", "\x1bx"), entry("aaaa2", "web", "\x1bx")];
  const twice = assertThrows(() => findEntry(entries, "\x1bx"), CliExit);
  assertEquals(twice.message.includes("\x1b"), false);
});

Deno.test("labels are refused that nobody could type, and shown escaped", () => {
  for (const label of ["", "clean", "a label: ü"]) assertEquals(checkLabel(label), label);
  for (const label of [" ", "\t", "a\nb", "a\x1b[0m", "a\u202eb", "\x9b", "x".repeat(1001)]) {
    const error = assertThrows(() => checkLabel(label), ConfigError, "on one line");
    // deno-lint-ignore no-control-regex
    assertEquals(/[\x00-\x1f\x7f-\x9f\u202e]/.test(error.message), false);
  }
});

Deno.test("one that cannot be read is refused where it is to be read", () => {
  const error = assertThrows(() => findHead(ENTRIES, "dead"), CliExit, "damaged");
  assertEquals([error.status, error.hint.includes("verify")], [1, true]);
});

Deno.test("errors come with what to do, and keep their status", () => {
  const hintOf = (error: Error) => {
    const told = withHint(error);
    return told instanceof CliExit ? [told.status, told.hint.split(/[ ,]/)[0]] : undefined;
  };
  assertEquals(hintOf(new HostError('Cannot write "x": the disk is full')), [1, "free"]);
  assertEquals(hintOf(new FormatError("checkpoint x: it is of machine version 9")), [1, "use"]);
  assertEquals(hintOf(new FormatError("checkpoint x: pack y is missing")), [1, "`checkpoint"]);
  assertEquals(hintOf(new ConfigError('There is no running VM "x"')), [2, "`ps`"]);
  assertEquals(hintOf(new HostError("something else")), undefined);
  const ours = new TypeError("there is a bug");
  assertEquals(withHint(ours), ours);
});
