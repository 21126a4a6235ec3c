/** Claims about images that several checkpoints keep: each of them counts, whichever the image was retained for. */
import { assertEquals, assertRejects } from "@std/assert";
import { ConfigError } from "../../../kernel/base/errors.ts";
import type { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { encodeSavedDisk } from "../../../kernel/checkpoint/saved_disk.ts";
import { checkQcow2, commitQcow2 } from "../../../kernel/disk_images.ts";
import type { VmDisks } from "../../../kernel/world/vm_disks.ts";
import {
  checkpointDisks,
  DiskModel,
  makeImage,
  openDrive,
  openOf,
  valuesOf,
  Writer,
} from "../../_support/checkpointed_disk.ts";
import { aboutOf, encodePages, stateOf, testStore } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const SECTORS = 256;

/** A disk that is retained for a checkpoint, and goes on in an overlay. */
async function retained(format: "raw" | "qcow2" = "qcow2") {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", format, SECTORS);
  const disks = await openDrive(files, "/disk", format);
  const writer = new Writer(disks.served[0]!, model, 7);
  await writer.run(3);
  const first = await checkpointDisks(store, disks, "retain", model);
  await writer.run(3);
  return { files, store, model, disks, first };
}

/** Suspends a VM with these disks; gives the state's id. */
async function suspend(store: CheckpointStore, disks: VmDisks): Promise<string> {
  const memory = [1];
  const save = await store.beginSave({ memoryPages: 1 });
  const pages = encodePages(save, memory, {});
  const states = (await disks.standing(store.disks)).map(encodeSavedDisk);
  const state = { ...stateOf(memory), disks: states };
  await save.commit(aboutOf({ kind: "suspended" }), state, pages);
  disks.keep();
  await disks.close();
  return save.id;
}

/** Fails unless nobody is allowed to write to the image. */
async function assertKept(files: CrashFiles, live: string): Promise<void> {
  const uses = [
    () => openDrive(files, "/disk"),
    () => commitQcow2(live, { host: { files } }),
    () => checkQcow2("/disk", { host: { files }, repair: "all" }),
  ];
  for (const use of uses) {
    await assertRejects(use, ConfigError, `"/disk" is kept as it was by a checkpoint`);
  }
}

Deno.test("an image is kept for the checkpoint of a fork, also when the one it was retained for is deleted", async () => {
  for (const ending of ["retain", "suspend"] as const) {
    const { files, store, model, disks, first } = await retained();
    await disks.close();
    const live = first.live[0]!.path;
    const fork = await openOf(files, store, first.id, SECTORS);
    const changed = new Writer(fork.served[0]!, new DiskModel(await valuesOf(fork.served[0]!)), 9);
    await changed.run(5);
    const then = changed.model.now.slice();
    let second: string;
    if (ending === "suspend") second = await suspend(store, fork);
    else {
      second = (await checkpointDisks(store, fork, "retain", changed.model)).id;
      fork.keep();
      await fork.close();
    }
    await store.delete([first.id]);
    await assertKept(files, live);
    const again = await openOf(files, store, second, SECTORS);
    assertEquals(await valuesOf(again.served[0]!), then);
    await again.close();
    await store.delete([second]);
    const whole = await openDrive(files, "/disk");
    assertEquals(await valuesOf(whole.served[0]!), model.now);
    await whole.close();
    assertEquals(files.list("/"), ["disk"]);
  }
});

Deno.test("an image is kept for the state that its own VM is suspended to", async () => {
  const { files, store, model, disks, first } = await retained();
  const live = first.live[0]!.path;
  const suspended = await suspend(store, disks);
  await store.delete([first.id]);
  await assertKept(files, live);
  const resumed = await openOf(files, store, suspended, SECTORS, true);
  assertEquals(await valuesOf(resumed.served[0]!), model.now);
  await resumed.close();
  await store.delete([suspended]);
  await (await openDrive(files, "/disk")).close();
  assertEquals(files.list("/"), ["disk"]);
});

Deno.test("a checkpoint that cannot be read may keep any image; one of other images keeps none of these", async () => {
  const { files, store, model, disks, first } = await retained("raw");
  await disks.close();
  const live = first.live[0]!.path;
  await makeImage(files, "/other", "raw", SECTORS);
  const others = await openDrive(files, "/other");
  const other = await checkpointDisks(store, others, "retain", new DiskModel(model.now));
  await others.close();
  await store.delete([first.id]);
  const damaged = files.afterKill();
  const file = damaged.open(store.disks.checkpointPath(other.id), { write: true });
  file.write(file.size - 1, new Uint8Array([1]));
  const middle = new Uint8Array(1);
  file.read(60, middle);
  file.write(60, middle.map((old) => old ^ 1));
  await assertRejects(() => openDrive(damaged, "/disk"), ConfigError, `goes on in "${live}"`);
  const whole = await openDrive(files, "/disk", "raw");
  assertEquals(await valuesOf(whole.served[0]!), model.now);
  await whole.close();
});
