/** Claims about raw disks. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConfigError, HostError } from "../../../kernel/base/errors.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { openRawDisk } from "../../../kernel/storage/raw.ts";
import { CrashFiles, PowerCut } from "../../_support/crash_files.ts";
import { DiskHistory } from "../../_support/disk_history.ts";

async function withImage(bytes: number, body: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, bytes);
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("a raw disk keeps what is written, sector by sector", () =>
  withImage(4096, async (path) => {
    const disk = openRawDisk(hostFiles, path, { readOnly: false });
    assertEquals(disk.sectors, 8);
    await disk.write(3, new Uint8Array(512).fill(7));
    await disk.flush();
    const into = new Uint8Array(1024);
    await disk.read(2, into);
    assertEquals([into[511], into[512], into[1023]], [0, 7, 7]);
    await disk.close();
    assertEquals((await Deno.stat(path)).size, 4096);
  }));

Deno.test("openRawDisk() refuses a file that is no whole number of sectors", async () => {
  for (const size of [0, 1, 513]) {
    await withImage(size, (path) => {
      assertThrows(() => openRawDisk(hostFiles, path, { readOnly: true }), ConfigError, path);
      return Promise.resolve();
    });
  }
});

Deno.test("a raw disk whose file was cut short reports an error instead of bytes", () =>
  withImage(1024, async (path) => {
    const disk = openRawDisk(hostFiles, path, { readOnly: true });
    await Deno.truncate(path, 512);
    await assertRejects(() => disk.read(1, new Uint8Array(512)), HostError, "shorter");
    await disk.close();
  }));

Deno.test("zeros are written to a raw disk, and a discard changes nothing", () =>
  withImage(4 * 1024 * 1024, async (path) => {
    const disk = openRawDisk(hostFiles, path, { readOnly: false });
    await disk.write(0, new Uint8Array(4 * 1024 * 1024).fill(7));
    await disk.zero(1, disk.sectors - 2, true);
    await disk.discard(0, disk.sectors);
    await disk.close();
    const bytes = await Deno.readFile(path);
    const edges = [bytes[511], bytes[512], bytes.at(-513), bytes.at(-512)];
    assertEquals([edges, bytes.indexOf(7, 512)], [[7, 0, 0, 7], bytes.length - 512]);
  }));

Deno.test("a raw disk loses nothing that was flushed, by kill -9 or a loss of power at any operation", async () => {
  const sectors = 16;
  const fresh = () => {
    const files = new CrashFiles();
    const file = files.create("image");
    file.truncate(sectors * 512);
    file.flushNow();
    files.syncFolder(".");
    return files;
  };
  const work = async (files: CrashFiles, history: DiskHistory, seed: number) => {
    const random = new Prng(seed);
    const disk = openRawDisk(files, "image", { readOnly: false });
    for (let round = 0; round < 4; round++) {
      for (let n = random.below(5); n >= 0; n--) await history.step(disk, random, 8);
      await history.flush(disk);
    }
    await disk.close();
  };
  for (let seed = 1; seed <= 20; seed++) {
    const whole = fresh();
    const before = whole.operations;
    await work(whole, new DiskHistory(sectors), seed);
    for (let operation = 0; operation < whole.operations - before; operation++) {
      const files = fresh();
      const history = new DiskHistory(sectors);
      files.crashAt(files.operations + operation, seed);
      await work(files, history, seed).catch(PowerCut.expected);
      const label = `seed ${seed}, operation ${operation}`;
      const open = (left: CrashFiles) => openRawDisk(left, "image", { readOnly: true });
      await history.copy().crashed(open(files.afterKill()), false, `kill, ${label}`);
      await history.crashed(open(files.afterPowerCut(seed)), true, `power, ${label}`);
    }
  }
});
