/** Files of a browser: how they are found and read. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { equalBytes } from "../../kernel/base/bytes.ts";
import { HostError } from "../../kernel/base/errors.ts";
import { browserHost, type ReadPart } from "./browser_host.ts";
import type { FileSource } from "./messages.ts";

const LENGTH = 3_000_000;
const CONTENTS = Uint8Array.from({ length: LENGTH }, (_, i) => i % 251);

const source = (path: string, anywhere = false, from = path): FileSource => ({
  path,
  bytes: LENGTH,
  from,
  anywhere,
});

/** A host whose files all have the same contents, and what was read for it. */
function listed(...sources: FileSource[]) {
  const reads: string[] = [];
  const part: ReadPart = (from, offset, bytes) => {
    reads.push(`${from} ${offset}+${bytes}`);
    if (from === "gone") throw new Error("the server answers with status 404");
    return CONTENTS.slice(offset, offset + bytes);
  };
  return { files: browserHost(sources, part).files, reads };
}

Deno.test("a file is read at any offset, and what was read is kept", () => {
  const { files, reads } = listed(source("rec/disk0.before"));
  const file = files.open("rec/disk0.before");
  const into = new Uint8Array(100);
  for (const offset of [0, 4096, 1_048_500, 2_097_152, 10]) {
    assertEquals(file.read(offset, into), 100);
    assert(equalBytes(into, CONTENTS.subarray(offset, offset + 100)));
  }
  assertEquals(reads, [
    "rec/disk0.before 0+1048576",
    "rec/disk0.before 1048576+1048576",
    "rec/disk0.before 2097152+902848",
  ]);
  assertEquals(file.read(LENGTH - 40, into), 40);
  assertEquals(file.read(LENGTH, into), 0);
});

Deno.test("a whole file is read, and a folder lists what lies in it only", async () => {
  const { files } = listed(source("rec/b"), source("rec/images/c"), source("rec/a"), source("x"));
  assert(equalBytes(await files.readAll("rec/a"), CONTENTS));
  assertEquals(files.list("rec"), ["a", "b"]);
});

Deno.test("an image that was chosen by itself stands for its name; a listed path comes first", () => {
  const alone = source("vmlinux", true);
  const { files, reads } = listed(alone, source("other/vmlinux", false, "listed"), source("plain"));
  files.open("boot/vmlinux").read(0, new Uint8Array(1));
  files.open("other/vmlinux").read(0, new Uint8Array(1));
  assertEquals(reads, ["vmlinux 0+1048576", "listed 0+1048576"]);
  assertThrows(() => files.open("boot/plain"), HostError, "not among the files");
});

Deno.test("what cannot be read or is to be written is an error that names the file", async () => {
  const { files } = listed(source("a", false, "gone"));
  await assertRejects(() => files.readAll("a"), HostError, 'Cannot read "a": the server answers');
  assertThrows(() => files.open("a").write(0, new Uint8Array(1)), HostError, 'Cannot write "a"');
  assertThrows(() => files.create("b"), HostError, 'Cannot write "b"');
});
