/** Claims about lazily initialised images (S4.1 to S4.8), and the property that they are disks of zeros. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { crc32 } from "../../../../kernel/base/checksum.ts";
import { ConfigError, FormatError, HostError } from "../../../../kernel/base/errors.ts";
import { GiB, KiB, MiB } from "../../../../kernel/base/units.ts";
import { hostFiles } from "../../../../kernel/host/files.ts";
import {
  createLazyZero,
  type LazyZeroDisk,
  openLazyZero,
} from "../../../../kernel/storage/lazy_zero/mod.ts";
import {
  geometryOf,
  HEADER_BYTES,
  mostBytes,
  PAGE_ENTRIES,
  pageOffset,
} from "../../../../kernel/storage/lazy_zero/format.ts";
import { CrashFiles } from "../../../_support/crash_files.ts";
import { type Access, GARBAGE, garbageFiles, garbageImage, PATH, watched } from "./support.ts";

const BLOCK = 4 * KiB;
const BLOCK_SECTORS = BLOCK / 512;

async function sectors(disk: LazyZeroDisk, sector: number, count: number): Promise<Uint8Array> {
  const into = new Uint8Array(count * 512).fill(0xee);
  await disk.read(sector, into);
  return into;
}

/** The first byte of each sector. */
async function firsts(disk: LazyZeroDisk, sector: number, count: number): Promise<number[]> {
  const bytes = await sectors(disk, sector, count);
  const first = Array.from({ length: count }, (_, i) => bytes[512 * i]!);
  assert(bytes.every((byte, i) => byte === first[Math.floor(i / 512)]), "sectors are uniform");
  return first;
}

const filled = (count: number, byte: number) => new Uint8Array(count * 512).fill(byte);

Deno.test("S4.3, S4.8: an image over garbage is made with few writes, and reads as zeros without a read", async () => {
  for (const bytes of [1 * MiB, 1 * GiB]) {
    const files = new CrashFiles();
    const file = files.create(PATH);
    for (let at = 0; at < 4; at++) file.write(at * MiB, new Uint8Array(MiB).fill(GARBAGE));
    file.close();
    const made: Access[] = [];
    createLazyZero(watched(files, made), PATH, { bytes, blockBytes: MiB, over: true });
    assertEquals(made.filter(({ kind }) => kind === "write").length, 4, `${bytes}`);
    assert(made.reduce((sum, { bytes }) => sum + bytes, 0) <= 64 * KiB, `${bytes}`);
    const used: Access[] = [];
    const disk = openLazyZero(watched(files, used), PATH, { readOnly: false });
    assertEquals(disk.sectors, bytes / 512);
    const into = new Uint8Array(MiB);
    for (let sector = 0; sector < disk.sectors; sector += 16 * into.length / 512) {
      into.fill(0xee);
      await disk.read(sector, into);
      assert(into.every((byte) => byte === 0));
    }
    const { dataOffset } = geometryOf(bytes, MiB);
    assertEquals(used.filter(({ offset }) => offset >= dataOffset), []);
    assertEquals(disk.counters().storageReads, 0);
    await disk.close();
  }
});

Deno.test("S4.4: a write into the middle of a block zeroes the rest of it first, in mode whole", async () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK, zeroing: "whole" });
  await disk.close();
  const list: Access[] = [];
  const again = openLazyZero(watched(files, list), PATH, { readOnly: false });
  const start = geometryOf(again.sectors * 512, BLOCK).dataOffset + BLOCK;
  await again.write(BLOCK_SECTORS + 3, filled(2, 7));
  assertEquals(list.filter(({ kind }) => kind === "write"), [
    { kind: "write", offset: start, bytes: 3 * 512 },
    { kind: "write", offset: start + 5 * 512, bytes: 3 * 512 },
    { kind: "write", offset: start + 3 * 512, bytes: 2 * 512 },
  ]);
  assertEquals(await firsts(again, BLOCK_SECTORS, 8), [0, 0, 0, 7, 7, 0, 0, 0]);
  const { zeroingRequests, zeroedBytes } = again.counters();
  assertEquals([zeroingRequests, zeroedBytes], [2, 6 * 512]);
  await again.write(BLOCK_SECTORS + 1, filled(1, 8));
  assertEquals(again.counters().zeroingRequests, 2);
  await again.close();
});

