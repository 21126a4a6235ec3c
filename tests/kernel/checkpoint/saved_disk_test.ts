/** Claims about what checkpoints say of disks, and about notes beside images, when they are hostile. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ConfigError, FormatError } from "../../../kernel/base/errors.ts";
import {
  decodeSavedDisks,
  encodeSavedDisk,
  type SavedDisk,
  storeFilesOf,
} from "../../../kernel/checkpoint/saved_disk.ts";
import { readNote, settleOverlay, writeNote } from "../../../kernel/storage/overlay_note.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { checkIdentity, identityOf } from "../../../kernel/storage/file_identity.ts";
import { aboutOf, saveMemory, testStore } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";
import { withFolder } from "../../_support/folder.ts";

const NAME = `${"0".repeat(32)}.disk0.qcow2`;
const DISK: SavedDisk = {
  format: "qcow2",
  sectors: 8,
  readOnly: false,
  files: [
    { path: NAME, inStore: true, bytes: 4096, modified: null, digest: 7, contents: 9 },
    { path: "/a/disk", inStore: false, bytes: 512, modified: 5, digest: 1, contents: null },
  ],
};

Deno.test("what is said of disks is read back, and refused by name when a part of it is wrong", () => {
  assertEquals(decodeSavedDisks([encodeSavedDisk(DISK)], "it"), [DISK]);
  const [file] = DISK.files;
  const wrong: Record<string, unknown>[] = [
    { version: 2 },
    { format: "vmdk" },
    { sectors: 0 },
    { readOnly: 1 },
    { files: "all" },
    { files: Array(65).fill(file) },
    { files: [{ ...file, path: "../../disk.qcow2" }] },
    { files: [{ ...file, path: "x/y.qcow2" }] },
    { files: [{ ...file, bytes: -1 }] },
    { files: [{ ...file, digest: 2 ** 32 }] },
    { files: [{ ...file, modified: "today" }] },
  ];
  for (const change of wrong) {
    const value = { ...encodeSavedDisk(DISK) as Record<string, unknown>, ...change };
    assertThrows(() => decodeSavedDisks([value], "it"), FormatError, "it: disks[0]");
  }
  assertThrows(() => decodeSavedDisks(Array(99).fill(encodeSavedDisk(DISK)), "it"), FormatError);
});

Deno.test("verify checks what a suspended VM left as resume does, until it is resumed", () =>
  withFolder(async (folder) => {
    const image = `${folder}/disk.img`;
    await Deno.writeFile(image, new Uint8Array(4096));
    const was = identityOf(hostFiles, image);
    const disk: SavedDisk = {
      format: "raw",
      sectors: 8,
      readOnly: false,
      files: [{ ...was, inStore: false, contents: null }],
    };
    const store = testStore(hostFiles, 1, `${folder}/store`);
    const about = aboutOf({ kind: "suspended" });
    const id = await saveMemory(store, [1, 2], { about, disks: [encodeSavedDisk(disk)] });
    const problems = async () => (await store.verify()).map(({ problem }) => problem);
    const assertTold = async () => {
      const { message } = assertThrows(() => checkIdentity(hostFiles, was), ConfigError);
      assertEquals(await problems(), [`checkpoint ${id}: ${message}`]);
    };
    assertEquals(await problems(), []);
    await Deno.rename(image, `${image}.moved`);
    await assertTold();
    await Deno.rename(`${image}.moved`, image);
    assertEquals(await problems(), []);
    await Deno.writeFile(image, new Uint8Array(8192));
    await assertTold();
    const claim = await store.claim(id);
    await assertTold();
    await claim.consume();
    assertEquals(await problems(), []);
    claim.release();
    assertEquals(await problems(), []);
  }));

Deno.test("whatever is said of disks, it is read or refused, and what it names is kept", () =>
  fc.assert(
    fc.property(fc.anything(), fc.jsonValue(), (any, json) => {
      for (const value of [any, json, [any], [json], [{ files: [any] }]]) {
        try {
          decodeSavedDisks(value, "it");
        } catch (error) {
          assert(error instanceof FormatError, `${error}`);
        }
        if (Array.isArray(value)) storeFilesOf(value as never);
      }
      assertEquals(storeFilesOf([encodeSavedDisk(DISK)]), [NAME]);
    }),
    { numRuns: 300 },
  ));

Deno.test("a note that is no note, or leads out of its folder, changes nothing", async () => {
  const files = new CrashFiles();
  files.create("/disk").write(0, new Uint8Array(512));
  await writeNote(files, { path: "/disk", format: "raw" }, "/disk.1.qcow2", undefined);
  assertEquals(readNote(files, "/disk"), {
    overlay: "disk.1.qcow2",
    format: "raw",
    keeper: undefined,
  });
  const good = { version: 1, overlay: "disk.1.qcow2", format: "raw", keeper: null };
  const wrong = ["", "{", "[]", "null", "7"].concat([
    { ...good, version: 2 },
    { ...good, overlay: "../disk.qcow2" },
    { ...good, overlay: "disk" },
    { ...good, format: "iso" },
    { ...good, keeper: 1 },
  ].map((value) => JSON.stringify(value)));
  for (const text of wrong) {
    files.remove("/disk.goes-on");
    files.create("/disk.goes-on").write(0, new TextEncoder().encode(text));
    const before = files.operations;
    await assertRejects(() => settleOverlay(files, "/disk"), FormatError, "/disk.goes-on");
    assertEquals(files.operations, before, text);
  }
});
