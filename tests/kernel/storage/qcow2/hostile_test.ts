/** Claims about qcow2 images that are hostile, damaged, or more than is supported: refused clearly. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError, HostError } from "../../../../kernel/base/errors.ts";
import { diskInfo } from "../../../../kernel/storage/disk_info.ts";
import { probeFormat } from "../../../../kernel/storage/open_disk.ts";
import { checkQcow2 } from "../../../../kernel/storage/qcow2/check.ts";
import { createQcow2, createRaw } from "../../../../kernel/storage/qcow2/create.ts";
import { openQcow2, resolvePath } from "../../../../kernel/storage/qcow2/open.ts";
import { CrashFiles } from "../../../_support/crash_files.ts";
import { assertClean } from "./support.ts";

const PATH = "/image";
const CLUSTER = 4096;

/** Changes of a file: what is written where, in bytes or in big-endian words. */
type Patch = readonly [at: number, value: number | bigint | string | Uint8Array];

function patch(files: CrashFiles, patches: readonly Patch[], path = PATH): void {
  const file = files.open(path, { write: true });
  for (const [at, value] of patches) {
    let bytes = new Uint8Array(typeof value === "bigint" ? 8 : 4);
    if (typeof value === "bigint") new DataView(bytes.buffer).setBigUint64(0, value);
    else if (typeof value === "number") new DataView(bytes.buffer).setUint32(0, value);
    else bytes = typeof value === "string" ? new TextEncoder().encode(value) : value.slice();
    file.write(at, bytes);
  }
}

async function image(patches: readonly Patch[] = []): Promise<CrashFiles> {
  const files = new CrashFiles();
  await createQcow2(files, PATH, { bytes: 1024 * 1024, clusterBytes: CLUSTER });
  const disk = await openQcow2(files, PATH, { readOnly: false });
  await disk.write(0, new Uint8Array(3 * CLUSTER).fill(1));
  await disk.close();
  patch(files, patches);
  return files;
}

function word(files: CrashFiles, at: number): number {
  const bytes = new Uint8Array(8);
  files.open(PATH).read(at, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0) & 0xff_ffff_ffff_fe00n);
}

/** Where the L2 table of the first clusters lies. */
const l2Table = (files: CrashFiles) => word(files, word(files, 40));

const REFUSED: readonly [what: string, patches: readonly Patch[], message: RegExp][] = [
  ["another magic", [[0, 0x1234_5678]], /is no qcow2 image/],
  ["version 1", [[4, 1]], /version 1: expected 2 or 3/],
  ["version 4", [[4, 4]], /version 4: expected 2 or 3/],
  ["clusters of 256 bytes", [[20, 8]], /clusters of 2\^8 bytes: expected 2\^9 to 2\^21/],
  ["clusters of 4 MiB", [[20, 22]], /clusters of 2\^22 bytes/],
  ["encryption", [[32, 1]], /is encrypted, which is not supported/],
  ["LUKS", [[32, 2]], /is encrypted, which is not supported/],
  ["a header for encryption", [[112, 0x0537_be77], [116, 16]], /is encrypted/],
  ["an external data file", [[76, 4]], /external data file, which is not supported/],
  ["subclusters", [[76, 16]], /extended L2 entries \(subclusters\), which are not supported/],
  ["an unknown feature", [[72, 1]], /incompatible feature 32, which is not supported/],
  [
    "an unknown feature with a name",
    [[76, 1 << 9], [112, 0x6803_f857], [116, 48], [120, new Uint8Array([0, 9])], [
      122,
      "levitation",
    ]],
    /incompatible feature 9 \(levitation\), which/,
  ],
  ["refcounts of 128 bits", [[96, 7]], /refcounts of 2\^7 bits/],
  ["a header of 96 bytes", [[100, 96]], /header of 96 bytes/],
  ["a header of 105 bytes", [[100, 105]], /header of 105 bytes/],
  ["a header of 4 GiB", [[100, 0xffff_fff8]], /header of 4294967288 bytes/],
  ["an unknown compression", [[76, 8], [104, new Uint8Array([2])]], /unknown type 2/],
  ["zstd that it does not announce", [[104, new Uint8Array([1])]], /contradicts itself/],
  ["an announced zstd that is none", [[76, 8]], /contradicts itself/],
  ["an extension of 4 GiB", [[112, 1], [116, 0xffff_ffff]], /extension of 4294967295 bytes/],
  ["a disk of half a sector", [[24, 256n]], /disk of 256 bytes: expected a multiple of 512/],
  ["a disk of 2^63 bytes", [[24, 1n << 63n]], /expected a multiple of 512 below 2\^53/],
  ["a disk larger than its L1 table", [[24, 1n << 40n]], /too few for a disk of 1024G/],
  ["an L1 table of 32 GiB", [[36, 0xffff_ffff]], /L1 table of 4294967295 entries/],
  ["an L1 table of 32 MiB, which the file has not", [[36, 1 << 22]], /beyond the end of the file/],
  ["an L1 table in the middle of a cluster", [[40, 4097n]], /where no cluster begins/],
  ["an L1 table at 2^62", [[40, 1n << 62n]], /L1 table beyond the end of the file/],
  ["an L1 table in the header", [[40, 0n]], /L1 table at 0, where no cluster begins/],
  ["a refcount table beyond the file", [[48, 1n << 40n]], /refcount table beyond the end/],
  ["a refcount table of 16 TiB", [[56, 0xffff_ffff]], /refcount table of 4294967295 clusters/],
  ["no refcount table", [[56, 0]], /refcount table of 0 clusters/],
  ["snapshots without end", [[60, 0xffff_ffff]], /4294967295 snapshots: expected at most 65536/],
  ["a snapshot table beyond the file", [[60, 1], [64, 1n << 40n]], /snapshot table beyond/],
  ["a name of a backing file beyond the header", [[8, 4090n], [16, 100]], /100 bytes at 4090/],
  ["a name of 4 GiB", [[8, 200n], [16, 0xffff_ffff]], /4294967295 bytes at 200/],
  ["a name at 2^60", [[8, 1n << 60n], [16, 4]], /is 4 bytes at/],
  ["a name with a zero in it", [[8, 200n], [16, 4]], /whose name is no name/],
];

