/** Claims about VMs whose disks are images of a format: they run on them, are recorded, and replay. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError, VMKernel } from "../../mod.ts";
import { hostFiles } from "../../kernel/host/files.ts";
import {
  checkQcow2,
  convertDisk,
  createQcow2,
  type DiskFormat,
  openDisk,
} from "../../kernel/storage/mod.ts";
import { withFolder } from "../_support/folder.ts";

/** Writes to its disk and reads it back, among much else; ends with 0 when all was as it should. */
const STORM = new URL("../../guests/storm/storm.elf", import.meta.url).pathname;

async function storm(path: string, format?: DiskFormat, record?: string): Promise<number> {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({
    kernel: STORM,
    memory: "16M",
    harts: 2,
    network: "loopback",
    clock: "virtual",
    drives: [{ path, ...format && { format } }],
    ...record !== undefined && { record },
  });
  return (await vm.waitForExit()).code;
}

async function contents(path: string, format: DiskFormat): Promise<Uint8Array> {
  const disk = await openDisk(hostFiles, { path, format, readOnly: true });
  const bytes = new Uint8Array(disk.sectors * 512);
  await disk.read(0, bytes);
  await disk.close();
  return bytes;
}

Deno.test("a guest runs on a qcow2 overlay, leaves it whole, and is replayed from it", () =>
  withFolder(async (folder) => {
    const [raw, base, top] = ["raw", "base", "top"].map((name) => `${folder}/${name}`);
    await Deno.writeFile(raw!, new Uint8Array(64 * 512).fill(3));
    await convertDisk(hostFiles, { path: raw! }, { path: base!, format: "qcow2" });
    const untouched = await Deno.readFile(base!);
    const backing = { path: "base", format: "qcow2" as const };
    await createQcow2(hostFiles, top!, { bytes: 64 * 512, clusterBytes: 4096, backing });
    assertEquals(await storm(top!, undefined, `${folder}/recording`), 0);
    assert((await contents(top!, "qcow2")).some((byte) => byte !== 3), "it wrote");
    assertEquals(await Deno.readFile(base!), untouched);
    const { corruptions, leaks } = await checkQcow2(hostFiles, top!);
    assertEquals([corruptions, leaks], [0, 0]);
    await using kernel = await VMKernel.start();
    const vm = await kernel.replay(`${folder}/recording`, { verify: true });
    assertEquals((await vm.waitForExit()).code, 0);
  }));

Deno.test("a drive whose format is said is not taken for another", () =>
  withFolder(async (folder) => {
    const path = `${folder}/disk`;
    await createQcow2(hostFiles, path, { bytes: 64 * 512 });
    const image = await Deno.readFile(path);
    await Deno.writeFile(`${folder}/raw`, new Uint8Array(512));
    await assertRejects(() => storm(`${folder}/raw`, "qcow2"), FormatError, "is no qcow2 image");
    await assertRejects(() => storm(path, "lazy-zero"), FormatError);
    // As a raw disk the image is bytes like others, and the guest overwrites them.
    await storm(path, "raw");
    assert((await Deno.readFile(path)).length === image.length);
  }));
