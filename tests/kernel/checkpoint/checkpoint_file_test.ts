/** Claims about the file of a checkpoint: what is written is read, and nothing else is. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { unreachable } from "../../../kernel/base/assert.ts";
import { FormatError } from "../../../kernel/base/errors.ts";
import {
  CHECKPOINT_SCHEMA,
  type CheckpointHead,
} from "../../../kernel/checkpoint/checkpoint_format.ts";
import {
  CHECKPOINT_FRAME_BYTES,
  CHECKPOINT_HEADER_BYTES,
  CheckpointFile,
  openCheckpointFile,
  openCheckpointHead,
  withHead,
  writeCheckpoint,
} from "../../../kernel/checkpoint/checkpoint_file.ts";
import { RunBuilder } from "../../../kernel/datastore/page_map.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import { aboutOf, stateOf } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const ID = "0123456789abcdef0123456789abcdef";
const counts = { added: 1, zero: 0, known: 0, stored: 1, storedBytes: 100 };

function headOf(more: Partial<Record<keyof CheckpointHead, unknown>> = {}): CheckpointHead {
  return {
    ...aboutOf(),
    schema: CHECKPOINT_SCHEMA,
    id: ID,
    parent: null,
    memoryPages: 8,
    packs: [ID],
    counts,
    ...more,
  } as CheckpointHead;
}

function fileOf(head = headOf(), active = Uint32Array.of(2, 3)): Uint8Array<ArrayBuffer> {
  const builder = new RunBuilder();
  for (let page = 0; page < 4; page++) builder.add(page, 1, page);
  return writeCheckpoint({ head, state: stateOf([1, 2]), map: builder.finish(), active }, codec);
}

const read = (bytes: Uint8Array) => {
  const file = new CheckpointFile(bytes, ID, codec);
  return { head: file.head, state: file.state(), map: file.map(), active: file.active() };
};

Deno.test("a checkpoint's file is read back, whole and its head alone", () => {
  const files = new CrashFiles();
  const long = headOf({
    label: "l".repeat(900),
    packs: Array.from({ length: 300 }, (_, i) => i.toString(16).padStart(32, "0")),
  });
  for (const head of [headOf(), long]) {
    files.create(`file${head.label.length}`).write(0, fileOf(head));
    const path = `file${head.label.length}`;
    const file = openCheckpointFile(files, path, ID, codec);
    assertEquals(file.head, head);
    assertEquals(openCheckpointHead(files, path, ID, codec), head);
    assertEquals(file.state(), stateOf([1, 2]));
    assertEquals([...file.map().firsts, ...file.map().counts], [0, 4]);
    assertEquals([...file.active()], [2, 3]);
    const again = new CheckpointFile(withHead(file, { ...head, label: "x" }, codec), ID, codec);
    assertEquals(again.head.label, "x");
    assertEquals(again.state(), file.state());
  }
});

Deno.test("any changed bit and any cut is refused by what it is", () => {
  const good = fileOf();
  for (let at = 0; at < good.length; at++) {
    const bytes = good.slice();
    bytes[at]! ^= 1 << at % 8;
    assertThrows(() => read(bytes), FormatError);
    assertThrows(() => read(good.subarray(0, at)), FormatError);
  }
  const longer = new Uint8Array(good.length + 1);
  longer.set(good);
  assertThrows(() => read(longer), FormatError, "longer than it says");
});

Deno.test("lengths that make no sense are refused before anything is reserved", () => {
  const good = fileOf();
  for (const at of [4, 8]) {
    for (const length of [0xffff_ffff, 0x7fff_ffff, 64 * 1024 * 1024 + 1]) {
      const bytes = good.slice();
      new DataView(bytes.buffer).setUint32(CHECKPOINT_HEADER_BYTES + at, length, true);
      assertThrows(() => read(bytes), FormatError, "lengths make no sense");
    }
  }
  assert(good.length > CHECKPOINT_HEADER_BYTES + CHECKPOINT_FRAME_BYTES);
  const end = good.slice();
  // The last frame's list is of 8 bytes, behind its kind and lengths.
  new DataView(end.buffer).setUint32(good.length - 8 - CHECKPOINT_FRAME_BYTES + 4, 9, true);
  const message = "its list of active pages is cut, or its lengths make no sense";
  assertThrows(() => read(end), FormatError, message);
});

Deno.test("a file of version 1 is read", () => {
  const path = new URL("../../golden/checkpoints/version_1.checkpoint", import.meta.url);
  const { head, state, map, active } = read(Deno.readFileSync(path));
  assertEquals([head, state], [headOf({ machineVersion: head.machineVersion }), stateOf([1, 2])]);
  assertEquals([[...map.firsts, ...map.counts], [...active]], [[0, 4], [2, 3]]);
});

Deno.test("frames are kept without their zeros, and need no library where they are few", () => {
  const image = { version: 1, memoryBytes: 8192, devices: new Uint8Array(50_000) } as never;
  const state = { ...stateOf([1, 2]), image };
  const builder = new RunBuilder();
  for (let page = 0; page < 100; page++) builder.add(page, 1, page);
  const map = builder.finish();
  const head = headOf({ memoryPages: 100 });
  const bytes = writeCheckpoint({ head, state, map, active: new Uint32Array(0) }, {
    ...codec,
    pack: () => unreachable("a library"),
  });
  assert(bytes.length < 1000);
  const file = new CheckpointFile(bytes, ID, { ...codec, unpack: () => unreachable("a library") });
  assertEquals(file.state(), state);
});

Deno.test("other versions are refused by their number", () => {
  const bytes = fileOf();
  new DataView(bytes.buffer).setUint32(8, 7, true);
  assertThrows(() => read(bytes), FormatError, "it has format version 7; this program reads 1 to");
  assertThrows(() => read(fileOf(headOf({ schema: 9 }))), FormatError, "schema version 9");
});

Deno.test("a head whose checksum holds is still checked field by field", () => {
  const wrong: Partial<Record<keyof CheckpointHead, unknown>>[] = [
    { id: "x" },
    { parent: 3 },
    { vm: 5 },
    { label: "l".repeat(1001) },
    { created: -1 },
    { kind: "other" },
    { machineVersion: "2" },
    { icount: 0.5 },
    { memoryPages: 0 },
    { memoryPages: 1e9 },
    { packs: ["x"] },
    { packs: "x" },
    { counts: null },
    { counts: { ...counts, stored: -1 } },
    { key: null },
  ];
  for (const more of wrong) {
    const [name] = Object.keys(more);
    assertThrows(() => read(fileOf(headOf(more))), FormatError, `its head's ${name} is`);
  }
  assertThrows(() => read(fileOf(headOf({ id: "f".repeat(32) }))), FormatError, "under this name");
  assertThrows(() => read(fileOf(headOf({ parent: ID }))), FormatError, "its own parent");
  assertThrows(() => read(fileOf(headOf({ memoryPages: 3 }))), FormatError, "outside memory");
  assertThrows(() => read(fileOf(headOf({ packs: [] }))), FormatError, "no pack");
  for (const active of [[7, 2], [0, 0], [0, 8, 0, 1]]) {
    const bytes = fileOf(headOf(), Uint32Array.from(active));
    assertThrows(() => read(bytes), FormatError, "active pages");
  }
});
