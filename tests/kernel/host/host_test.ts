/** Claims about the real host. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { HostError } from "../../../kernel/base/errors.ts";
import { denoHost } from "../../../kernel/host/deno_host.ts";

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
