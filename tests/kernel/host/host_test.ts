/** Claims about the real host. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { HostError } from "../../../kernel/base/errors.ts";
import { denoHost } from "../../../kernel/host/deno_host.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { createDisk } from "../../../kernel/storage/mod.ts";
import { withFolder } from "../../_support/folder.ts";

Deno.test("files.open() names the file and the reason when it is missing", () => {
  const error = assertThrows(() => denoHost.files.open("no/such/file"), HostError);
  assertEquals(error.message, 'Cannot open "no/such/file": there is no such file');
});

Deno.test("files.open() refuses a directory", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assertThrows(() => denoHost.files.open(folder), HostError, "it is a directory");
    await assertRejects(() => denoHost.files.readAll(folder), HostError);
  } finally {
    await Deno.remove(folder);
  }
});

Deno.test("a host file reads and writes at offsets and stops at its end", async () => {
  const path = await Deno.makeTempFile();
  try {
    const file = denoHost.files.open(path, { write: true });
    file.write(3, new Uint8Array([1, 2, 3]));
    await file.flush();
    const into = new Uint8Array(8);
    assertEquals(file.read(2, into), 4);
    assertEquals([...into], [0, 1, 2, 3, 0, 0, 0, 0]);
    file.close();
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("files are cut, renamed and removed, folders made, listed and synced", async () => {
  const { files } = denoHost;
  const folder = await Deno.makeTempDir();
  try {
    files.ensureFolder(`${folder}/a/b`);
    files.ensureFolder(`${folder}/a/b`);
    const file = files.create(`${folder}/a/one`);
    file.write(0, new Uint8Array(1000).fill(1));
    file.truncate(10);
    file.truncate(20);
    assertEquals([file.size, file.sizeNow()], [0, 20]);
    const bytes = new Uint8Array(new SharedArrayBuffer(30));
    assertEquals(file.read(0, bytes.subarray(2)), 20);
    assertEquals([bytes[1], bytes[2], bytes[11], bytes[12]], [0, 1, 1, 0]);
    file.close();
    files.rename(`${folder}/a/one`, `${folder}/a/two`);
    files.syncFolder(`${folder}/a`);
    await files.flushFolder(`${folder}/a`);
    await assertRejects(() => files.flushFolder(`${folder}/c`), HostError, "no such file");
    assertEquals([files.list(`${folder}/a`), files.folders(`${folder}/a`)], [["two"], ["b"]]);
    assertEquals([files.exists(`${folder}/a/one`), files.exists(`${folder}/a/b`)], [false, true]);
    assertThrows(() => files.remove(`${folder}/a/b`), HostError, "it is a directory");
    assertThrows(() => files.removeFolder(`${folder}/a/two`), HostError, "expected a folder");
    assertThrows(() => files.removeFolder(`${folder}/a`), HostError, "not empty");
    assertThrows(() => files.rename(`${folder}/a/one`, `${folder}/x`), HostError, "no such file");
    files.remove(`${folder}/a/two`);
    files.removeFolder(`${folder}/a/b`);
    assertEquals(files.list(`${folder}/a`), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("locks of the host exclude each other, also of one process, and are waited for", async () => {
  const path = await Deno.makeTempFile();
  const { files } = denoHost;
  try {
    const first = files.tryLock(path, { exclusive: false })!;
    const second = files.tryLock(path, { exclusive: false })!;
    assertEquals(files.tryLock(path, { exclusive: true }), undefined);
    let got = false;
    const waiting = files.lock(path, { exclusive: true }).then((lock) => {
      got = true;
      return lock;
    });
    first.release();
    first.release();
    assertEquals(files.tryLock(path, { exclusive: true }), undefined);
    assertEquals(got, false);
    second.release();
    const held = await waiting;
    assertEquals(files.tryLock(path, { exclusive: false }), undefined);
    held.release();
    files.tryLock(path, { exclusive: true })!.release();
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a lock on a file that must exist makes none, and need not be allowed to write to share it", async () => {
  const folder = await Deno.makeTempDir();
  const { files } = denoHost;
  const mustExist = true;
  try {
    for (const exclusive of [true, false]) {
      const kind = { exclusive, mustExist };
      const refused = `Cannot lock "${folder}/no": there is no such file`;
      assertThrows(() => files.tryLock(`${folder}/no`, kind), HostError, refused);
      await assertRejects(() => files.lock(`${folder}/no`, kind), HostError, refused);
    }
    assertEquals(files.list(folder), []);
    const path = `${folder}/yes`;
    await Deno.writeFile(path, new Uint8Array(1), { mode: 0o444 });
    const shared = files.tryLock(path, { exclusive: false, mustExist })!;
    assertEquals(files.tryLock(path, { exclusive: true, mustExist }), undefined);
    shared.release();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "a full disk is named as such",
  ignore: Deno.build.os !== "linux",
  fn() {
    const file = denoHost.files.open("/dev/full", { write: true });
    const error = assertThrows(() => file.write(0, new Uint8Array(1)), HostError);
    assertEquals(error.message, 'Cannot write "/dev/full": the disk is full');
    file.close();
  },
});

Deno.test("delay() is given up when its signal is aborted", async () => {
  const abort = new AbortController();
  const wait = denoHost.timers.delay(60_000, abort.signal);
  abort.abort();
  assertEquals(await wait, false);
  assertEquals(await denoHost.timers.delay(1), true);
  await denoHost.timers.yieldToOthers();
});

Deno.test("seeds are safe integers and memory is a positive figure", () => {
  for (let i = 0; i < 100; i++) assert(Number.isSafeInteger(denoHost.entropy.seed()));
  assert(denoHost.memory.available() > 0);
});

Deno.test({
  name: "a world that gives way has a thread of lower priority, where it may have",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const priorities = new URL("./priorities.ts", import.meta.url).href;
    const run = async (flags: string[], args: string[] = []) => {
      const options = ["--no-check", "--no-prompt", "--unstable-worker-options"];
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", ...flags, ...options, priorities, ...args],
        stderr: "inherit",
      }).output();
      return new TextDecoder().decode(stdout);
    };
    assertEquals(await run(["-A"]), "0 10\nstarted\n");
    for (const flags of [["--allow-read"], ["--allow-read", "--allow-sys"]]) {
      assertEquals(await run(flags, ["blind"]), "started\n");
    }
  },
});

Deno.test({
  name: "room in a file is taken at once, and refused where there is not so much",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFolder(async (folder) => {
      const path = `${folder}/disk`;
      await createDisk(hostFiles, { path, format: "lazy-zero" }, 64 << 20);
      assert((Deno.statSync(path).blocks ?? 0) * 512 >= 64 << 20);
      const more = Deno.statSync(path).size;
      assertThrows(() => hostFiles.allocate!(path, 2 ** 50), HostError, "there is no room for");
      assertEquals(Deno.statSync(path).size, more);
      assertEquals(hostFiles.allocate!(`${folder}/missing`, 4096), false);
    }),
});