Deno.test("S4.7: only what is uninitialised in front of the written bytes is zeroed, in mode front", async () => {
  const { disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  const requests = () => [disk.counters().zeroingRequests!, disk.counters().zeroedBytes! / 512];
  await disk.write(3, filled(1, 1));
  assertEquals(requests(), [1, 3]);
  await disk.write(4, filled(1, 2));
  assertEquals(requests(), [1, 3], "what follows at once needs no zeros");
  await disk.write(6, filled(1, 3));
  assertEquals(requests(), [2, 4]);
  assertEquals(await firsts(disk, 0, 9), [0, 0, 0, 1, 2, 0, 3, 0, 0]);
  await disk.write(BLOCK_SECTORS, filled(2 * BLOCK_SECTORS, 4));
  assertEquals(requests(), [2, 4], "whole blocks need none");
  await disk.close();
});

Deno.test("S4.5: a read over blocks of both kinds reads only what is initialised", async () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  await disk.write(0, filled(BLOCK_SECTORS + 2, 1));
  await disk.write(3 * BLOCK_SECTORS, filled(1, 2));
  await disk.close();
  const list: Access[] = [];
  const again = openLazyZero(watched(files, list), PATH, { readOnly: true });
  const start = geometryOf(again.sectors * 512, BLOCK).dataOffset;
  const expected = Array.from(
    { length: 4 * BLOCK_SECTORS },
    (_, sector) => sector < BLOCK_SECTORS + 2 ? 1 : sector === 3 * BLOCK_SECTORS ? 2 : 0,
  );
  assertEquals(await firsts(again, 0, 4 * BLOCK_SECTORS), expected);
  assertEquals(list.filter(({ kind, offset }) => kind === "read" && offset >= start), [
    { kind: "read", offset: start, bytes: BLOCK + 2 * 512 },
    { kind: "read", offset: start + 3 * BLOCK, bytes: 512 },
  ]);
  await again.close();
});

Deno.test("S4.6: indicators are written between two flushes, behind the data", async () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  await disk.close();
  const list: Access[] = [];
  const again = openLazyZero(watched(files, list), PATH, { readOnly: false });
  const start = geometryOf(again.sectors * 512, BLOCK).dataOffset;
  await again.write(1, filled(1, 1));
  await again.flush();
  const places = list.filter(({ kind }) => kind !== "read").map(({ kind, offset }) =>
    kind === "flush" ? kind : offset >= start ? "data" : "indicators"
  );
  assertEquals(places, ["data", "data", "flush", "indicators", "flush"]);
  list.length = 0;
  await again.write(1, filled(1, 2));
  await again.flush();
  await again.flush();
  assertEquals(
    list.filter(({ offset }) => offset < start).map(({ kind }) => kind),
    // The first is the bitmap's, which goes along with the data.
    ["write", "flush", "flush"],
  );
  await again.close();
});

Deno.test("zero and discard set indicators back without a write where they reach an end", async () => {
  for (const zeroing of ["front", "whole"] as const) {
    const { disk } = garbageImage(1 * MiB, { blockBytes: BLOCK, zeroing });
    await disk.write(0, filled(3 * BLOCK_SECTORS, 1));
    await disk.zero(0, 2 * BLOCK_SECTORS);
    assertEquals(disk.counters().zeroingRequests, 0);
    assertEquals(await firsts(disk, BLOCK_SECTORS - 1, 3), [0, 0, 0]);
    assertEquals(disk.counters().storageReads, 0);
    await disk.zero(2 * BLOCK_SECTORS + 1, 1);
    assertEquals(await firsts(disk, 2 * BLOCK_SECTORS, 3), [1, 0, 1]);
    await disk.discard(2 * BLOCK_SECTORS, 1);
    assertEquals(await firsts(disk, 2 * BLOCK_SECTORS, 3), [1, 0, 1]);
    await disk.discard(2 * BLOCK_SECTORS, BLOCK_SECTORS);
    assertEquals(await firsts(disk, 2 * BLOCK_SECTORS, 3), [0, 0, 0]);
    await disk.close();
  }
});

