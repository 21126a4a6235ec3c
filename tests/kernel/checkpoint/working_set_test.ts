/** Working sets: what was learned is loaded, what is damaged is refused, and they go with their checkpoints. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../../kernel/base/errors.ts";
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import {
  loadWorkingSet,
  WORKING_SET_PAGES_MAXIMUM,
  writeWorkingSet,
} from "../../../kernel/checkpoint/working_set.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import { pageOf, samePage, saveMemory, STORE, testStore } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const ID = "0123456789abcdef0123456789abcdef";
const read = (page: number, into: Uint8Array) => into.set(pageOf(page + 1));

function fileOf(bytes: Uint8Array) {
  const files = new CrashFiles();
  files.create("w").write(0, bytes);
  return files.open("w");
}

/** Loads; gives the pages that are there. */
function load(
  bytes: Uint8Array,
  memoryPages: number,
  id = ID,
): { ram: Uint8Array; pages: number[] } {
  const ram = new Uint8Array(memoryPages * PAGE_BYTES);
  const pages: number[] = [];
  loadWorkingSet(fileOf(bytes), { id, memoryPages }, codec, ram, (first, count) => {
    for (let i = 0; i < count; i++) pages.push(first + i);
  });
  return { ram, pages };
}

Deno.test("what a working set has is loaded, each page to its place, and nothing else", () => {
  const lists = fc.uniqueArray(fc.nat(599), { maxLength: 600 });
  fc.assert(
    fc.property(lists, (list) => {
      const of = { id: ID, memoryPages: 600 };
      const { ram, pages } = load(writeWorkingSet(of, Uint32Array.from(list), read, codec), 600);
      assertEquals(pages, list.toSorted((a, b) => a - b));
      const has = new Set(list);
      for (let page = 0; page < 600; page++) {
        const bytes = ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
        assert(samePage(bytes, has.has(page) ? page + 1 : 0), `page ${page}`);
      }
    }),
    { numRuns: 15 },
  );
});

Deno.test("of too many pages those that were used first are kept", () => {
  const many = WORKING_SET_PAGES_MAXIMUM + 10;
  const list = Uint32Array.from({ length: many }, (_, i) => many - i);
  const of = { id: ID, memoryPages: many + 1 };
  const bytes = writeWorkingSet(of, list, () => {}, codec);
  assertEquals(bytes.length, (WORKING_SET_PAGES_MAXIMUM + 1) * PAGE_BYTES);
});

Deno.test("a damaged working set is refused; pages that it told of are right", () => {
  const list = Uint32Array.from([
    5,
    6,
    7,
    300,
    20,
    ...Array.from({ length: 260 }, (_, i) => 320 + i),
  ]);
  const good = writeWorkingSet({ id: ID, memoryPages: 600 }, list, read, codec);
  const damage = fc.record({ at: fc.nat(good.length - 1), by: fc.integer({ min: 1, max: 255 }) });
  fc.assert(
    fc.property(damage, ({ at, by }) => {
      const bytes = good.slice();
      bytes[at]! ^= by;
      const ram = new Uint8Array(600 * PAGE_BYTES);
      const told = (first: number, count: number) => {
        for (let page = first; page < first + count; page++) {
          assert(samePage(ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), page + 1));
        }
      };
      try {
        loadWorkingSet(fileOf(bytes), { id: ID, memoryPages: 600 }, codec, ram, told);
        // Between the lists and the contents there is room that means nothing.
        assert(at < PAGE_BYTES && at > 48 + 8 + 8 * 5, `a change at ${at} was not seen`);
      } catch (error) {
        assert(error instanceof FormatError, `${error}`);
      }
    }),
    { numRuns: 200 },
  );
  for (const length of [0, 47, 48, PAGE_BYTES, good.length - 1]) {
    assertThrows(() => load(good.subarray(0, length), 600), FormatError, "cut short");
  }
  assertThrows(() => load(good, 601), FormatError, "another checkpoint");
  assertThrows(() => load(good, 600, ID.replace("0", "f")), FormatError, "another checkpoint");
});

const MEMORY = [1, 2, 0, 4, 5, 1006, 7, 0];

/** Pages that the working set of a checkpoint brings. */
async function loaded(store: ReturnType<typeof testStore>, id: string): Promise<number[]> {
  const open = await store.open(id);
  const pages: number[] = [];
  const ram = new Uint8Array(MEMORY.length * PAGE_BYTES);
  try {
    open.loadWorkingSet(ram, (first, count) => {
      for (let i = 0; i < count; i++) pages.push(first + i);
    });
  } finally {
    open.close();
  }
  for (const page of pages) {
    assert(samePage(ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), MEMORY[page]!));
  }
  return pages;
}

async function keep(store: ReturnType<typeof testStore>, id: string, pages: number[]) {
  const open = await store.open(id);
  try {
    await store.keepWorkingSet(open, Uint32Array.from(pages));
  } finally {
    open.close();
  }
}

Deno.test("a store keeps the working set of a checkpoint until that is deleted", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const id = await saveMemory(store, MEMORY);
  assertEquals(await loaded(store, id), []);
  await keep(store, id, [5, 7, 1, 2]);
  // Pages of zeros need not be loaded.
  assertEquals(await loaded(store, id), [1, 5]);
  await keep(store, id, [0, 3]);
  assertEquals(await loaded(store, id), [0, 3]);
  await store.rename(id, "another name");
  assertEquals(await loaded(store, id), [0, 3]);
  const open = await store.open(id);
  await store.delete([id]);
  assertEquals(files.list(`${STORE}/checkpoints`), []);
  // What was opened before stays readable; there is nothing to keep one for.
  await assertRejects(() => store.keepWorkingSet(open, Uint32Array.of(1)), Error, "no checkpoint");
  open.close();
});

Deno.test("a working set whose checkpoint is gone is collected", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const id = await saveMemory(store, MEMORY);
  await keep(store, id, [0]);
  files.remove(`${STORE}/checkpoints/${id}.checkpoint`);
  await store.collect();
  assertEquals(files.list(`${STORE}/checkpoints`), []);
});

Deno.test("a crash while a working set is kept leaves the old one or the new one", async () => {
  for (let operation = 0;; operation++) {
    const files = new CrashFiles();
    const store = testStore(files);
    const id = await saveMemory(store, MEMORY);
    await keep(store, id, [0]);
    files.crashAt(files.operations + operation, operation);
    await keep(store, id, [1, 3]).catch(() => {});
    const crashed = files.crashed;
    const after = testStore(files.otherProcess(), 2);
    const pages = await loaded(after, id);
    assert(pages.join() === "0" || pages.join() === "1,3", pages.join());
    await after.collect();
    assertEquals((await after.verify()).length, 0);
    assertEquals(files.otherProcess().list(`${STORE}/checkpoints`).length, 2);
    if (!crashed) {
      assertEquals(pages, [1, 3]);
      return;
    }
  }
});
