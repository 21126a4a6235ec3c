/** Claims about qcow2 images as disks: whatever is done to one, it is an array of bytes. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { equalBytes } from "../../../../kernel/base/bytes.ts";
import { Prng } from "../../../../kernel/base/prng.ts";
import type { BlockDevice } from "../../../../kernel/storage/block_device.ts";
import { contentsOf, convertDisk } from "../../../../kernel/storage/convert.ts";
import { diskInfo } from "../../../../kernel/storage/disk_info.ts";
import { openDisk } from "../../../../kernel/storage/open_disk.ts";
import { commitQcow2 } from "../../../../kernel/storage/qcow2/commit.ts";
import { createQcow2, createRaw } from "../../../../kernel/storage/qcow2/create.ts";
import { openQcow2 } from "../../../../kernel/storage/qcow2/open.ts";
import { CrashFiles } from "../../../_support/crash_files.ts";
import { assertClean, makeVersion2 } from "./support.ts";

interface Layer {
  readonly clusterBits: number;
  readonly isRaw: boolean;
  /** Sectors fewer (or more) than the largest layer has. */
  readonly shorter: number;
  readonly lazyRefcounts: boolean;
  readonly version2: boolean;
  readonly preallocated: boolean;
}

interface Operation {
  readonly kind: "write" | "zero" | "unmap" | "discard" | "read" | "flush" | "reopen";
  readonly at: number;
  readonly length: number;
  /** Whether what follows begins before this ends. */
  readonly beside: boolean;
}

const layer: fc.Arbitrary<Layer> = fc.record({
  clusterBits: fc.constantFrom(9, 10, 12, 16),
  isRaw: fc.boolean(),
  shorter: fc.integer({ min: 0, max: 200 }),
  lazyRefcounts: fc.boolean(),
  version2: fc.boolean(),
  preallocated: fc.boolean(),
});

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom(
    "write",
    "write",
    "write",
    "zero",
    "unmap",
    "discard",
    "read",
    "flush",
    "reopen",
  ),
  at: fc.nat(),
  length: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 300 })),
  beside: fc.boolean(),
});

const SECTORS = 700;

function same(found: Uint8Array, expected: Uint8Array, label: string): void {
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  assert(at === -1 && equalBytes(found, expected), `${label}: byte ${at} is ${found[at]}`);
}

/** What a disk holds. */
async function contents(disk: BlockDevice): Promise<Uint8Array> {
  const all = new Uint8Array(disk.sectors * 512).fill(0xee);
  await disk.read(0, all);
  return all;
}

/** A disk and the bytes that it should hold. */
class Modelled {
  disk!: BlockDevice;
  readonly bytes: Uint8Array;
  readonly #random = new Prng(1);
  #underWay: { readonly from: number; readonly to: number; readonly done: Promise<void> }[] = [];

  constructor(readonly files: CrashFiles, readonly path: string, bytes: Uint8Array) {
    this.bytes = bytes;
  }

  async open(): Promise<void> {
    this.disk = await openDisk(this.files, {
      path: this.path,
      readOnly: false,
      format: this.path.endsWith("raw") ? "raw" : "qcow2",
    });
    assertEquals(this.disk.sectors * 512, this.bytes.length);
  }

  /** Does something; requests beside each other do not overlap, and end before what they are in the way of. */
  async run({ kind, at, length, beside }: Operation): Promise<void> {
    const from = at % this.disk.sectors;
    const count = Math.min(length, this.disk.sectors - from);
    const to = from + count;
    await Promise.all(
      this.#underWay.filter((other) => kind === "reopen" || other.from < to && from < other.to)
        .map(({ done }) => done),
    );
    const done = this.#start(kind, from, count);
    this.#underWay.push({ from, to, done });
    if (!beside || kind === "reopen") await this.settle();
  }

