/** The claim that pages can be encoded where nothing is permitted, straight from a VM's shared memory. */
import { assert, assertEquals } from "@std/assert";
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { DedupIndex } from "../../../kernel/datastore/dedup_index.ts";
import type { EncodedCluster } from "../../../kernel/datastore/pack_format.ts";
import type { EncodedPages } from "../../../kernel/datastore/page_encoder.ts";
import {
  aboutOf,
  assertMemory,
  indexOf,
  pageOf,
  saveMemory,
  stateOf,
  testStore,
} from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";
import type { EncoderOrder } from "./encoder_world.ts";

Deno.test("a worker without permissions encodes shared memory for a save", async () => {
  const memory = Array.from({ length: 64 }, (_, i) => i % 3 === 0 ? 0 : 1001 + i);
  const wasm = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
  memory.forEach((number, page) => {
    new Uint8Array(wasm.buffer).set(pageOf(number), page * PAGE_BYTES);
  });
  const store = testStore(new CrashFiles());
  await saveMemory(store, memory.slice(0, 20));
  const save = await store.beginSave({ memoryPages: memory.length });
  const worker = new Worker(new URL("encoder_world.ts", import.meta.url), {
    type: "module",
    deno: { permissions: "none" },
  });
  const index: DedupIndex = indexOf(save);
  const order: EncoderOrder = { memory: wasm, index: index.take(), pack: save.packId };
  const { promise, resolve, reject } = Promise.withResolvers<{
    pages: EncodedPages;
    clusters: EncodedCluster[];
  }>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => reject(new Error(event.message));
  worker.postMessage(order, [order.index.words.buffer]);
  const { pages, clusters } = await promise;
  worker.terminate();
  assert(pages.counts.known > 0 && pages.counts.stored > 0 && pages.counts.zero > 0);
  assertEquals(pages.counts.known, memory.slice(0, 20).filter((number) => number > 0).length);
  save.append(clusters);
  await save.commit(aboutOf(), stateOf(memory), pages);
  await assertMemory(store, save.id, memory);
});