for (const [what, patches, message] of REFUSED) {
  Deno.test(`an image with ${what} is refused`, async () => {
    const files = await image(patches);
    for (const readOnly of [true, false]) {
      const error = await assertRejects(() => openQcow2(files, PATH, { readOnly }), FormatError);
      assert(message.test(error.message), error.message);
      assert(error.message.includes(`"${PATH}"`));
    }
    await assertRejects(() => checkQcow2(files, PATH, { repair: "all" }), FormatError);
  });
}

Deno.test("a file that ends inside its header is refused, however short", async () => {
  const whole = await (await image()).readAll(PATH);
  for (let length = 0; length < 112; length++) {
    const files = new CrashFiles();
    files.create(PATH).write(0, whole.slice(0, length));
    await assertRejects(() => openQcow2(files, PATH, { readOnly: true }), FormatError);
  }
});

Deno.test("an image that is marked as corrupt, or has bitmaps, can only be read", async () => {
  const corrupt = await image([[76, 2]]);
  const bitmaps = await image([[112, 0x2385_2875], [116, 24], [120, 1]]);
  for (const [files, message] of [[corrupt, "corrupt"], [bitmaps, "bitmaps"]] as const) {
    const disk = await openQcow2(files, PATH, { readOnly: true });
    const sector = new Uint8Array(512);
    await disk.read(0, sector);
    assertEquals(sector[0], 1);
    await assertRejects(() => disk.write(0, sector), HostError, "reading only");
    await disk.close();
    const open = () => openQcow2(files, PATH, { readOnly: false });
    await assertRejects(open, FormatError, message);
  }
  await checkQcow2(corrupt, PATH, { repair: "all" });
  await (await openQcow2(corrupt, PATH, { readOnly: false })).close();
  await assertRejects(() => checkQcow2(bitmaps, PATH), FormatError, "cannot be checked");
});

Deno.test("entries that lead nowhere are errors of the requests that need them, and of no others", async () => {
  const places: readonly [bigint, string][] = [
    [1n << 40n, "beyond the end of the file"],
    [0x8000_0000_0000_2200n, "not a whole cluster"],
    [1n << 62n | 1n << 40n, "beyond its end"],
    [1n << 62n | 4096n, "compressed cluster that is damaged"],
  ];
  for (const [entry, message] of places) {
    const files = await image();
    patch(files, [[l2Table(files) + 8, entry]]);
    const disk = await openQcow2(files, PATH, { readOnly: true });
    const cluster = new Uint8Array(CLUSTER);
    await disk.read(0, cluster);
    assertEquals(cluster[0], 1);
    await assertRejects(() => disk.read(CLUSTER / 512, cluster), FormatError, message);
    await disk.close();
    const { corruptions, leaks } = await checkQcow2(files, PATH);
    assert(corruptions + leaks > 0);
    await checkQcow2(files, PATH, { repair: "all" });
    await assertClean(files, PATH);
  }
});

