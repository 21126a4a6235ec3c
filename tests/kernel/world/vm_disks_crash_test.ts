/**
 * The crash injector for disks in checkpoints (S17.10; issue 5, "Bars"): a disk is written to while checkpoints
 * are made of it, and every operation that changes a file is cut in turn, as kill -9 and as a loss of power.
 * The next start with the image must find what was acknowledged, in the image or in the overlay that it is sent
 * to; images are whole; a checkpoint is there as a whole or not at all.
 */
import { assert, assertEquals } from "@std/assert";
import { ConfigError } from "../../../kernel/base/errors.ts";
import { checkQcow2, openDisk } from "../../../kernel/storage/mod.ts";
import type { DiskEnding } from "../../../kernel/world/vm_disks.ts";
import {
  checkpointDisks,
  DiskModel,
  type Made,
  makeImage,
  openDrive,
  openOf,
  valuesOf,
  Writer,
} from "../../_support/checkpointed_disk.ts";
import { testStore } from "../../_support/checkpoints.ts";
import { CrashFiles, PowerCut } from "../../_support/crash_files.ts";

const SECTORS = 256;
/** Losses of power that are tried for each operation. */
const POWER_CUTS = 2;

interface Run {
  readonly model: DiskModel;
  readonly made: Made[];
}

/** A VM's disk in two checkpoints, with writes before, between, during and after. */
async function work(
  files: CrashFiles,
  ending: DiskEnding,
  run: { model: DiskModel; made: Made[] },
): Promise<void> {
  const store = testStore(files, 5, "/store");
  const disks = await openDrive(files, "/disk");
  const writer = new Writer(disks.served[0]!, run.model, 3);
  await writer.run(2);
  await writer.flush();
  for (let i = 0; i < 2; i++) {
    run.made.push(
      await checkpointDisks(store, disks, ending, run.model, async () => {
        await writer.run(1);
        await writer.flush();
        await writer.run(1);
      }),
    );
    await writer.run(1);
  }
  await writer.flush();
  await disks.close();
}

/** Opens what the image's disk goes on in. */
async function openLive(files: CrashFiles) {
  try {
    return { disks: await openDrive(files, "/disk"), path: "/disk" };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const path = /goes on in "([^"]+)"/.exec(error.message)?.[1];
    assert(path !== undefined, error.message);
    return { disks: await openDrive(files, path), path };
  }
}

async function check(
  files: CrashFiles,
  { model, made }: Run,
  format: "raw" | "qcow2",
): Promise<void> {
  const store = testStore(files, 6, "/store");
  const { disks, path } = await openLive(files);
  const values = await valuesOf(disks.served[0]!);
  model.survivors().assertIs(values);
  // It goes on as any disk does.
  const next = new DiskModel(values);
  const writer = new Writer(disks.served[0]!, next, 8);
  await writer.run(3);
  await writer.flush();
  await disks.close();
  const again = await openDisk(files, { path, readOnly: true });
  assertEquals(await valuesOf(again), next.now);
  await again.close();
  for (const entry of store.list()) {
    assertEquals(entry.problem, undefined);
    const fork = await openOf(files, store, entry.id, SECTORS);
    const was = made.find(({ id }) => id === entry.id)?.then;
    const now = await valuesOf(fork.served[0]!);
    was?.assertIs(now);
    await fork.close();
  }
  assertEquals(await store.verify(), []);
  for (const { id } of made) assert(store.has(id), "what was acknowledged is there");
  await store.delete(store.list().map(({ id }) => id));
  assertEquals(files.list("/store/disks"), [], "nothing is left in the store");
  const whole = await openDrive(files, "/disk");
  assertEquals(await valuesOf(whole.served[0]!), next.now);
  await whole.close();
  assertEquals(files.list("/"), ["disk"], "nothing is left beside the image");
  if (format === "raw") return;
  const { corruptions, leaks } = await checkQcow2(files, "/disk");
  assertEquals([corruptions, leaks], [0, 0]);
}

async function start(format: "raw" | "qcow2"): Promise<{ files: CrashFiles; run: Run }> {
  const files = new CrashFiles();
  const model = await makeImage(files, "/disk", format, SECTORS);
  return { files, run: { model, made: [] } };
}

Deno.test("a crash while a disk is put in order again loses nothing either", async () => {
  for (const format of ["raw", "qcow2"] as const) {
    const whole = await start(format);
    await work(whole.files, "copy-commit", whole.run);
    const { files, run } = await start(format);
    // In the second checkpoint, with much in the overlay.
    files.crashAt(whole.files.operations - 25, 1);
    await work(files, "copy-commit", run).catch(PowerCut.expected);
    const again = files.afterKill();
    assert(again.list("/").length > 1, "there is something to put in order");
    await openDrive(again, "/disk");
    for (let n = 0; n < again.operations; n++) {
      const cut = files.afterKill();
      cut.crashAt(n, n);
      await openDrive(cut, "/disk").catch(PowerCut.expected);
      await check(cut.afterKill(), run, format);
      for (let seed = 0; seed < POWER_CUTS; seed++) {
        await check(cut.afterPowerCut(n * POWER_CUTS + seed), run, format);
      }
    }
  }
});

for (const format of ["raw", "qcow2"] as const) {
  for (const ending of ["copy-commit", "retain"] as const) {
    Deno.test(`a crash at any instant of a ${ending} checkpoint loses nothing of a ${format} disk`, async () => {
      const whole = await start(format);
      const first = whole.files.operations;
      await work(whole.files, ending, whole.run);
      await check(whole.files.afterKill(), whole.run, format);
      for (let n = first; n < whole.files.operations; n++) {
        const { files, run } = await start(format);
        files.crashAt(n, n);
        await work(files, ending, run).catch(PowerCut.expected);
        assert(files.crashed);
        try {
          await check(files.afterKill(), run, format);
          for (let seed = 0; seed < POWER_CUTS; seed++) {
            await check(files.afterPowerCut(n * POWER_CUTS + seed), run, format);
          }
        } catch (cause) {
          throw new Error(
            `after a crash at operation ${n} (of ${first} to ${whole.files.operations})`,
            { cause },
          );
        }
      }
    });
  }
}
