/**
 * The crash injector for checkpoints (issue 5, "Bars": kills at random writes). For each thing that changes
 * a store, every operation that changes a file is cut in turn, once as kill -9 and several times as a loss of
 * power. What was acknowledged before must be whole, what was under way must be there as a whole or not at
 * all, and the store must go on working.
 */
import { assert, assertEquals } from "@std/assert";
import type { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import {
  assertMemory,
  assertStore,
  type Memory,
  saveMemory,
  STORE,
  testStore,
} from "../../_support/checkpoints.ts";
import { CrashFiles, PowerCut } from "../../_support/crash_files.ts";

const PAGES = 24;
/** Losses of power that are tried for each operation. */
const POWER_CUTS = 7;

const ROOT: Memory = Array.from({ length: PAGES }, (_, i) => i % 4 === 0 ? 0 : 2000 + i);
const CHILD: Memory = ROOT.map((n, i) => i % 3 === 0 ? 2100 + i : i % 3 === 1 ? 0 : n);
const GRANDCHILD: Memory = CHILD.map((n, i) => i % 5 === 0 ? 2200 + i : n);
const NEXT: Memory = GRANDCHILD.map((n, i) => i % 2 === 0 ? 2300 + i : i === 5 ? 2001 : n);
const OTHER: Memory = ROOT.map((n, i) => i % 2 === 0 ? n : 10 + i);

interface Base {
  readonly files: CrashFiles;
  readonly ids: { readonly root: string; readonly child: string; readonly grandchild: string };
  readonly model: ReadonlyMap<string, Memory>;
}

async function makeBase(): Promise<Base> {
  const files = new CrashFiles();
  const store = testStore(files);
  const root = await saveMemory(store, ROOT);
  const child = await saveMemory(store, CHILD, { parent: root, before: ROOT });
  const active = [1, 2, 3, 10, 11];
  const grandchild = await saveMemory(store, GRANDCHILD, {
    parent: child,
    before: CHILD,
    active,
    about: { kind: "suspended" },
  });
  const model = new Map([[root, ROOT], [child, CHILD], [grandchild, GRANDCHILD]]);
  await assertStore(store, model);
  return { files, ids: { root, child, grandchild }, model };
}

/** Something that changes a store, and what may be there after a crash within it. */
interface Change {
  readonly name: string;
  readonly act: (store: CheckpointStore, ids: Base["ids"]) => Promise<unknown>;
  /** Checkpoints that a crash may leave or take away. */
  readonly goes?: readonly (keyof Base["ids"])[];
  /** Memory of a checkpoint that a crash may bring, with an id that is not known. */
  readonly comes?: Memory;
}

const CHANGES: readonly Change[] = [
  { name: "a save of all pages", act: (store) => saveMemory(store, OTHER), comes: OTHER },
  {
    name: "a save of a child",
    act: (store, { grandchild }) =>
      saveMemory(store, NEXT, { parent: grandchild, before: GRANDCHILD, active: [4, 5, 6] }),
    comes: NEXT,
  },
  { name: "deletion of a root", act: (store, { root }) => store.delete([root]), goes: ["root"] },
  {
    name: "deletion in between",
    act: (store, { child }) => store.delete([child]),
    goes: ["child"],
  },
  {
    name: "deletion of a leaf",
    act: (store, { grandchild }) => store.delete([grandchild]),
    goes: ["grandchild"],
  },
  {
    name: "deletion of a root and its child",
    act: (store, { root, child }) => store.delete([root, child]),
    goes: ["root", "child"],
  },
  {
    name: "a working set that is kept",
    act: async (store, { grandchild }) => {
      const open = await store.open(grandchild);
      try {
        await store.keepWorkingSet(open, Uint32Array.of(3, 1, 2));
      } finally {
        open.close();
      }
    },
  },
  {
    name: "deletion of all",
    act: (store, { root, child, grandchild }) => store.delete([root, child, grandchild]),
    goes: ["root", "child", "grandchild"],
  },
  {
    name: "a new label",
    act: async (store, { child }) => {
      await store.rename(child, "another label");
      assertEquals(labelOf(store, child), "another label");
    },
  },
];

const labelOf = (store: CheckpointStore, id: string) =>
  store.list().find((entry) => entry.id === id)?.head?.label;

/** Throws unless a store after a crash has what it must, and nothing half. */
async function check(files: CrashFiles, change: Change, base: Base, done: boolean): Promise<void> {
  const store = testStore(files, 77);
  const entries = store.list();
  for (const { problem } of entries) assert(problem === undefined, problem);
  const model = new Map(base.model);
  const ids = entries.map(({ id }) => id);
  for (const name of change.goes ?? []) {
    const id = base.ids[name];
    if (done || !ids.includes(id)) model.delete(id);
  }
  const news = ids.filter((id) => !base.model.has(id));
  assert(news.length <= 1 && (change.comes !== undefined || news.length === 0));
  if (news.length === 1) model.set(news[0]!, change.comes!);
  else assert(!done || change.comes === undefined, "what was acknowledged is there");
  await assertStore(store, model);
  const label = labelOf(store, base.ids.child);
  if (label !== undefined) assert(label === "label" || label === "another label");
}

/** Throws unless the store can be tidied up, and goes on. */
async function goOn(files: CrashFiles): Promise<void> {
  const store = testStore(files, 78);
  await store.collect();
  const ids = store.list().map(({ id }) => id);
  const id = await saveMemory(store, OTHER);
  await assertMemory(store, id, OTHER);
  await store.delete([...ids, id]);
  assertEquals(files.list(`${STORE}/packs`), []);
  assertEquals(files.list(`${STORE}/checkpoints`), []);
}

async function operationsOf(change: Change, base: Base): Promise<number> {
  const files = base.files.afterKill();
  await change.act(testStore(files, 50), base.ids);
  await check(files, change, base, true);
  for (let seed = 0; seed < 10; seed++) {
    await check(files.afterPowerCut(seed), change, base, true);
  }
  return files.operations;
}

const base = await makeBase();
let crashes = 0;

async function crashEverywhere(change: Change): Promise<void> {
  const operations = await operationsOf(change, base);
  assert(operations >= 5);
  for (let operation = 0; operation < operations; operation++) {
    for (let seed = 0; seed < POWER_CUTS; seed++) {
      const files = base.files.afterKill();
      files.crashAt(operation, 1000 * operation + seed);
      await change.act(testStore(files, 50), base.ids).catch(PowerCut.expected);
      assert(files.crashed, "the crash happened");
      const left = [files.afterKill(), files.afterPowerCut(seed), files.afterPowerCut(~seed)];
      for (const [how, after] of left.entries()) {
        crashes++;
        await check(after, change, base, false).catch((cause) => {
          const kind = how === 0 ? "killed" : "power cut";
          throw new Error(`operation ${operation}, seed ${seed}, ${kind}`, { cause });
        });
      }
      if (seed < 2) await goOn(left[seed]!);
    }
  }
}

Deno.test("2,000 crashes at every operation of all changes lose nothing", async (t) => {
  for (const change of CHANGES) await t.step(change.name, () => crashEverywhere(change));
  assert(crashes >= 2000, `${crashes} crashes`);
});

Deno.test("a crash of the collection that follows a crash loses nothing either", async () => {
  const change = CHANGES[3]!;
  const first = base.files.afterKill();
  const operations = await operationsOf(change, base);
  first.crashAt(operations - 4, 1);
  await change.act(testStore(first, 50), base.ids).catch(PowerCut.expected);
  const count = first.afterKill();
  await testStore(count, 51).collect();
  for (let operation = 0; operation < count.operations; operation++) {
    for (let seed = 0; seed < 6; seed++) {
      const files = first.afterKill();
      files.crashAt(operation, seed);
      await testStore(files, 51).collect().catch(PowerCut.expected);
      for (const after of [files.afterKill(), files.afterPowerCut(seed)]) {
        await check(after, change, base, false);
      }
    }
  }
});
