/** A worker without permissions that encodes pages of shared memory: a part of encoder_worker_test.ts. */
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { DedupIndex, type DedupState } from "../../../kernel/datastore/dedup_index.ts";
import { PageEncoder } from "../../../kernel/datastore/page_encoder.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";

/** What the worker is told. */
export interface EncoderOrder {
  readonly memory: WebAssembly.Memory;
  readonly index: DedupState;
  readonly pack: string;
}

addEventListener("message", ({ data }: MessageEvent<EncoderOrder>) => {
  const ram = new Uint8Array(data.memory.buffer);
  const encoder = new PageEncoder({ codec, index: new DedupIndex(data.index), pack: data.pack });
  for (let page = 0; page < ram.length / PAGE_BYTES; page++) {
    encoder.add(page, ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
  }
  const pages = encoder.finish();
  const clusters = encoder.takeClusters();
  const moved = clusters.flatMap(({ stored, hashes }) => [stored.buffer, hashes.buffer]);
  postMessage({ pages, clusters }, { transfer: moved });
});