Deno.test("an L2 table beyond the file is an error, and a repair unmaps it", async () => {
  const files = await image();
  patch(files, [[word(files, 40), 1n << 45n]]);
  const disk = await openQcow2(files, PATH, { readOnly: false });
  await assertRejects(() => disk.read(0, new Uint8Array(512)), FormatError, "beyond the end");
  await assertRejects(() => disk.write(0, new Uint8Array(512)), FormatError, "beyond the end");
  await disk.close();
  const { corruptionsFixed } = await checkQcow2(files, PATH, { repair: "all" });
  assert(corruptionsFixed > 0);
  await assertClean(files, PATH);
});

Deno.test("data that claims to be where tables are is never written there", async () => {
  const tables = (files: CrashFiles) => [0, word(files, 40), word(files, 48), l2Table(files)];
  for (let index = 1; index < 4; index++) {
    const files = await image();
    const at = tables(files)[index]!;
    patch(files, [[l2Table(files) + 8, 1n << 63n | BigInt(at)]]);
    const before = await files.readAll(PATH);
    const disk = await openQcow2(files, PATH, { readOnly: false });
    const write = () => disk.write(CLUSTER / 512, new Uint8Array(CLUSTER).fill(9));
    await assertRejects(write, FormatError, "it has data where its");
    await disk.close();
    assertEquals(await files.readAll(PATH), before);
  }
});

Deno.test("tables that count as free are never handed out", async () => {
  for (const at of [0, 40, 48]) {
    const files = await image();
    const block = word(files, word(files, 48));
    const cluster = (at === 0 ? 0 : word(files, at)) / CLUSTER;
    patch(files, [[block + 2 * cluster, new Uint8Array(2)]]);
    const disk = await openQcow2(files, PATH, { readOnly: false });
    const write = () => disk.write(1024, new Uint8Array(512));
    await assertRejects(write, FormatError, "counts as free");
    await disk.close();
    await checkQcow2(files, PATH, { repair: "all" });
    await assertClean(files, PATH);
  }
});

Deno.test("a refcount that is wrong fails the flush that meets it, and closing, as errors of the host", async () => {
  const files = await image();
  const block = word(files, word(files, 48));
  const data = word(files, l2Table(files)) / CLUSTER;
  patch(files, [[block + 2 * data, new Uint8Array(2)]]);
  const disk = await openQcow2(files, PATH, { readOnly: false });
  await disk.discard(0, 16);
  await assertRejects(() => disk.flush(), FormatError, "its refcount is 0");
  await disk.write(0, new Uint8Array(CLUSTER).fill(3));
  await disk.discard(0, 8);
  await disk.close();
  const again = await openQcow2(files, PATH, { readOnly: false });
  const found = new Uint8Array(2 * CLUSTER);
  await again.read(0, found);
  assert(found.every((byte) => byte === 0));
  await again.close();
  await checkQcow2(files, PATH, { repair: "all" });
  await assertClean(files, PATH);
  const broken = await image();
  patch(broken, [[block + 2 * data, new Uint8Array(2)]]);
  const closing = await openQcow2(broken, PATH, { readOnly: false });
  await closing.discard(0, 8);
  await assertRejects(() => closing.close(), HostError, "was not closed cleanly");
});

Deno.test("a chain that goes round, is too long, or names no file that can be is refused", async () => {
  const based = async (on: string, format: "raw" | "qcow2" = "qcow2") => {
    const files = new CrashFiles();
    files.createFolder("/dir");
    await createQcow2(files, "/dir/a", { bytes: 4096, backing: { path: on, format } });
    return files;
  };
  const refusal = async (files: CrashFiles, path: string) =>
    (await assertRejects(() => openQcow2(files, path, { readOnly: false }), FormatError)).message;
  const itself = await based("../dir/./a");
  assert((await refusal(itself, "/dir/a")).includes('based on "/dir/a", which is based on it'));
  const round = await based("b");
  await createQcow2(round, "/dir/b", { bytes: 4096, backing: { path: "/dir/a", format: "qcow2" } });
  assert((await refusal(round, "/dir/a")).includes("which is based on it"));
  const long = new CrashFiles();
  for (let n = 0; n < 70; n++) {
    const backing = { path: `${n + 1}`, format: "qcow2" as const };
    await createQcow2(long, `/${n}`, { bytes: 4096, clusterBytes: 512, backing });
  }
  assert((await refusal(long, "/0")).includes("more than 64 files"));
  assert((await refusal(await based("nbd:localhost:1"), "/dir/a")).includes("expected a path"));
  assert((await refusal(await based("json:{}"), "/dir/a")).includes("expected a path"));
  const unsaid = await based("base");
  patch(unsaid, [[112, 0], [116, 0]], "/dir/a");
  assert((await refusal(unsaid, "/dir/a")).includes("does not say what format"));
  const other = await based("base");
  patch(other, [[120, "vmdk\0"]], "/dir/a");
  assert((await refusal(other, "/dir/a")).includes('of format "vmdk'));
  const missing = await based("no such file", "raw");
  await assertRejects(() => openQcow2(missing, "/dir/a", { readOnly: true }), HostError, "no such");
  const info = diskInfo(missing, "/dir/a");
  assert(info.backing !== undefined && "problem" in info.backing);
});

