/** Claims about packs: encoder, writer, reader, rewriter and dedup index. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { DedupIndex } from "../../../kernel/datastore/dedup_index.ts";
import { PackWriter } from "../../../kernel/datastore/pack_writer.ts";
import { ClusterCache, PackReader } from "../../../kernel/datastore/pack_reader.ts";
import { LivePages, rewritePack } from "../../../kernel/datastore/pack_rewriter.ts";
import { type EncodedPages, PageEncoder } from "../../../kernel/datastore/page_encoder.ts";
import { flatten, indexIn } from "../../../kernel/datastore/page_map.ts";
import { HASH_WORDS, hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import { type Memory, pageOf, samePage } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const ID = "0123456789abcdef0123456789abcdef";
const PATH = "pack";

async function makePack(
  files: CrashFiles,
  memory: Memory,
  active: readonly number[] = [],
  clusterPages?: number,
): Promise<EncodedPages> {
  const writer = new PackWriter({ files, codec, path: PATH, pack: { id: ID, generation: 0 } });
  const index = new DedupIndex();
  const encoder = new PageEncoder({ codec, index, pack: ID, ...clusterPages && { clusterPages } });
  memory.forEach((number, page) => {
    if (!active.includes(page)) encoder.add(page, pageOf(number));
  });
  for (const page of active) encoder.addActive(page, pageOf(memory[page]!));
  const pages = encoder.finish();
  writer.append(encoder.takeClusters());
  await writer.seal();
  writer.publish();
  return pages;
}

const openPack = (files: CrashFiles) => PackReader.open(files, PATH, ID, codec);

function assertPages(reader: PackReader, pages: EncodedPages, memory: Memory): void {
  const flat = flatten([pages], memory.length);
  const { packOf } = flat;
  const cache = new ClusterCache(3);
  const page = new Uint8Array(PAGE_BYTES);
  memory.forEach((number, at) => {
    assertEquals(packOf[at] === 0, number === 0);
    if (number === 0) return;
    reader.readPage(indexIn(flat, at), page, cache);
    assert(samePage(page, number), `page ${at}`);
  });
}

Deno.test("any pages, active or not, in clusters of any size, are read back", async () => {
  const number = fc.oneof(
    fc.constant(0),
    fc.integer({ min: 1, max: 30 }),
    fc.integer({ min: 1001, max: 1090 }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(number, { minLength: 1, maxLength: 90 }),
      fc.integer({ min: 1, max: 64 }),
      fc.nat(),
      async (memory, clusterPages, seed) => {
        const random = new Prng(seed);
        const active = [...memory.keys()].filter(() => random.below(3) === 0);
        const files = new CrashFiles();
        const pages = await makePack(files, memory, active, clusterPages);
        if (pages.counts.stored === 0) return assertEquals(files.list("."), []);
        const reader = openPack(files);
        assertPages(reader, pages, memory);
        reader.verify((_, problem) => {
          throw new Error(problem);
        });
        assertEquals(reader.footer.pages, pages.counts.stored);
        assertEquals(pages.counts.added, memory.length);
        assertEquals(pages.counts.zero + pages.counts.known + pages.counts.stored, memory.length);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("a page that is added again counts as it was the last time", async () => {
  const files = new CrashFiles();
  const writer = new PackWriter({ files, codec, path: PATH, pack: { id: ID, generation: 0 } });
  const encoder = new PageEncoder({ codec, index: new DedupIndex(), pack: ID });
  for (const [page, number] of [[3, 5], [1, 6], [3, 7], [2, 0], [1, 0], [2, 9]]) {
    encoder.add(page!, pageOf(number!));
  }
  const pages = encoder.finish();
  writer.append(encoder.takeClusters());
  await writer.seal();
  writer.publish();
  assertPages(openPack(files), pages, [0, 0, 9, 7]);
});

Deno.test("rewriting keeps live pages under their numbers, again and again", async () => {
  const files = new CrashFiles();
  const memory = Array.from({ length: 120 }, (_, i) => i % 2 ? 1100 + i : 1 + i);
  const active = Array.from({ length: 40 }, (_, i) => 60 + i);
  const pages = await makePack(files, memory, active);
  const flat = flatten([pages], memory.length);
  let left = [...memory.keys()];
  const random = new Prng(5);
  for (let generation = 1; generation <= 4; generation++) {
    left = left.filter(() => random.below(3) > 0);
    const live = new LivePages();
    for (const page of left) live.add(indexIn(flat, page), 1);
    assertEquals(live.count, left.length);
    const before = openPack(files);
    await rewritePack(before, live, { files, codec, path: PATH });
    const after = openPack(files);
    assertEquals(after.footer.generation, generation);
    assertEquals(after.footer.pages, left.length);
    const page = new Uint8Array(PAGE_BYTES);
    const cache = new ClusterCache();
    for (const at of memory.keys()) {
      const is = left.includes(at);
      assertEquals(after.has(indexIn(flat, at)), is);
      if (is) {
        after.readPage(indexIn(flat, at), page, cache);
        assert(samePage(page, memory[at]!));
      } else {
        assertThrows(
          () => after.readPage(indexIn(flat, at), page, cache),
          FormatError,
          "has no page",
        );
      }
    }
    const index = new DedupIndex();
    index.addPack(after.hashes());
    assertEquals(index.count, left.length);
    after.verify((_, problem) => {
      throw new Error(problem);
    });
    assert(after.bytes < before.bytes);
  }
});

Deno.test("every byte of a pack that is changed is found by verify, or changes nothing", async () => {
  const files = new CrashFiles();
  const memory = Array.from({ length: 40 }, (_, i) => 1 + i);
  await makePack(files, memory);
  const good = await files.readAll(PATH);
  for (let at = 0; at < good.length; at += at < 60 || at > good.length - 100 ? 1 : 61) {
    const file = files.open(PATH, { write: true });
    file.write(at, Uint8Array.of(good[at]! ^ 0x41));
    let found = 0;
    try {
      openPack(files).verify(() => found++);
    } catch (error) {
      assert(error instanceof FormatError && error.message.includes(ID), `${error}`);
      found++;
    }
    assert(found > 0, `the change of byte ${at} is found`);
    file.write(at, good.subarray(at, at + 1));
  }
  for (let length = 0; length < good.length; length += 97) {
    files.remove(PATH);
    files.create(PATH).write(0, good.subarray(0, length));
    assertThrows(() => openPack(files).directory, FormatError);
  }
});

Deno.test("a damaged plain page is refused alone and in a run", async () => {
  const files = new CrashFiles();
  const memory = Array.from({ length: 40 }, (_, i) => 1200 + i);
  const pages = await makePack(files, memory, [...memory.keys()]);
  assertEquals([...pages.active], [0, 40]);
  const file = files.open(PATH, { write: true });
  file.write(40 + 3 * PAGE_BYTES + 7, Uint8Array.of(1, 2, 3));
  const reader = openPack(files);
  const page = new Uint8Array(PAGE_BYTES);
  const cache = new ClusterCache();
  reader.readPage(2, page, cache);
  assert(samePage(page, 1202));
  assertThrows(() => reader.readPage(3, page, cache), FormatError, "hash of a page");
  assertEquals(reader.plainRun(3, 10), { cluster: 0, slot: 3, pages: 10 });
  const into = new Uint8Array(64 * PAGE_BYTES);
  assertThrows(() => reader.readPlain(0, into), FormatError, "checksum of cluster 0");
});

Deno.test("the dedup index finds what was added, in bounded space", () => {
  const random = new Prng(9);
  const hashes = new Uint32Array(HASH_WORDS * 40_000);
  for (let i = 0; i < hashes.length; i++) hashes[i] = random.u32();
  const index = new DedupIndex({ slotsMaximum: 2 ** 15 });
  index.addPack({ id: ID, generation: 3, hashes });
  assert(index.bytes <= 2 ** 15 * 24);
  const kept = index.count;
  assert(kept > 20_000 && kept < 2 ** 15 * 0.67);
  const moved = new DedupIndex(structuredClone(index.take()));
  assertEquals(moved.count, kept);
  for (let page = 0; page < 40_000; page++) {
    const slot = moved.find(hashes, HASH_WORDS * page);
    assertEquals(slot >= 0, page < kept);
    if (slot >= 0) assertEquals([moved.packId(moved.packAt(slot)), moved.pageAt(slot)], [ID, page]);
  }
  assertEquals(moved.isStale([{ id: ID, generation: 3 }]), false);
  assertEquals(moved.isStale([{ id: ID, generation: 4 }]), true);
  assertEquals(moved.isStale([]), true);
});

Deno.test("hashes are the first 128 bits of SHA-256, also of shared memory", async () => {
  const page = new Uint8Array(new SharedArrayBuffer(PAGE_BYTES));
  page.set(pageOf(1234));
  const words = new Uint32Array(6);
  codec.hash(page, words, 1);
  const digest = new Uint32Array(await crypto.subtle.digest("SHA-256", page.slice()));
  assertEquals([...words], [0, ...digest.subarray(0, 4), 0]);
});
