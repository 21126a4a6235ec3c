/** Claims about the simulated computer: what a kill and a loss of power leave, and that nothing else may. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { HostError } from "../../kernel/base/errors.ts";
import { CrashFiles, PowerCut } from "./crash_files.ts";

const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1);
const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

async function contents(files: CrashFiles, path: string): Promise<Uint8Array | undefined> {
  return files.exists(path) ? await files.readAll(path) : undefined;
}

Deno.test("the simulated files read what was written, with holes and cuts", async () => {
  const files = new CrashFiles();
  files.ensureFolder("a/b");
  const file = files.create("a/b/c");
  file.write(5000, filled(3000, 7));
  file.truncate(6000);
  file.truncate(9000);
  const bytes = await files.readAll("a/b/c");
  assertEquals(bytes.length, 9000);
  assertEquals([bytes[0], bytes[5000], bytes[5999], bytes[6000]], [0, 7, 7, 0]);
  assertEquals([files.list("a/b"), files.folders("a"), files.folders(".")], [["c"], ["b"], ["a"]]);
  assertThrows(() => files.create("a/b/c"), HostError, "it exists already");
  assertThrows(() => files.open("a/d"), HostError, "there is no such file");
  assertThrows(() => files.open("a/b/c").write(0, filled(1, 1)), HostError, "read only");
  files.rename("a/b/c", "a/d");
  assertEquals([files.list("a/b"), files.list("a"), files.exists("a/b/c")], [[], ["d"], false]);
  files.removeFolder("a/b");
  files.remove("a/d");
  assertThrows(() => files.list("a/b"), HostError);
});

Deno.test("a kill keeps all operations before the crash and cuts the last at a sector", async () => {
  const seen = new Set<number>();
  for (const seed of SEEDS) {
    const files = new CrashFiles();
    const file = files.create("f");
    file.write(0, filled(100, 1));
    files.crashAt(2, seed);
    assertThrows(() => file.write(100, filled(2000, 2)), PowerCut);
    assert(files.crashed);
    assertThrows(() => file.read(0, filled(1, 0)), PowerCut);
    assertThrows(() => files.list("."), PowerCut);
    const left = (await contents(files.afterKill(), "f"))!;
    seen.add(left.length);
    assert(left.length === 100 || left.length === 2100 || left.length % 512 === 0);
  }
  assertEquals([...seen].sort((a, b) => a - b), [100, 512, 1024, 1536, 2048, 2100]);
});

Deno.test("a loss of power keeps what was flushed and any of the rest", async () => {
  const files = new CrashFiles();
  const file = files.create("f");
  file.write(0, filled(1024, 1));
  await file.flush();
  files.syncFolder(".");
  file.write(0, filled(1536, 2));
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const left = (await contents(files.afterPowerCut(seed), "f"))!;
    seen.add([0, 512, 1024].map((at) => left[at]).join());
    for (let at = 0; at < left.length; at += 512) assert(left[at] === left[at + 511]);
  }
  for (const expected of ["1,1,", "2,2,2", "2,1,", "1,2,", "1,1,0"]) assert(seen.has(expected));
  assertEquals((await contents(files, "f"))!.length, 1536);
});

Deno.test("names are durable when their folder is synced, and a rename is one step", async () => {
  const files = new CrashFiles();
  files.ensureFolder("s");
  files.create("s/old").write(0, filled(512, 1));
  files.open("s/old", { write: true }).flushNow();
  files.syncFolder(".");
  files.syncFolder("s");
  const next = files.create("s/next");
  next.write(0, filled(512, 2));
  await next.flush();
  files.rename("s/next", "s/old");
  const seen = new Set<string>();
  for (const seed of SEEDS) {
    const after = files.afterPowerCut(seed);
    seen.add(`${after.list("s")}:${(await contents(after, "s/old"))![0]}`);
  }
  assertEquals([...seen].sort(), ["next,old:1", "old:1", "old:2"]);
  files.syncFolder("s");
  for (const seed of SEEDS) assertEquals(files.afterPowerCut(seed).list("s"), ["old"]);
  files.remove("s/old");
  assertEquals(new Set(SEEDS.map((seed) => files.afterPowerCut(seed).exists("s/old"))).size, 2);
});

Deno.test("locks exclude as they should and end with their process", async () => {
  const files = new CrashFiles();
  const other = files.otherProcess();
  const shared = files.tryLock("lock", { exclusive: false })!;
  const second = other.tryLock("lock", { exclusive: false });
  assert(second !== undefined);
  assertEquals(other.tryLock("lock", { exclusive: true }), undefined);
  let got = false;
  const waiting = other.lock("lock", { exclusive: true }).then((lock) => {
    got = true;
    return lock;
  });
  shared.release();
  await Promise.resolve();
  assertEquals(got, false);
  second.release();
  await waiting;
  assertEquals(files.tryLock("lock", { exclusive: false }), undefined);
  other.kill();
  assert(files.tryLock("lock", { exclusive: false }) !== undefined);
  await assertRejects(() => other.lock("lock", { exclusive: false }), PowerCut);
});

Deno.test("a full disk refuses writes and names the file; flushed files can be exported", async () => {
  const files = new CrashFiles();
  files.capacity = 1000;
  files.ensureFolder("d");
  const file = files.create("d/f");
  file.write(0, filled(900, 3));
  const error = assertThrows(() => file.write(900, filled(200, 3)), HostError);
  assertEquals(error.message, 'Cannot write "d/f": the disk is full');
  const folder = await Deno.makeTempDir();
  try {
    assertEquals(files.exportTo(folder), [`${folder}/d/f`]);
    assertEquals(await Deno.readFile(`${folder}/d/f`), filled(900, 3));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
