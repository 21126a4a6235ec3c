/** Claims about batches of clusters on their way between workers. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Broken } from "../../../kernel/base/assert.ts";
import {
  BATCH_BYTES,
  ClusterBatcher,
  clustersOf,
} from "../../../kernel/datastore/cluster_batch.ts";
import type { EncodedCluster } from "../../../kernel/datastore/pack_format.ts";
import { HASH_WORDS } from "../../../kernel/host/page_codec.ts";

const cluster = fc.record({
  bytes: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: BATCH_BYTES })),
  pages: fc.integer({ min: 1, max: 300 }),
  plain: fc.boolean(),
  crc: fc.integer({ min: 0, max: 0xffff_ffff }),
}).map(({ bytes, pages, plain, crc }): EncodedCluster => ({
  stored: new Uint8Array(bytes).map((_, i) => i * 7 + crc),
  plain,
  crc,
  hashes: new Uint32Array(pages * HASH_WORDS).map((_, i) => i + crc),
}));

Deno.test("clusters come out of batches as they went in, also by buffers that came back", () => {
  fc.assert(fc.property(fc.array(cluster, { maxLength: 12 }), (clusters) => {
    const batcher = new ClusterBatcher();
    const out: EncodedCluster[] = [];
    const send = () => {
      const batch = batcher.take();
      const copy = structuredClone(batch);
      out.push(...clustersOf(copy));
      const { buffer } = batch.bytes;
      new Uint8Array(buffer).fill(0xee);
      batcher.giveBack(buffer);
    };
    for (const one of clusters) {
      if (!batcher.hasRoomFor(one)) send();
      batcher.add(one);
    }
    assertEquals(batcher.isEmpty, clusters.length === 0);
    if (!batcher.isEmpty) send();
    assert(batcher.isEmpty);
    assertEquals(out, clusters);
  }));
});

Deno.test("a batch has room for the largest cluster alone, and refuses what does not fit", () => {
  const batcher = new ClusterBatcher();
  const large = (bytes: number) => ({
    stored: new Uint8Array(bytes),
    plain: true,
    crc: 0,
    hashes: new Uint32Array(HASH_WORDS),
  });
  assert(batcher.hasRoomFor(large(BATCH_BYTES)));
  batcher.add(large(1));
  assert(!batcher.hasRoomFor(large(BATCH_BYTES)));
  assertThrows(() => batcher.add(large(BATCH_BYTES)), Broken);
  assertThrows(() => batcher.giveBack(new ArrayBuffer(1)), Broken);
});
