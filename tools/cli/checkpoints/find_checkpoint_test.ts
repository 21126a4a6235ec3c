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
