/** Claims about disks of VMs whose host fails: what was written is somewhere, and said to be there. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, HostError } from "../../../kernel/base/errors.ts";
import type { HostLock, LockKind } from "../../../kernel/host/files.ts";
import { checkpointDisks, makeImage, openDrive } from "../../_support/checkpointed_disk.ts";
import { openOf, sectorsOf, valuesOf, Writer } from "../../_support/checkpointed_disk.ts";
import { testStore } from "../../_support/checkpoints.ts";
import type { Inode } from "../../_support/crash_disk.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const SECTORS = 256;
const isOverlay = (path: string) => /disk\..*\.qcow2$|overlay\.qcow2$/.test(path);

/** Files of a host that fails at what a test says, where overlays are concerned. */
class FailingFiles extends CrashFiles {
  /** Whether overlays cannot be removed. */
  keepsOverlays = false;
  /** Whether the removal of an overlay cannot be made durable. */
  forgetsRemovals = false;
  /** Whether overlays cannot be written to. */
  refusesWrites = false;
  /** Whether somebody else has all overlays locked. */
  refusesLocks = false;
  #hasRemoved = false;

  override remove(path: string): void {
    if (this.keepsOverlays && isOverlay(path)) throw new HostError(`Cannot remove "${path}"`);
    super.remove(path);
    this.#hasRemoved ||= isOverlay(path);
  }

  override flushFolder(path: string): Promise<void> {
    if (!this.forgetsRemovals || !this.#hasRemoved) return super.flushFolder(path);
    return Promise.reject(new HostError(`Cannot flush "${path}"`));
  }

  override write(inode: Inode, path: string, offset: number, bytes: Uint8Array): void {
    if (this.refusesWrites && isOverlay(path)) throw new HostError(`Cannot write "${path}"`);
    super.write(inode, path, offset, bytes);
  }

  override tryLock(path: string, kind: LockKind): HostLock | undefined {
    if (this.refusesLocks && isOverlay(path)) return undefined;
    return super.tryLock(path, kind);
  }
}

async function drive(format: "raw" | "qcow2" = "raw") {
  const files = new FailingFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", format, SECTORS);
  const disks = await openDrive(files, "/disk");
  const writer = new Writer(disks.served[0]!, model, 7);
  await writer.run(5);
  const save = () => checkpointDisks(store, disks, "copy-commit", model, () => writer.run(3));
  return { files, store, model, disks, writer, save };
}

Deno.test("a disk whose overlay cannot be removed goes on there, and says so until it can", async () => {
  const { files, model, disks, writer, save } = await drive();
  files.keepsOverlays = true;
  const { live } = await save();
  const { path, problem } = live[0]!;
  assert(path !== "/disk" && files.exists(path), path);
  for (const part of [`"/disk" has all`, `goes on in "${path}"`, `Cannot remove "${path}"`]) {
    assert(problem?.includes(part), problem);
  }
  // It is found there by whoever comes after a crash, also what was written since.
  await writer.run(5);
  await writer.flush();
  assertEquals(await valuesOf(disks.served[0]!), model.now);
  for (const after of [files.afterKill(), files.afterPowerCut(3)]) {
    const again = await openDrive(after, "/disk");
    model.survivors().assertIs(await valuesOf(again.served[0]!));
    assertEquals(again.live, ["/disk"]);
  }
  files.keepsOverlays = false;
  await disks.close();
  assertEquals(files.list("/"), ["disk"]);
  const again = await openDrive(files, "/disk", "raw");
  assertEquals(await valuesOf(again.served[0]!), model.now);
});

Deno.test("an overlay that comes back with a loss of power has nothing that is older than its image", async () => {
  const { files, model, writer, save } = await drive();
  files.forgetsRemovals = true;
  const { live } = await save();
  assertEquals(live, [{ path: "/disk", problem: undefined }]);
  await writer.run(5);
  await writer.flush();
  let times = 0;
  for (let seed = 0; seed < 40; seed++) {
    const after = files.afterPowerCut(seed);
    if (after.list("/").some(isOverlay)) times++;
    const again = await openDrive(after, "/disk");
    model.survivors().assertIs(await valuesOf(again.served[0]!));
  }
  assert(times > 0, "it came back at times");
});

Deno.test("a disk that nobody can promise anything of takes no more writes, and has what was written", async () => {
  const { files, store, model, disks, writer } = await drive();
  files.forgetsRemovals = true;
  let calls = 0;
  const { live } = await checkpointDisks(store, disks, "copy-commit", model, async () => {
    if (calls++ === 0) return;
    await writer.run(3);
    files.refusesWrites = true;
  });
  const { path, problem } = live[0]!;
  assertEquals(path, "/disk");
  assert(problem?.startsWith(`"/disk" has all that was written to its disk, which takes no more`));
  const served = disks.served[0]!;
  await assertRejects(() => served.write(0, sectorsOf(1, 1)), HostError, "takes no more writes");
  await assertRejects(() => served.flush(), HostError, "may come back with a loss of power");
  assertEquals(await valuesOf(served), model.now);
  await disks.close();
  const again = await openDrive(files.afterKill(), "/disk", "raw");
  assertEquals(await valuesOf(again.served[0]!), model.now);
});

Deno.test("an overlay that cannot be locked is not left behind", async () => {
  const { files, store, model, disks } = await drive();
  files.refusesLocks = true;
  const making = checkpointDisks(store, disks, "copy-commit", model);
  await assertRejects(() => making, ConfigError, "uses it");
  assertEquals([files.list("/"), disks.live], [["disk"], ["/disk"]]);
  files.refusesLocks = false;
  await checkpointDisks(store, disks, "copy-commit", model);
  await disks.close();
});

Deno.test("a disk that cannot be closed well is closed all the same, and its scratch image goes", async () => {
  const { files, store, model, disks } = await drive("qcow2");
  const { id } = await checkpointDisks(store, disks, "copy-commit", model);
  const fork = await openOf(files, store, id, SECTORS);
  await fork.served[0]!.write(0, sectorsOf(1, 1));
  const copies = files.list("/store/disks").filter((name) => !isOverlay(name));
  assertEquals(files.list("/store/disks").length, copies.length + 1);
  files.refusesWrites = true;
  await fork.close();
  assertEquals(files.list("/store/disks"), copies);
  await disks.close();
});