Deno.test("after a flush of the host failed nothing is written any more", async () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  await disk.close();
  let fails = false;
  const failing = new Proxy(files, {
    get(target, key) {
      if (key !== "open") return Reflect.get(target, key).bind(target);
      return (path: string, options?: { write?: boolean }) => {
        const file = target.open(path, options);
        file.flush = () => fails ? Promise.reject(new HostError("bad medium")) : Promise.resolve();
        return file;
      };
    },
  });
  const again = openLazyZero(failing, PATH, { readOnly: false });
  await again.write(0, filled(1, 1));
  fails = true;
  await assertRejects(() => again.flush(), HostError, "bad medium");
  fails = false;
  await assertRejects(() => again.flush(), HostError, "a flush of it failed");
  await assertRejects(() => again.write(0, filled(1, 2)), HostError, "a flush of it failed");
  assertEquals(await firsts(again, 0, 2), [1, 0]);
  await again.close();
  const after = openLazyZero(files, PATH, { readOnly: true });
  assertEquals(await firsts(after, 0, 2), [0, 0], "no indicator was written");
});

Deno.test("what is no image, damaged or cut short is refused by name", () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  void disk.close();
  const damage = (change: (bytes: Uint8Array) => Uint8Array) => {
    const whole = new Uint8Array(1 * MiB);
    files.open(PATH).read(0, whole);
    const other = new CrashFiles();
    other.create(PATH).write(0, change(whole));
    return () => openLazyZero(other, PATH, { readOnly: true });
  };
  assertThrows(damage(() => filled(64, 0)), FormatError, "no lazily zeroed image");
  assertThrows(damage((bytes) => bytes.subarray(0, 8 * KiB)), FormatError, "cut short");
  assertThrows(damage((bytes) => bytes.subarray(0, MiB - 1)), FormatError, "cut short");
  for (let at = 0; at < 64; at++) {
    const open = damage((bytes) => {
      bytes[at]! ^= 1;
      bytes[HEADER_BYTES + at]! ^= 1;
      return bytes;
    });
    assertThrows(open, FormatError, '"image"');
    // One whole copy is enough.
    void damage((bytes) => {
      bytes[HEADER_BYTES + at]! ^= 1;
      return bytes;
    })().close();
  }
  const version = damage((bytes) => {
    const header = bytes.subarray(0, HEADER_BYTES);
    header[8] = 2;
    header.fill(0, 12, 16);
    new DataView(bytes.buffer).setUint32(12, crc32(header), true);
    return bytes;
  });
  assertThrows(version, FormatError, "version 2: expected version 1");
});

Deno.test("a table page of which no copy is whole is damage if it was durable, and never zeros", async () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  await disk.write(0, filled(1, 1));
  await disk.flush();
  await disk.write(9, filled(1, 1));
  await disk.close();
  const file = files.open(PATH, { write: true });
  const spoil = (copy: number) => file.write(pageOffset(0, copy) + 100, Uint8Array.of(0x55));
  spoil(0);
  const younger = openLazyZero(files, PATH, { readOnly: true });
  assertEquals(await firsts(younger, 0, 10), [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  spoil(1);
  const none = openLazyZero(files, PATH, { readOnly: true });
  await assertRejects(() => sectors(none, 0, 1), FormatError, "table page 0");
});

Deno.test("an image over an older image takes nothing for its own", async () => {
  const { files, disk } = garbageImage(1 * MiB, { blockBytes: BLOCK });
  for (let at = 0; at < 8; at++) {
    await disk.write(0, filled(200, 1));
    await disk.flush();
  }
  await disk.close();
  createLazyZero(files, PATH, { blockBytes: BLOCK, over: true });
  const again = openLazyZero(files, PATH, { readOnly: false });
  assertEquals(new Set(await firsts(again, 0, again.sectors)), new Set([0]));
  await again.close();
});

Deno.test("options that make no image cost no file, and an existing file is not overwritten unasked", () => {
  const files = new CrashFiles();
  for (const options of [{ bytes: 0 }, { bytes: 100 }, { bytes: -512 }, { bytes: NaN }, {}]) {
    assertThrows(() => createLazyZero(files, PATH, options), ConfigError);
  }
  for (const blockBytes of [0, 512, 5000, 128 * MiB, NaN]) {
    assertThrows(() => createLazyZero(files, PATH, { bytes: MiB, blockBytes }), ConfigError);
  }
  const huge = { bytes: 2 ** 50, blockBytes: BLOCK };
  assertThrows(() => createLazyZero(files, PATH, huge), ConfigError, "larger blocks");
  assertEquals(files.exists(PATH), false);
  const garbage = garbageFiles(1 * KiB);
  assertThrows(() => createLazyZero(garbage, PATH, { bytes: MiB }), HostError, "exists");
  assertThrows(() => createLazyZero(garbage, PATH, { over: true }), ConfigError, "no room");
});

Deno.test("the geometry fits its file, and mostBytes() is what fits", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 2 ** 24 }),
    fc.integer({ min: 12, max: 26 }),
    (fileSectors, shift) => {
      const bytes = mostBytes(fileSectors * 512, 2 ** shift);
      if (bytes > 0) assert(geometryOf(bytes, 2 ** shift).fileBytes <= fileSectors * 512);
      const more = geometryOf(bytes + 512, 2 ** shift).fileBytes;
      assert(more > fileSectors * 512, `${more} bytes would fit, too`);
    },
  ));
});

