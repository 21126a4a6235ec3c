/** Claims about disks that keep what they overwrite: whatever happens, the earlier disk can be read. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { crc32 } from "../../../kernel/base/checksum.ts";
import { FormatError, HostError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { SECTOR_BYTES } from "../../../kernel/limits.ts";
import { EarlierDisk, KeepingDisk } from "../../../kernel/storage/before_image.ts";
import { HostStopped, StoppingHost, TornDisk, TornFile } from "../../_support/torn_storage.ts";

/** A file that cannot be written ends what is tested. */
const raise = (error: Error) => {
  throw error;
};

/** Three blocks of 4 KiB and one of five sectors. */
const SECTORS = 29;
const HEADER_BYTES = 16;
const ENTRY_BYTES = 12 + 4096;

const original = () => new Prng(77).bytes(SECTORS * SECTOR_BYTES);

async function contents(
  disk: { read(at: number, into: Uint8Array): Promise<void> },
  random?: Prng,
) {
  if (random === undefined) {
    const all = new Uint8Array(SECTORS * SECTOR_BYTES);
    await disk.read(0, all);
    return all;
  }
  const first = random.below(SECTORS);
  const part = new Uint8Array((1 + random.below(SECTORS - first)) * SECTOR_BYTES);
  await disk.read(first, part);
  const all = original();
  all.set(part, first * SECTOR_BYTES);
  return all;
}

/** The disk as a replay finds it after the host stopped. */
function earlier(disk: TornDisk, file: TornFile): EarlierDisk {
  return new EarlierDisk(new TornDisk(undefined, disk.bytes), new TornFile(undefined, file.bytes));
}

interface Outcome {
  readonly disk: TornDisk;
  readonly file: TornFile;
  readonly writes: number;
}

/** Random writes, several at once, until they are done or the host stops at one. */
async function writeAtRandom(seed: number, stopAt?: number): Promise<Outcome> {
  const random = new Prng(seed);
  const host = new StoppingHost(random, stopAt);
  const [disk, file] = [new TornDisk(host, original()), new TornFile(host)];
  try {
    const keeping = new KeepingDisk(disk, file, raise);
    for (let round = 0; round < 4; round++) {
      const writing = Array.from({ length: 1 + random.below(3) }, () => {
        const first = random.below(SECTORS);
        const length = 1 + random.below(Math.min(12, SECTORS - first));
        return keeping.write(first, random.bytes(length * SECTOR_BYTES));
      });
      // What the disk held can be read while it is being written.
      const reading = contents({ read: (at, into) => keeping.readEarlier(at, into) }, random);
      const [read] = await Promise.allSettled([reading, ...writing]);
      if (read.status === "rejected") throw read.reason;
      assertEquals(read.value, original());
      const failed = (await Promise.allSettled(writing)).find(({ status }) =>
        status === "rejected"
      );
      if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    }
    await keeping.flush();
    await keeping.close();
  } catch (error) {
    if (!(error instanceof HostStopped)) throw error;
  }
  return { disk, file, writes: host.writes };
}

Deno.test("the earlier disk can be read after a host that stopped at any write", async () => {
  let cuts = 0;
  for (let seed = 1; seed <= 25; seed++) {
    const whole = await writeAtRandom(seed);
    assert(whole.disk.bytes.some((byte, i) => byte !== original()[i]), "something was written");
    assertEquals(await contents(earlier(whole.disk, whole.file)), original());
    for (let stopAt = 0; stopAt < whole.writes; stopAt++) {
      const { disk, file } = await writeAtRandom(seed, stopAt);
      // A recording whose file has no whole head cannot have let a write through.
      const found = file.bytes.length < HEADER_BYTES
        ? new TornDisk(undefined, disk.bytes)
        : earlier(disk, file);
      assertEquals(await contents(found), original(), `seed ${seed}, stopped at ${stopAt}`);
      cuts++;
    }
  }
  assert(cuts > 300, `${cuts} cuts`);
});

Deno.test("each block is kept once, however many writes there are at once", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const { file } = await writeAtRandom(seed);
    const view = new DataView(file.bytes.buffer, file.bytes.byteOffset);
    const blocks: number[] = [];
    for (let at = HEADER_BYTES; at < file.bytes.length; at += ENTRY_BYTES) {
      blocks.push(view.getFloat64(at + 4, true));
    }
    assertEquals(new Set(blocks).size, blocks.length, `${blocks}`);
  }
});

Deno.test("reads and the new contents pass through", async () => {
  const disk = new TornDisk(undefined, original());
  const keeping = new KeepingDisk(disk, new TornFile(undefined), raise);
  const data = new Uint8Array(3 * SECTOR_BYTES).fill(9);
  await keeping.write(7, data);
  const expected = original();
  expected.set(data, 7 * SECTOR_BYTES);
  assertEquals(disk.bytes, expected);
  assertEquals(await contents(keeping), expected);
  assertEquals(keeping.sectors, SECTORS);
});