  async settle(): Promise<void> {
    await Promise.all(this.#underWay.map(({ done }) => done));
    this.#underWay = [];
  }

  async #start(kind: Operation["kind"], from: number, count: number): Promise<void> {
    const { disk } = this;
    const part = this.bytes.subarray(from * 512, (from + count) * 512);
    switch (kind) {
      case "write":
        part.set(this.#random.bytes(part.length));
        return await disk.write(from, part.slice());
      case "zero":
      case "unmap":
        part.fill(0);
        return await disk.zero(from, count, kind === "unmap");
      case "discard": {
        await disk.discard(from, count);
        const now = new Uint8Array(part.length);
        await disk.read(from, now);
        for (let at = 0; at < now.length; at += 512) {
          const sector = now.subarray(at, at + 512);
          const isZero = sector.every((byte) => byte === 0);
          assert(isZero || equalBytes(sector, part.subarray(at, at + 512)), "discarded");
        }
        return void part.set(now);
      }
      case "read": {
        const found = new Uint8Array(part.length).fill(0xee);
        const expected = part.slice();
        await disk.read(from, found);
        return same(found, expected, "read");
      }
      case "flush":
        return await disk.flush();
      case "reopen":
        await disk.close();
        await this.open();
    }
  }
}

async function make(
  files: CrashFiles,
  index: number,
  { isRaw, version2, ...layer }: Layer,
  below: Modelled | undefined,
): Promise<Modelled> {
  const bytes = (SECTORS - layer.shorter) * 512;
  const path = `/layer${index}.${isRaw ? "raw" : "qcow2"}`;
  if (isRaw) {
    await createRaw(files, path, bytes);
    return new Modelled(files, path, new Uint8Array(bytes));
  }
  const format = below?.path.endsWith("raw") ? "raw" as const : "qcow2" as const;
  await createQcow2(files, path, {
    bytes,
    clusterBytes: 2 ** layer.clusterBits,
    lazyRefcounts: layer.lazyRefcounts,
    preallocation: layer.preallocated && below === undefined ? "metadata" : "none",
    ...below && { backing: { path: below.path.slice(1), format } },
  });
  if (version2 && below === undefined) makeVersion2(files, path);
  const initial = new Uint8Array(bytes);
  if (below !== undefined) initial.set(below.bytes.subarray(0, bytes));
  return new Modelled(files, path, initial);
}

Deno.test("an image with any chain below it is what was written to it", async () => {
  const layers = fc.array(
    fc.record({ layer, operations: fc.array(operation, { minLength: 1, maxLength: 14 }) }),
    { minLength: 1, maxLength: 3 },
  );
  await fc.assert(
    fc.asyncProperty(layers, async (layers) => {
      const files = new CrashFiles();
      let top: Modelled | undefined;
      for (const [index, { layer, operations }] of layers.entries()) {
        // Only the lowest layer can be raw.
        top = await make(files, index, { ...layer, isRaw: layer.isRaw && index === 0 }, top);
        await top.open();
        for (const operation of operations) await top.run(operation);
        await top.settle();
        same(await contents(top.disk), top.bytes, "before closing");
        await top.disk.close();
        if (top.path.endsWith("raw")) continue;
        await assertClean(files, top.path);
        const again = await openQcow2(files, top.path, { readOnly: true });
        same(await contents(again), top.bytes, "after closing");
        await again.close();
      }
    }),
    { numRuns: 150, seed: 5 },
  );
});

Deno.test("conversion and commit keep what a disk holds, and leave out what is known to be zeros", async () => {
  const options = fc.record({
    base: layer,
    overlay: layer,
    operations: fc.array(operation, { minLength: 1, maxLength: 12 }),
    format: fc.constantFrom("raw" as const, "qcow2" as const),
    clusterBytes: fc.constantFrom(512, 4096, 65536),
  });
  await fc.assert(
    fc.asyncProperty(options, async ({ base, overlay, operations, format, clusterBytes }) => {
      const files = new CrashFiles();
      const below = await make(files, 0, { ...base, shorter: 0 }, undefined);
      await below.open();
      for (const operation of operations.slice(6)) await below.run(operation);
      await below.settle();
      await below.disk.close();
      const top = await make(files, 1, { ...overlay, isRaw: false }, below);
      await top.open();
      for (const operation of operations.slice(0, 6)) await top.run(operation);
      await top.settle();
      for (let sector = 0; sector < top.disk.sectors;) {
        const { isZeros, sectors } = contentsOf(top.disk, sector);
        const part = top.bytes.subarray(sector * 512, (sector + sectors) * 512);
        assert(!isZeros || part.every((byte) => byte === 0));
        sector += sectors;
      }
      await top.disk.close();
      const copy = { path: "/copy", format, clusterBytes };
      await convertDisk(files, { path: top.path }, copy);
      if (format === "qcow2") await assertClean(files, "/copy");
      const copied = await openDisk(files, { path: "/copy", format, readOnly: true });
      same(await contents(copied), top.bytes, "the copy");
      await commitQcow2(files, top.path);
      await assertClean(files, top.path);
      await below.open();
      same((await contents(below.disk)).subarray(0, top.bytes.length), top.bytes, "committed");
      await below.disk.close();
      const emptied = await openQcow2(files, top.path, { readOnly: true });
      assertEquals(emptied.extent(0), { kind: "backing", sectors: emptied.extent(0).sectors });
      same(await contents(emptied), top.bytes, "the emptied overlay");
    }),
    { numRuns: 100, seed: 6 },
  );
});

Deno.test("writes beside each other to one cluster that is copied lose nothing", async () => {
  const files = new CrashFiles();
  await createRaw(files, "/base.raw", 64 * 1024);
  const base = await openDisk(files, { path: "/base.raw", format: "raw", readOnly: false });
  await base.write(0, new Uint8Array(64 * 1024).fill(1));
  await base.close();
  const backing = { path: "base.raw", format: "raw" as const };
  await createQcow2(files, "/top.qcow2", { bytes: 64 * 1024, backing });
  const top = await openQcow2(files, "/top.qcow2", { readOnly: false });
  const sectors = Array.from({ length: 128 }, (_, sector) => sector).filter((n) => n % 3 === 0);
  await Promise.all(
    sectors.flatMap((n) => [top.write(n, new Uint8Array(512).fill(n + 2)), top.flush()]),
  );
  const expected = new Uint8Array(64 * 1024).fill(1);
  for (const n of sectors) expected.fill(n + 2, n * 512, (n + 1) * 512);
  same(await contents(top), expected, "together");
  await top.close();
  await assertClean(files, "/top.qcow2");
});

Deno.test("an overlay over a disk that is open sees what is not in its file yet", async () => {
  const files = new CrashFiles();
  await createQcow2(files, "/base", { bytes: 64 * 1024, clusterBytes: 4096 });
  const base = await openQcow2(files, "/base", { readOnly: false });
  await base.write(5, new Uint8Array(512).fill(1));
  const bytes = 64 * 1024;
  await createQcow2(files, "/top", { bytes, backing: { path: "base", format: "qcow2" } });
  const top = await openQcow2(files, "/top", { readOnly: false, backing: base });
  await top.write(6, new Uint8Array(512).fill(2));
  const expected = new Uint8Array(bytes);
  expected.fill(1, 5 * 512, 6 * 512);
  expected.fill(2, 6 * 512, 7 * 512);
  same(await contents(top), expected, "over the open disk");
  await top.close();
  await assertClean(files, "/base");
  const again = await openQcow2(files, "/top", { readOnly: true });
  same(await contents(again), expected, "from the files");
});

for (const clusterBytes of [512, 4096]) {
  Deno.test(`an image that was emptied is written to at once, where its tables were, clusters of ${clusterBytes}`, async () => {
    const files = new CrashFiles();
    await createRaw(files, "/base", 512 * 1024);
    const backing = { path: "base", format: "raw" as const };
    await createQcow2(files, "/top", { bytes: 512 * 1024, clusterBytes, backing });
    const top = await openQcow2(files, "/top", { readOnly: false });
    for (let round = 0; round < 3; round++) {
      await top.write(0, new Uint8Array(512 * 1024).fill(round + 1));
      same(await contents(top), new Uint8Array(512 * 1024).fill(round + 1), `round ${round}`);
      await top.makeEmpty();
      same(await contents(top), new Uint8Array(512 * 1024), `emptied in round ${round}`);
    }
    await top.close();
    await assertClean(files, "/top");
    // Blocks of refcounts stay where they are; with the smaller clusters there are some at the end.
    const { length } = await files.readAll("/top");
    assert(length === 4 * 4096 || clusterBytes === 512, `${length} bytes`);
  });
}

Deno.test("the tables in memory are few, and the file is long only where it must be", async () => {
  const files = new CrashFiles();
  // Tables of 64 entries: a disk of 64 MiB has 2048 of them, more than are kept.
  await createQcow2(files, "/disk", { bytes: 256 * 1024 * 1024, clusterBytes: 512 });
  const disk = await openQcow2(files, "/disk", { readOnly: false });
  const stride = 61;
  const count = Math.floor(disk.sectors / stride);
  for (let n = 0; n < count; n++) {
    await disk.write(n * stride, new Uint8Array(512).fill(n % 251 + 1));
  }
  // What is too much to be kept is in the file without anybody asking.
  const { qcow2 } = diskInfo(files.afterKill(), "/disk");
  assert(qcow2!.allocatedBytes > count * 512 / 2, `${qcow2!.allocatedBytes} bytes`);
  const sector = new Uint8Array(512);
  for (let n = 0; n < count; n += 13) {
    await disk.read(n * stride, sector);
    assertEquals([sector[0], sector[511]], [n % 251 + 1, n % 251 + 1]);
  }
  await disk.close();
  await assertClean(files, "/disk");
  const again = await openQcow2(files, "/disk", { readOnly: false });
  await again.discard(0, again.sectors);
  await again.close();
  await assertClean(files, "/disk");
});