Deno.test("a real file is made at once at any size, is sparse, and keeps what is written", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/image`;
    createLazyZero(hostFiles, path, { bytes: 1024 * GiB });
    const disk = openLazyZero(hostFiles, path, { readOnly: false });
    const last = disk.sectors - 1;
    await disk.write(last, filled(1, 9));
    await disk.write(PAGE_ENTRIES * 128 - 1, filled(2, 8));
    await disk.close();
    const again = openLazyZero(hostFiles, path, { readOnly: true });
    assertEquals(await firsts(again, last - 1, 2), [0, 9]);
    assertEquals(await firsts(again, PAGE_ENTRIES * 128 - 2, 4), [0, 8, 8, 0]);
    await assertRejects(() => again.write(0, filled(1, 1)), FormatError, "read only");
    await again.close();
    const { blocks } = await Deno.stat(path);
    assert(blocks === null || blocks * 512 < 1 * MiB, `${blocks} blocks`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

interface Change {
  readonly kind: "write" | "zero" | "discard" | "read";
  readonly at: number;
  readonly count: number;
  readonly fill: number;
}

type Step = Change | { readonly kind: "flush" | "reopen" };

const SECTORS = 5 * BLOCK_SECTORS + 3;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom<Change["kind"][]>("write", "write", "zero", "discard", "read"),
      at: fc.integer({ min: 0, max: SECTORS - 1 }),
      count: fc.integer({ min: 1, max: 2 * BLOCK_SECTORS + 1 }),
      fill: fc.integer({ min: 1, max: 100 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("flush", "reopen") }) },
);

Deno.test("a lazily zeroed image over garbage is a disk of zeros, whatever is done to it", async () => {
  const steps = fc.array(step, { maxLength: 60 });
  const zeroing = fc.constantFrom("front", "whole");
  await fc.assert(
    fc.asyncProperty(steps, zeroing, async (steps, zeroing) => {
      const files = garbageFiles(128 * KiB);
      const options = { bytes: SECTORS * 512, blockBytes: BLOCK, zeroing, over: true };
      createLazyZero(files, PATH, options);
      const open = () => openLazyZero(files, PATH, { readOnly: false });
      let disk = open();
      const model = new Uint8Array(SECTORS);
      for (const step of steps) {
        if ("at" in step) await apply(disk, model, step);
        else if (step.kind === "flush") await disk.flush();
        else {
          await disk.close();
          disk = open();
        }
        assertEquals(await firsts(disk, 0, SECTORS), [...model]);
      }
      await disk.close();
      const { storageReadBytes, zeroReadBytes } = disk.counters();
      assert(storageReadBytes! + zeroReadBytes! > 0 || steps.length === 0);
    }),
    { numRuns: 150 },
  );
});

async function apply(
  disk: LazyZeroDisk,
  model: Uint8Array,
  { kind, at, count, fill }: Change,
): Promise<void> {
  const end = Math.min(SECTORS, at + count);
  switch (kind) {
    case "write":
      await disk.write(at, filled(end - at, fill));
      model.fill(fill, at, end);
      break;
    case "zero":
      await disk.zero(at, end - at);
      model.fill(0, at, end);
      break;
    case "discard": {
      await disk.discard(at, end - at);
      const now = await firsts(disk, at, end - at);
      now.forEach((byte, i) => assert(byte === 0 || byte === model[at + i]));
      model.set(now, at);
      break;
    }
    default:
      assertEquals(await firsts(disk, at, end - at), [...model.subarray(at, end)]);
  }
}