Deno.test("a raw backing file stays raw, though a guest writes what makes it look like qcow2", async () => {
  const files = new CrashFiles();
  await createRaw(files, "/raw", 64 * 1024);
  await createQcow2(files, "/secret", { bytes: 4096 });
  await createQcow2(files, "/evil", { bytes: 4096, backing: { path: "secret", format: "qcow2" } });
  const evil = await files.readAll("/evil");
  files.open("/raw", { write: true }).write(0, evil.slice(0, 64 * 1024));
  assertEquals(probeFormat(files.open("/raw")), "qcow2");
  await createQcow2(files, "/top", { bytes: 64 * 1024, backing: { path: "raw", format: "raw" } });
  const top = await openQcow2(files, "/top", { readOnly: true });
  const start = new Uint8Array(1024);
  await top.read(0, start);
  assertEquals(start, evil.slice(0, 1024));
});

Deno.test("names of backing files are resolved against the folder of the image", () => {
  assertEquals(resolvePath("/a/b/c", "d"), "/a/b/d");
  assertEquals(resolvePath("/a/b/c", "../d"), "/a/d");
  assertEquals(resolvePath("/a/b/c", "/d/./e/../f"), "/d/f");
  assertEquals(resolvePath("b/c", "d"), "b/d");
  assertEquals(resolvePath("c", "../d"), "../d");
  assertEquals(resolvePath("/c", "../../d"), "/d");
});

Deno.test("a backing file is opened for reading only, and left as it was", async () => {
  const files = new CrashFiles();
  await createQcow2(files, "/base", { bytes: 8192, clusterBytes: 512 });
  const before = await files.readAll("/base");
  const backing = { path: "base", format: "qcow2" as const };
  await createQcow2(files, "/top", { bytes: 16384, clusterBytes: 512, backing });
  const top = await openQcow2(files, "/top", { readOnly: false });
  assertEquals(top.backing?.readOnly, true);
  await top.write(3, new Uint8Array(9 * 512).fill(4));
  await top.zero(0, 32, true);
  await top.close();
  assertEquals(await files.readAll("/base"), before);
});

Deno.test("a full disk fails the write, and the image works on when there is room again", async () => {
  const files = new CrashFiles();
  await createQcow2(files, PATH, { bytes: 1024 * 1024, clusterBytes: 512 });
  const disk = await openQcow2(files, PATH, { readOnly: false });
  await disk.write(0, new Uint8Array(4096).fill(1));
  await disk.flush();
  files.capacity = (await files.readAll(PATH)).length + 700;
  let failures = 0;
  for (let n = 0; n < 20; n++) {
    await disk.write(100 + n, new Uint8Array(512).fill(2)).catch((error) => {
      assert(error instanceof HostError);
      failures++;
    });
  }
  assert(failures > 10);
  files.capacity = Infinity;
  await disk.write(100, new Uint8Array(20 * 512).fill(3));
  await disk.flush();
  const found = new Uint8Array(20 * 512);
  await disk.read(100, found);
  assert(found.every((byte) => byte === 3));
  await disk.close();
  await assertClean(files, PATH);
});

Deno.test("after a flush that failed nothing is acknowledged any more", async () => {
  const files = await image();
  const broken = {
    open: (...args: Parameters<CrashFiles["open"]>) => {
      const file = files.open(...args);
      const flush = file.flush.bind(file);
      file.flush = () => fails ? Promise.reject(new HostError("the cable is out")) : flush();
      return file;
    },
  };
  let fails = false;
  const disk = await openQcow2(broken as CrashFiles, PATH, { readOnly: false });
  await disk.write(0, new Uint8Array(512));
  await disk.flush();
  fails = true;
  await assertRejects(() => disk.flush(), HostError, "the cable is out");
  fails = false;
  await assertRejects(() => disk.flush(), HostError, "could not be flushed before");
  await assertRejects(() => disk.close(), HostError);
});
