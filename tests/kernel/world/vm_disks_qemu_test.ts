/** Claims that qemu-img confirms about the images that checkpoints of disks leave on the real disk. */
import { assert, assertEquals } from "@std/assert";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostTimers } from "../../../kernel/host/timers.ts";
import {
  checkpointDisks,
  makeImage,
  openDrive,
  sectorsOf,
  Writer,
} from "../../_support/checkpointed_disk.ts";
import { testStore } from "../../_support/checkpoints.ts";
import { peerTest } from "../../_support/peers.ts";
import { qemuCheck, qemuImg, withFolder } from "../storage/qcow2/support.ts";

const SECTORS = 2048;

/** Fails unless qemu-img finds an image whole, with these sectors. */
async function assertQemuReads(path: string, values: Uint32Array, scratch: string): Promise<void> {
  assertEquals(await qemuCheck(path), { corruptions: 0, leaks: 0 }, path);
  const bytes = new Uint8Array(values.length * 512);
  values.forEach((value, sector) => bytes.set(sectorsOf(1, value), sector * 512));
  await Deno.writeFile(scratch, bytes);
  await qemuImg("compare", "-f", "qcow2", "-F", "raw", path, scratch);
}

peerTest(
  "qemu-img reads copies, overlays and images of checkpoints, and finds them whole",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const [image, scratch] = [`${folder}/disk`, `${folder}/expected`];
      const store = testStore(hostFiles, 3, `${folder}/store`);
      const model = await makeImage(hostFiles, image, "qcow2", SECTORS);
      const disks = await openDrive(hostFiles, image);
      const writer = new Writer(disks.served[0]!, model, 2);
      const copies: { readonly id: string; readonly values: Uint32Array }[] = [];
      let live = "";
      for (const ending of ["copy-commit", "copy-commit", "retain", "copy-commit"] as const) {
        await writer.run(5);
        const made = await checkpointDisks(store, disks, ending, model);
        live = made.live[0]!.path;
        const { id, then: { values } } = made;
        if (ending === "copy-commit") copies.push({ id, values });
        else await assertQemuReads(image, values, scratch);
        for (let i = 0; i < 3; i++) {
          await writer.run(2);
          await hostTimers.yieldToOthers();
        }
      }
      await writer.flush();
      await disks.close();
      for (const { id, values } of copies) {
        await assertQemuReads(`${folder}/store/disks/${id}.disk0.qcow2`, values, scratch);
      }
      await assertQemuReads(live, model.now, scratch);
      assertEquals([live === image, hostFiles.list(folder).includes("disk.goes-on")], [
        false,
        true,
      ]);
      await store.delete(store.list().map(({ id }) => id));
      const lines: string[] = [];
      await (await openDrive(hostFiles, image, "qcow2", lines)).close();
      assert(lines.length === 1);
      await assertQemuReads(image, model.now, scratch);
      assertEquals(hostFiles.list(folder), ["disk", "expected"]);
    }),
);