Deno.test("an earlier disk without a file, or with an empty one, is the disk; it is never written", async () => {
  const disk = new TornDisk(undefined, original());
  for (const file of [undefined, new TornFile(undefined)]) {
    const found = new EarlierDisk(disk, file);
    assertEquals(await contents(found), original());
    assertEquals([found.readOnly, found.sectors], [true, SECTORS]);
    await assertRejects(() => found.write(), FormatError, "never written");
    await found.flush();
    await found.close();
  }
});

Deno.test("a file that is none is refused; entries behind a damaged one do not count", async () => {
  const disk = new TornDisk(undefined, original());
  const file = new TornFile(undefined);
  const keeping = new KeepingDisk(disk, file, raise);
  for (const block of [0, 1, 2]) {
    await keeping.write(8 * block, new Uint8Array(SECTOR_BYTES).fill(block));
  }
  const refused = (bytes: Uint8Array) =>
    assertThrows(() => earlier(disk, new TornFile(undefined, bytes)), FormatError, '"before"');
  for (let end = 1; end < HEADER_BYTES; end++) refused(file.bytes.slice(0, end));
  for (let at = 0; at < HEADER_BYTES; at++) {
    const bytes = file.bytes.slice();
    bytes[at]! ^= 0x10;
    refused(bytes);
  }
  const bytes = file.bytes.slice();
  bytes[HEADER_BYTES + ENTRY_BYTES + 100]! ^= 1;
  const expected = original();
  for (const block of [1, 2]) {
    expected.fill(block, 8 * block * SECTOR_BYTES, (8 * block + 1) * SECTOR_BYTES);
  }
  assertEquals(await contents(earlier(disk, new TornFile(undefined, bytes))), expected);
});

Deno.test("an entry for what is no block is refused, whatever its checksum says", async () => {
  const disk = new TornDisk(undefined, original());
  const file = new TornFile(undefined);
  await new KeepingDisk(disk, file, raise).write(0, new Uint8Array(SECTOR_BYTES));
  for (const block of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    const bytes = file.bytes.slice();
    const view = new DataView(bytes.buffer);
    view.setFloat64(HEADER_BYTES + 4, block, true);
    view.setUint32(HEADER_BYTES, crc32(bytes.subarray(HEADER_BYTES + 4)), true);
    const forged = new TornFile(undefined, bytes);
    assertThrows(() => earlier(disk, forged), FormatError, "which is none");
  }
});

Deno.test("a disk whose keeping fails goes on, and says so once", async () => {
  const disk = new TornDisk(undefined, new Uint8Array(64 * 512));
  const told: string[] = [];
  class FullFile extends TornFile {
    override write(offset: number, bytes: Uint8Array): void {
      if (offset > 20_000) throw new HostError("the disk is full");
      super.write(offset, bytes);
    }
  }
  const keeping = new KeepingDisk(
    disk,
    new FullFile(undefined),
    (error) => told.push(error.message),
  );
  for (let sector = 0; sector < 64; sector += 8) {
    await keeping.write(sector, new Uint8Array(512).fill(sector + 1));
  }
  assertEquals(told, ["the disk is full"]);
  const read = new Uint8Array(512);
  await keeping.read(56, read);
  assertEquals(read[0], 57);
});

Deno.test("a strict flush waits for what was kept since the flush that is under way began", async () => {
  const flushes: PromiseWithResolvers<void>[] = [];
  class SlowFile extends TornFile {
    override flush(): Promise<void> {
      flushes.push(Promise.withResolvers());
      return flushes.at(-1)!.promise;
    }
  }
  const disk = new TornDisk(undefined, original());
  const keeping = new KeepingDisk(disk, new SlowFile(undefined), raise, true);
  const ended: string[] = [];
  const settle = async () => {
    for (let turns = 0; turns < 20; turns++) await Promise.resolve();
  };
  await keeping.write(0, new Uint8Array(SECTOR_BYTES));
  const first = keeping.flush().then(() => ended.push("first"));
  await settle();
  await keeping.write(8, new Uint8Array(SECTOR_BYTES));
  const second = keeping.flush().then(() => ended.push("second"));
  const third = keeping.flush().then(() => ended.push("third"));
  await settle();
  assertEquals([flushes.length, ended], [1, []]);
  flushes[0]!.resolve();
  await settle();
  // The block of the second write is not on stable storage yet.
  assertEquals([flushes.length, ended], [2, ["first"]]);
  const closed = keeping.close();
  flushes[1]!.resolve();
  await Promise.all([first, second, third, closed]);
  assertEquals([flushes.length, ended], [2, ["first", "second", "third"]]);
});
