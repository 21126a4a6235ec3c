/** Keys of ready VMs: the same for the same machine and guest, others for others; digests are remembered. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { parsePowerOn, type PowerOnOptions } from "../../kernel/config.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import type { Host } from "../../kernel/host/host.ts";
import { ReadyIndex } from "../../kernel/ready_index.ts";
import { withFolder } from "../_support/folder.ts";

/** A host that tells which files were read. */
function countingHost(): { host: Host; reads: string[] } {
  const reads: string[] = [];
  const readAll = (path: string) => {
    reads.push(path.slice(path.lastIndexOf("/") + 1));
    return denoHost.files.readAll(path);
  };
  return { host: { ...denoHost, files: { ...denoHost.files, readAll } }, reads };
}

const specOf = (options: PowerOnOptions) => parsePowerOn(options, {}, "vm");

Deno.test("keys differ by all that shapes a machine, and by nothing else", async () => {
  await withFolder(async (folder) => {
    const [kernel, initrd] = [new Uint8Array([1, 2, 3, 4]), new Uint8Array([9])];
    const index = await ReadyIndex.open(denoHost, folder);
    const keyOf = (options: PowerOnOptions) => index.keyOf(specOf({ kernel, initrd, ...options }));
    const key = await keyOf({});
    const others: PowerOnOptions[] = [
      { kernel: new Uint8Array([1, 2, 3, 5]) },
      { kernel: initrd, initrd: kernel },
      { bios: new Uint8Array([1]) },
      { memory: "256M" },
      { harts: 2 },
      { append: "quiet" },
      { clock: "virtual" },
      { clock: "exact" },
      { seed: 7 },
      { tlbEntries: 512 },
      { cacheElements: 8 },
      { console: "virtio" },
      { network: "loopback" },
      { onReset: "end" },
    ];
    const keys = [key, ...await Promise.all(others.map(keyOf))];
    assertEquals(new Set(keys).size, keys.length);
    for (const same of [{}, { name: "other" }, { tier: "interpreter" as const }]) {
      assertEquals(await keyOf(same), key);
    }
  });
});

Deno.test("a digest is remembered until its file changes, and not when that was just now", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/image`;
    const { host, reads } = countingHost();
    const key = async () => {
      const index = await ReadyIndex.open(host, folder);
      const made = await index.keyOf(specOf({ kernel: path }));
      index.write();
      return made;
    };
    await Deno.writeFile(path, new Uint8Array([1]));
    const first = await key();
    // It may change again in the same tick of the file system's clock.
    assertEquals(await key(), first);
    assertEquals(reads.filter((name) => name === "image").length, 2);
    // The host's clock goes on for a minute.
    const wallNanoseconds = () => denoHost.clock.wallNanoseconds() + 60_000_000_000n;
    Object.assign(host, { clock: { ...denoHost.clock, wallNanoseconds } });
    assertEquals([await key(), await key(), await key()], [first, first, first]);
    assertEquals(reads.filter((name) => name === "image").length, 3);
    await Deno.writeFile(path, new Uint8Array([2]));
    await Deno.utime(path, 1_000_000, 1_000_000);
    assertNotEquals(await key(), first);
    assertEquals(reads.filter((name) => name === "image").length, 4);
  });
});

Deno.test("an index that is damaged is as none; entries that make no sense are left out", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/ready.json`;
    const digest = "0".repeat(64);
    const texts = ["", "{", "null", "[]", '"x"', '{"version":2}', '{"version":1,"images":3}'];
    texts.push(
      `{"version":1,"images":{"a":null,"b":{"stamp":1,"digest":2}},"ready":{"x":1,"y":"z"}}`,
    );
    for (const text of texts) {
      await Deno.writeTextFile(path, text);
      const index = await ReadyIndex.open(denoHost, folder);
      assertEquals([index.idOf("x"), index.idOf("y"), index.idOf(digest)], [
        undefined,
        undefined,
        undefined,
      ]);
      index.note(digest, "id");
      index.write();
      assertEquals((await ReadyIndex.open(denoHost, folder)).idOf(digest), "id");
      index.note(digest, undefined);
      index.write();
      assertEquals((await ReadyIndex.open(denoHost, folder)).idOf(digest), undefined);
    }
  });
});
