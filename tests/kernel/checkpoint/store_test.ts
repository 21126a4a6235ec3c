/** Claims about the checkpoint store: chains, deletion, collection and sharing, against plain pages. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import fc from "fast-check";
import { ConfigError, FormatError, HostError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../../kernel/host/entropy.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import { MACHINE_VERSION } from "../../../kernel/machine/version.ts";
import {
  aboutOf,
  assertMemory,
  assertStore,
  encodePages,
  indexOf,
  type Memory,
  samePage,
  saveMemory,
  stateOf,
  STORE,
  testStore,
} from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const bytesOf = (files: CrashFiles, folder: string) =>
  files.list(`${STORE}/${folder}`).reduce(
    (sum, name) => sum + files.open(`${STORE}/${folder}/${name}`).size,
    0,
  );
const storeBytes = (files: CrashFiles) => bytesOf(files, "packs") + bytesOf(files, "checkpoints");

Deno.test("random saves, deletes, labels and reopenings give back what plain pages would", async () => {
  const step = fc.record({
    what: fc.constantFrom("root", "child", "child", "child", "delete", "rename", "reopen", "abort"),
    seed: fc.nat(1_000_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
      const files = new CrashFiles();
      let opened = 100;
      let store = testStore(files);
      await store.collect();
      const model = new Map<string, Memory>();
      for (const { what, seed } of steps) {
        const random = new Prng(seed);
        const ids = [...model.keys()];
        const one = ids.length > 0 ? random.pick(ids) : undefined;
        const before = one === undefined ? undefined : model.get(one);
        if (what === "root" || (what === "child" && one === undefined)) {
          const memory = Array.from(
            { length: 40 },
            () => random.pick([0, 0, 1, 2, 1001, 3000 + random.below(9)]),
          );
          model.set(await saveMemory(store, memory), memory);
        } else if (what === "child") {
          const memory = before!.map((n) =>
            random.below(4) === 0 ? random.pick([0, 3, 4000 + random.below(20)]) : n
          );
          const active = [...memory.keys()].filter(() => random.below(6) === 0);
          model.set(await saveMemory(store, memory, { parent: one, before, active }), memory);
        } else if (what === "delete" && one !== undefined) {
          await store.delete([one]);
          model.delete(one);
        } else if (what === "rename" && one !== undefined) {
          await store.rename(one, `new ${seed}`);
          assertEquals(store.list().find(({ id }) => id === one)?.head?.label, `new ${seed}`);
        } else if (what === "reopen") {
          // Of a seed that was never used: no two checkpoints have an id.
          store = testStore(files, ++opened);
        } else if (what === "abort") {
          const save = await store.beginSave({ memoryPages: 40 });
          encodePages(save, Array.from({ length: 40 }, (_, i) => 9000 + i), {});
          save.abort();
        }
        assertEquals(files.list(`${STORE}/packs`).filter((name) => name.endsWith(".partial")), []);
      }
      await assertStore(store, model);
      await store.collect();
      await assertStore(testStore(files, 99), model);
      await store.delete([...model.keys()]);
      assertEquals(storeBytes(files), 0);
    }),
    { numRuns: 40 },
  );
});

Deno.test("equal pages are stored once: within a save, along a chain and across VMs", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const memory = Array.from({ length: 200 }, (_, i) => 2000 + i % 50);
  const root = await saveMemory(store, memory);
  const first = bytesOf(files, "packs");
  assert(first < 52 * PAGE_BYTES, `${first} bytes`);
  const other = await saveMemory(store, [...memory].reverse(), { about: { vm: "other" } });
  assertEquals(bytesOf(files, "packs"), first);
  await saveMemory(store, memory.map((n, i) => i < 20 ? 2049 - n % 7 : n), {
    parent: root,
    before: memory,
  });
  assertEquals(bytesOf(files, "packs"), first);
  await store.delete([root]);
  await assertMemory(store, other, [...memory].reverse());
  assertEquals(await store.verify(), []);
});

for (const changed of [100, 1000]) {
  Deno.test(`a child that changed ${changed} pages adds at most 5 % to their size`, async () => {
    const files = new CrashFiles();
    const store = testStore(files);
    const memory = Array.from({ length: 4096 }, (_, i) => 5000 + i % 64);
    const root = await saveMemory(store, memory);
    const before = storeBytes(files);
    const random = new Prng(3);
    const child = [...memory];
    const places = new Set<number>();
    while (places.size < changed) places.add(random.below(4096));
    for (const page of places) child[page] = 100_000 + page;
    await saveMemory(store, child, { parent: root, before: memory });
    const added = storeBytes(files) - before;
    assert(added <= 1.05 * changed * PAGE_BYTES, `${added} bytes for ${changed} pages`);
    assert(added > changed * PAGE_BYTES, "these pages cannot be compressed");
  });
}

Deno.test("collection rewrites packs that are mostly dead, and numbers keep their meaning", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const memory = Array.from({ length: 300 }, (_, i) => i % 3 === 0 ? 7 + i : 20_000 + i);
  const active = Array.from({ length: 60 }, (_, i) => 200 + i);
  const root = await saveMemory(store, memory, { active });
  const child = memory.map((n, i) => i % 5 < 4 ? 0 : n);
  const childId = await saveMemory(store, child, { parent: root, before: memory });
  const before = bytesOf(files, "packs");
  const held = await store.open(root);
  const { rewritten, bytes, problems } = await store.delete([root]);
  assertEquals([rewritten, problems], [1, []]);
  assertEquals(before - bytesOf(files, "packs"), bytes);
  assert(bytes > before / 2);
  await assertStore(store, new Map([[childId, child]]));
  // What was open before stays readable.
  const page = new Uint8Array(PAGE_BYTES);
  for (let n = 0; n < 300; n++) {
    held.readPage(n, page);
    assert(samePage(page, memory[n]!));
  }
  held.close();
  // A second time, on a pack that has a table of numbers already.
  const grand = child.map((n, i) => i % 25 === 4 ? n : 0);
  const grandId = await saveMemory(store, grand, { parent: childId, before: child });
  assertEquals((await store.delete([childId])).rewritten, 1);
  await assertStore(store, new Map([[grandId, grand]]));
});

Deno.test("a dedup index is stale when a pack is gone or has been rewritten, and lists what it lacks", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const memory = Array.from({ length: 64 }, (_, i) => 6000 + i);
  const root = await saveMemory(store, memory);
  const first = await store.beginSave({ memoryPages: 64 });
  const index = indexOf(first);
  assertEquals([index.count, index.isStale(first.packs()), index.missing(first.packs())], [
    64,
    false,
    [],
  ]);
  first.abort();
  const child = memory.map((n, i) => i < 40 ? 7000 + i : n);
  await saveMemory(store, child, { parent: root, before: memory });
  const second = await store.beginSave({ memoryPages: 64 });
  assertEquals([index.isStale(second.packs()), index.missing(second.packs()).length], [false, 1]);
  second.abort();
  await store.delete([root]);
  const third = await store.beginSave({ memoryPages: 64 });
  assert(index.isStale(third.packs()));
  third.abort();
});

Deno.test("active pages are loaded into shared memory, whatever became of their pack", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const memory: number[] = Array.from({ length: 700 }, (_, i) => i % 9 === 0 ? 0 : 30_000 + i);
  const active = Array.from({ length: 500 }, (_, i) => i + 100).filter((i) => i % 11 !== 0);
  const parent = await saveMemory(store, memory, { about: { kind: "suspended" } });
  const id = await saveMemory(store, memory, { parent, before: memory, active });
  const check = async (ahead: boolean) => {
    const open = await store.open(id);
    const ram = new Uint8Array(new SharedArrayBuffer(memory.length * PAGE_BYTES));
    if (ahead) open.prepareActive();
    const loaded = new Set<number>();
    open.loadActive(ram, (first, pages) => {
      for (let i = 0; i < pages; i++) loaded.add(first + i);
    });
    assertEquals(loaded.size, open.activePages);
    assertEquals([...loaded].sort((a, b) => a - b), active.filter((page) => memory[page] !== 0));
    for (const page of loaded) {
      assert(samePage(ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), memory[page]!));
    }
    const shared = ram.subarray(0, PAGE_BYTES);
    open.readPage(105, shared);
    assert(samePage(shared, memory[105]!));
    open.close();
  };
  for (const ahead of [false, true]) await check(ahead);
  await store.delete([parent]);
  for (const ahead of [false, true]) await check(ahead);
});

Deno.test("trees, finding and comparing", async () => {
  const store = testStore(new CrashFiles());
  const memory = Array.from({ length: 16 }, (_, i) => i);
  const root = await saveMemory(store, memory, { about: { created: 1, key: "k", kind: "ready" } });
  const changed = memory.with(3, 50).with(5, 0);
  const child = await saveMemory(store, changed, {
    parent: root,
    before: memory,
    about: { created: 2 },
  });
  const second = await saveMemory(store, memory, { about: { created: 3, vm: "other" } });
  assertEquals(store.tree().map(({ id, children }) => [id, children.map((each) => each.id)]), [
    [root, [child]],
    [second, []],
  ]);
  assertEquals(store.find({ key: "k", kind: "ready" })?.id, root);
  assertEquals(store.find({ vm: "guest" })?.id, child);
  assertEquals(store.find({ vm: "nobody" }), undefined);
  const [a, b, c] = [await store.open(root), await store.open(child), await store.open(second)];
  assertEquals([...a.differingPages(b)], [3, 5]);
  assertEquals([...a.differingPages(c)], []);
  for (const open of [a, b, c]) open.close();
});

Deno.test("what is not there is refused by name", async () => {
  const store = testStore(new CrashFiles());
  assertEquals(store.list(), []);
  const id = "0".repeat(32);
  for (const wrong of [id, "../../x", ""]) {
    await assertRejects(() => store.open(wrong), ConfigError, "There is no checkpoint");
    await assertRejects(() => store.delete([wrong]), ConfigError, "There is no checkpoint");
    await assertRejects(() => store.beginSave({ memoryPages: 4, parent: wrong }), ConfigError);
  }
  const root = await saveMemory(store, [1, 2]);
  await assertRejects(
    () => store.beginSave({ memoryPages: 3, parent: root }),
    ConfigError,
    "2 pages",
  );
  await assertRejects(() => store.claim(root), ConfigError, "no suspended state");
});

Deno.test("missing parents, missing packs and damaged pages are named; the rest goes on", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const memory = Array.from({ length: 40 }, (_, i) => 8000 + i);
  const root = await saveMemory(store, memory);
  const changed = memory.with(7, 1);
  const child = await saveMemory(store, changed, { parent: root, before: memory });
  const other = await saveMemory(store, [1, 2, 3]);
  const [pack] = (await store.open(root)).map.packs;
  const path = `${STORE}/packs/${pack}.pack`;

  const whole = await files.readAll(path);
  files.open(path, { write: true }).write(1000, new Uint8Array([1, 2, 3]));
  const problems = await store.verify();
  assertEquals(new Set(problems.map(({ checkpoint }) => checkpoint)), new Set([root, child]));
  assert(problems[0]!.problem.includes(`guest page 0: pack ${pack}`), problems[0]!.problem);
  const open = await store.open(child);
  const page = new Uint8Array(PAGE_BYTES);
  await assertRejects(
    () => Promise.try(() => open.readPage(2, page)),
    FormatError,
    `checkpoint ${child}: guest page 2: pack ${pack}: the checksum of cluster 0 does not hold`,
  );
  open.readPage(20, page);
  assert(samePage(page, 8020));
  open.close();

  files.open(path, { write: true }).write(0, whole);
  files.rename(path, "away");
  await assertRejects(() => store.open(child), FormatError, `${child}: pack ${pack} is missing`);
  assertEquals(await store.verify([other]), []);
  assertEquals((await store.verify([root])).map(({ problem }) => problem), [
    `checkpoint ${root}: pack ${pack} is missing`,
  ]);
  files.rename("away", path);
  assertEquals(await store.verify(), []);

  files.rename(`${STORE}/checkpoints/${root}.checkpoint`, "away");
  await assertRejects(
    () => store.open(child),
    FormatError,
    `${child}: its parent ${root} is missing`,
  );
  assertEquals(store.tree().map(({ id }) => id).sort(), [child, other].sort());
  await assertMemory(store, other, [1, 2, 3]);

  // It may come back: what only it refers to stays.
  const deleted = await store.delete([other]);
  assertEquals([deleted.removed, deleted.rewritten, deleted.problems.length], [0, 0, 1]);
  assert(deleted.problems[0]!.includes(`${child} needs ${root}`), deleted.problems[0]);
  files.rename("away", `${STORE}/checkpoints/${root}.checkpoint`);
  assertEquals(await store.verify(), []);
  await assertMemory(store, child, changed);
});

Deno.test("a damaged or foreign checkpoint is listed as such, and stops collection until it is deleted", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const keeps = await saveMemory(store, [1, 2, 1001]);
  const bad = await saveMemory(store, [3, 4, 1002]);
  const foreign = await saveMemory(store, [5], { about: { machineVersion: MACHINE_VERSION + 1 } });
  const path = `${STORE}/checkpoints/${bad}.checkpoint`;
  const file = files.open(path, { write: true });
  file.truncate(file.size - 1);
  const entries = new Map(store.list().map((entry) => [entry.id, entry]));
  assertEquals(entries.get(keeps)?.problem, undefined);
  assert(entries.get(bad)?.problem?.includes(`checkpoint ${bad}: it is cut short`));
  assert(entries.get(foreign)?.problem?.includes(`machine version ${MACHINE_VERSION + 1}`));
  assertEquals(store.find({ vm: "guest" })?.id, keeps);
  await assertRejects(() => store.open(bad), FormatError, "cut short");
  await assertRejects(() => store.open(foreign), FormatError, "this program runs");
  const { removed, problems } = await store.collect();
  assertEquals([removed, problems.length], [0, 1]);
  await assertRejects(() => store.delete([keeps]), FormatError, "cannot be read");
  assertEquals((await store.delete([bad])).problems, []);
  await store.delete([keeps, foreign]);
  assertEquals(storeBytes(files), 0);
});

Deno.test("a full disk at any write leaves the old set, and nothing of the save", async () => {
  const base = new CrashFiles();
  const memory = Array.from({ length: 60 }, (_, i) => 9000 + i);
  const root = await saveMemory(testStore(base), memory);
  const used = storeBytes(base);
  const changed = memory.map((n, i) => i % 2 ? n + 500 : n);
  let refused = 0;
  for (let room = 0;; room += 2000) {
    const files = base.afterKill();
    files.capacity = used + room;
    const store = testStore(files, 7);
    const saved = await saveMemory(store, changed, { parent: root, before: memory }).catch(
      (error) => {
        assert(error instanceof HostError && error.message.includes("the disk is full"), error);
      },
    );
    if (saved !== undefined) break;
    refused++;
    assertEquals(storeBytes(files), used);
    await assertStore(store, new Map([[root, memory]]));
  }
  assert(refused > 50);
});

Deno.test("a save and a deletion of two processes wait for each other", async () => {
  const files = new CrashFiles();
  const [store, other] = [testStore(files), testStore(files.otherProcess(), 5)];
  const memory = Array.from({ length: 30 }, (_, i) => 9000 + i);
  const root = await saveMemory(store, memory);
  const save = await other.beginSave({ memoryPages: 30 });
  const pages = encodePages(save, memory, {});
  assertEquals(pages.counts.stored, 0);
  let deleted = false;
  const deleting = store.delete([root]).then(() => {
    deleted = true;
  });
  assertEquals(await store.tryCollect(), undefined);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(deleted, false);
  await save.commit(aboutOf(), stateOf(memory), pages);
  await deleting;
  await assertStore(store, new Map([[save.id, memory]]));
});

Deno.test("on real files: saved, reopened, deleted; nothing is left", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/a/store`;
    const open = () => new CheckpointStore({ files: hostFiles, codec, entropy: hostEntropy }, path);
    const memory = Array.from({ length: 300 }, (_, i) => i % 4 === 0 ? 0 : 40_000 + i);
    const root = await saveMemory(open(), memory);
    // What guests had in memory is nobody else's to read.
    if (Deno.build.os === "linux") {
      for (const part of ["", "/packs", "/checkpoints", "/disks"]) {
        assertEquals((Deno.statSync(path + part).mode ?? 0) & 0o777, 0o700, part);
      }
    }
    const changed = memory.map((n, i) => i % 10 === 0 ? i : n);
    const child = await saveMemory(open(), changed, {
      parent: root,
      before: memory,
      active: [5, 6, 7],
    });
    await assertStore(open(), new Map([[root, memory], [child, changed]]));
    await open().delete([root]);
    await assertStore(open(), new Map([[child, changed]]));
    await open().delete([child]);
    assertEquals(
      [...Deno.readDirSync(`${path}/packs`), ...Deno.readDirSync(`${path}/checkpoints`)],
      [],
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what a reader would refuse of a name or label is refused before anything is written", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const longest = "x".repeat(1000);
  const id = await saveMemory(store, [1, 1002], { about: { label: longest, vm: longest } });
  await store.rename(id, longest.replaceAll("x", "\u{fffd}"));
  await store.rename(id, "odd: \ud800");
  const before = storeBytes(files);
  for (const label of [`${longest}y`, 5 as unknown as string]) {
    const message = /label is ".*" ?.*: expected a text of at most 1000 characters$/;
    const refused = await assertRejects(() => store.rename(id, label), ConfigError);
    assertMatch(refused.message, message);
    const unsaved = await assertRejects(
      () => saveMemory(store, [3, 1004], { about: { label } }),
      ConfigError,
    );
    assertMatch(unsaved.message, message);
  }
  for (const label of ["a\0", "a\x1b[2J", "a\x85", "a\u202eb", "\u2066", " ", "\u2003 "]) {
    const refused = await assertRejects(() => store.rename(id, label), ConfigError, "label is ");
    assertMatch(refused.message, /^[ -~\u2003]*$/);
    await assertRejects(
      () => saveMemory(store, [3], { about: { label } }),
      ConfigError,
      "label is ",
    );
  }
  await assertRejects(
    () => saveMemory(store, [3], { about: { vm: `${longest}y` } }),
    ConfigError,
    "(1001 characters): expected a name of at most 1000 characters",
  );
  assertEquals(storeBytes(files), before);
  assertEquals(store.list().map(({ head }) => head?.vm), [longest]);
  await assertStore(store, new Map([[id, [1, 1002]]]));
});
