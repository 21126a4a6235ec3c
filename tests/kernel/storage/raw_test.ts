/** Claims about raw disks. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConfigError, HostError } from "../../../kernel/base/errors.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { openRawDisk } from "../../../kernel/storage/raw.ts";

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
