/** Claims about disks in checkpoints: what they hold, what the VM goes on with, and what is refused. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { ConfigError, HostError } from "../../../kernel/base/errors.ts";
import { hostTimers } from "../../../kernel/host/timers.ts";
import { checkQcow2, type DiskFormat, openDisk } from "../../../kernel/storage/mod.ts";
import {
  checkpointDisks,
  DiskModel,
  makeImage,
  makeUserOverlay,
  openDrive,
  openOf,
  valuesOf,
  Writer,
} from "../../_support/checkpointed_disk.ts";
import { testStore } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const SECTORS = 1024;
const yields = () => hostTimers.yieldToOthers();

async function valuesAt(
  files: CrashFiles,
  path: string,
  format?: DiskFormat,
): Promise<Uint32Array> {
  const disk = await openDisk(files, { path, format, readOnly: true });
  const values = await valuesOf(disk);
  await disk.close();
  return values;
}

for (const format of ["raw", "qcow2", "lazy-zero"] as const) {
  Deno.test(`the write-back of a ${format} image loses no write that comes meanwhile`, () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const files = new CrashFiles();
        const store = testStore(files, seed, "/store");
        const model = await makeImage(files, "/disk", format, SECTORS);
        const disks = await openDrive(files, "/disk", format);
        const writer = new Writer(disks.served[0]!, model, seed);
        const going = writer.run(10_000, yields);
        const made = [];
        for (let i = 0; i < 2; i++) {
          made.push(await checkpointDisks(store, disks, "copy-commit", model, yields));
          assertEquals(made[i]!.live, [{ path: "/disk", problem: undefined }]);
        }
        writer.stopped = true;
        await going;
        await writer.flush();
        assertEquals(await valuesOf(disks.served[0]!), model.now);
        await disks.close();
        assertEquals(files.list("/"), ["disk"]);
        assertEquals(await valuesAt(files, "/disk", format), model.now);
        for (const { id, then } of made) {
          const forks = [
            await openOf(files, store, id, SECTORS),
            await openOf(files, store, id, SECTORS),
          ];
          for (const fork of forks) {
            then.assertIs(await valuesOf(fork.served[0]!));
          }
          for (const fork of forks) await fork.close();
        }
        assertEquals(files.list("/store/disks").length, 2);
        await store.delete(made.map(({ id }) => id));
        assertEquals(files.list("/store/disks"), []);
      }),
      { numRuns: 8 },
    ));
}

for (const format of ["raw", "qcow2"] as const) {
  Deno.test(`a ${format} image that is retained stays as it was, and the disk goes on in overlays`, async () => {
    const files = new CrashFiles();
    const store = testStore(files, 1, "/store");
    const model = await makeImage(files, "/disk", format, SECTORS);
    const disks = await openDrive(files, "/disk");
    const writer = new Writer(disks.served[0]!, model, 7);
    const going = writer.run(10_000, yields);
    const first = await checkpointDisks(store, disks, "retain", model, yields);
    const second = await checkpointDisks(store, disks, "retain", model, yields);
    const third = await checkpointDisks(store, disks, "copy-commit", model, yields);
    writer.stopped = true;
    await going;
    const live = second.live[0]!.path;
    assertEquals([first.live[0]!.path === "/disk", third.live[0]!.path], [false, live]);
    // Whoever goes on from it does so beside the VM.
    const forks = [];
    for (const { id } of [first, second, third]) {
      forks.push(await openOf(files, store, id, SECTORS));
    }
    for (const [i, { then }] of [first, second, third].entries()) {
      const fork = forks[i]!;
      then.assertIs(await valuesOf(fork.served[0]!));
      const changes = new Writer(
        fork.served[0]!,
        new DiskModel(await valuesOf(fork.served[0]!)),
        100 + i,
      );
      await changes.run(20);
      assertEquals(await valuesOf(fork.served[0]!), changes.model.now);
    }
    assertEquals(await valuesOf(disks.served[0]!), model.now);
    await assertRejects(() => openDrive(files, "/disk"), ConfigError, "a VM or another program");
    await Promise.all([...forks, disks].map((each) => each.close()));
    await assertRejects(() => openDrive(files, "/disk"), ConfigError, `goes on in "${live}"`);
    assertEquals(await valuesAt(files, live), model.now);
    const again = await openDrive(files, live);
    await again.close();
    // With the checkpoints gone the image can be made whole.
    await store.delete([first.id, second.id, third.id]);
    const lines: string[] = [];
    const whole = await openDrive(files, "/disk", format, lines);
    assertEquals(lines.length, 1);
    assertEquals(await valuesOf(whole.served[0]!), model.now);
    await whole.close();
    assertEquals([files.list("/"), files.list("/store/disks")], [["disk"], []]);
    if (format === "qcow2") assertEquals((await checkQcow2(files, "/disk")).corruptions, 0);
  });
}

Deno.test("a disk is retained as often as it can be opened, under names that stay short", async () => {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", "qcow2", SECTORS);
  const disks = await openDrive(files, "/disk");
  const retain = () => checkpointDisks(store, disks, "retain", model);
  let live = "/disk";
  const refused = await (async () => {
    for (let count = 0; count < 100; count++) {
      const made = await retain().catch((error: Error) => error);
      if (made instanceof Error) return made;
      live = made.live[0]!.path;
      assertEquals(live.length, "/disk.01234567.qcow2".length);
    }
  })();
  assert(refused instanceof ConfigError && refused.message.includes("60 files already"));
  const { then } = await checkpointDisks(store, disks, "copy-commit", model);
  assertEquals(await valuesOf(disks.served[0]!), then.values);
  await disks.close();
  const again = await openDrive(files, live);
  assertEquals(await valuesOf(again.served[0]!), model.now);
  await again.close();
});

Deno.test("an image that is an overlay itself is saved with what it shows", async () => {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/base", "raw", SECTORS);
  await makeUserOverlay(files, "/disk", { path: "/base", format: "raw" }, SECTORS);
  const disks = await openDrive(files, "/disk");
  await new Writer(disks.served[0]!, model, 5).run(20);
  const { id, then } = await checkpointDisks(store, disks, "copy-commit", model);
  await disks.close();
  const fork = await openOf(files, store, id, SECTORS);
  assertEquals(await valuesOf(fork.served[0]!), then.values);
  await fork.close();
  assertEquals(await valuesAt(files, "/disk"), model.now);
});

Deno.test("a copy is a difference to the one before, and stays when that one's checkpoint goes", () =>
  fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
      const files = new CrashFiles();
      const store = testStore(files, seed, "/store");
      const model = await makeImage(files, "/disk", "raw", 4 * SECTORS);
      const disks = await openDrive(files, "/disk");
      const writer = new Writer(disks.served[0]!, model, seed);
      const made = [];
      for (let i = 0; i < 11; i++) {
        // A few requests are under way at the moment.
        let round: Promise<void> | undefined;
        const ending = i === 5 ? "retain" as const : "copy-commit" as const;
        made.push(
          await checkpointDisks(store, disks, ending, model, async () => {
            await round;
            round = writer.round();
          }),
        );
        await round;
        if (i === 6) await store.delete([made.splice(3, 1)[0]!.id]);
        // The last copy is gone: the next one is whole.
        if (i === 7) await store.delete([made.pop()!.id]);
      }
      await writer.flush();
      await disks.close();
      assertEquals(await store.verify(), []);
      for (const { id, then } of made) {
        const fork = await openOf(files, store, id, 4 * SECTORS);
        then.assertIs(await valuesOf(fork.served[0]!));
        await fork.close();
      }
      const sizes = made.map(({ id }) => {
        const path = `/store/disks/${id}.disk0.qcow2`;
        return files.exists(path) ? files.facts(path).bytes : Infinity;
      });
      assert(Math.min(...sizes) < sizes[0]!, `${sizes}`);
      await store.delete(made.map(({ id }) => id));
      assertEquals(files.list("/store/disks"), []);
    }),
    { numRuns: 12 },
  ));

Deno.test("damage to what checkpoints have of disks is found", async () => {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", "raw", SECTORS);
  const disks = await openDrive(files, "/disk");
  const copied = await checkpointDisks(store, disks, "copy-commit", model);
  const kept = await checkpointDisks(store, disks, "retain", model);
  await disks.close();
  assertEquals(await store.verify(), []);
  const flip = (path: string) => {
    const file = files.open(path, { write: true });
    const byte = new Uint8Array(1);
    file.read(file.size - 1, byte);
    file.write(file.size - 1, byte.map((old) => old ^ 1));
  };
  flip(`/store/disks/${copied.id}.disk0.qcow2`);
  flip("/disk");
  const problems = (await store.verify()).map(({ problem }) => problem).sort();
  assertEquals(problems.length, 2);
  for (const { id } of [copied, kept]) {
    const problem = problems.find((line) => line.startsWith(`checkpoint ${id}`));
    assert(/is damaged|was written to|first bytes/.test(problem ?? ""), problem);
  }
  files.remove(`/store/disks/${copied.id}.disk0.qcow2`);
  const open = openOf(files, store, copied.id, SECTORS);
  await assertRejects(() => open, ConfigError, `disk0.qcow2" is missing`);
});

Deno.test("a suspended disk goes on where it is, and is refused when somebody has changed it", async () => {
  for (const format of ["raw", "qcow2", "lazy-zero"] as const) {
    const files = new CrashFiles();
    const store = testStore(files, 1, "/store");
    const model = await makeImage(files, "/disk", format, SECTORS);
    const disks = await openDrive(files, "/disk", format);
    await new Writer(disks.served[0]!, model, 3).run(20);
    const suspend = async (of: typeof disks) => {
      const memory = [1];
      const save = await store.beginSave({ memoryPages: 1 });
      const { encodePages, aboutOf, stateOf } = await import("../../_support/checkpoints.ts");
      const { encodeSavedDisk } = await import("../../../kernel/checkpoint/saved_disk.ts");
      const pages = encodePages(save, memory, {});
      const states = (await of.standing(store.disks)).map(encodeSavedDisk);
      await save.commit(
        aboutOf({ kind: "suspended" }),
        { ...stateOf(memory), disks: states },
        pages,
      );
      of.keep();
      await of.close();
      return save.id;
    };
    const id = await suspend(disks);
    if (format !== "lazy-zero") {
      const fork = await openOf(files, store, id, SECTORS);
      assertEquals(await valuesOf(fork.served[0]!), model.now);
      await assertRejects(() => openOf(files, store, id, SECTORS, true), ConfigError, "uses it");
      // A fork that is suspended keeps its overlay, which is gone on with in its place.
      const changed = new Writer(fork.served[0]!, new DiskModel(model.now), 9);
      await changed.run(20);
      const again = await suspend(fork);
      await store.collect();
      assertEquals(files.list("/store/disks").length, 1);
      const resumed = await openOf(files, store, again, SECTORS, true);
      assertEquals(await valuesOf(resumed.served[0]!), changed.model.now);
      await resumed.close();
      await store.delete([again]);
      assertEquals(files.list("/store/disks"), []);
    } else {
      const refused = openOf(files, store, id, SECTORS);
      await assertRejects(() => refused, ConfigError, "lazily initialised");
    }
    const resumed = await openOf(files, store, id, SECTORS, true);
    assertEquals(await valuesOf(resumed.served[0]!), model.now);
    await resumed.served[0]!.write(0, new Uint8Array(512));
    await resumed.close();
    const why = "has changed since";
    await assertRejects(() => openOf(files, store, id, SECTORS, true), ConfigError, why);
    files.remove("/disk");
    await assertRejects(() => openOf(files, store, id, SECTORS), ConfigError, `"/disk" is missing`);
  }
});

Deno.test("a checkpoint for which there is no room is given up, and the disk is where it was", async () => {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", "raw", SECTORS);
  const disks = await openDrive(files, "/disk");
  const writer = new Writer(disks.served[0]!, model, 11);
  files.capacity = SECTORS * 512 + 400_000;
  await assertRejects(
    () => checkpointDisks(store, disks, "copy-commit", model),
    HostError,
    "the disk is full",
  );
  files.capacity = Infinity;
  await writer.run(20);
  assertEquals(await valuesOf(disks.served[0]!), model.now);
  assertEquals(disks.live, ["/disk"]);
  await disks.close();
  assertEquals([files.list("/"), files.list("/store/disks")], [["disk"], []]);
  assertEquals(await valuesAt(files, "/disk", "raw"), model.now);
});

Deno.test("a VM that ends while its disk is copied ends soon, with all in its image", async () => {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", "raw", 64 * SECTORS);
  const disks = await openDrive(files, "/disk");
  const writer = new Writer(disks.served[0]!, model, 4);
  let closed: Promise<void> | undefined;
  let times = 0;
  const making = checkpointDisks(store, disks, "copy-commit", model, async () => {
    await writer.run(5);
    // Behind the begin, and ahead of the copy.
    if (times++ === 0) closed = hostTimers.yieldToOthers().then(() => disks.close());
  });
  await assertRejects(() => making, HostError, "The VM ended");
  await closed;
  assertEquals([files.list("/"), files.list("/store/disks")], [["disk"], []]);
  assertEquals(await valuesAt(files, "/disk", "raw"), model.now);
});

Deno.test("two VMs do not write to one image", async () => {
  const files = new CrashFiles();
  await makeImage(files, "/disk", "raw", SECTORS);
  const disks = await openDrive(files, "/disk");
  await assertRejects(() => openDrive(files, "/disk"), ConfigError, "uses it");
  await disks.close();
  await (await openDrive(files, "/disk")).close();
});
