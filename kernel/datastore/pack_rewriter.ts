/**
 * Makes a pack smaller: the next generation of it has only the pages that are still referred to, under the
 * numbers that they had (issue 5, "delete with garbage collection").
 *
 * Invariants: pages are taken from clusters whose checksums hold, or the pack stays as it is; plain pages
 * stay plain, and next to each other.
 */
import { assert } from "../base/assert.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { HostFiles } from "../host/files.ts";
import { HASH_WORDS, type PageCodec } from "../host/page_codec.ts";
import { type EncodedCluster, PLAIN_PAGES_MAXIMUM } from "./pack_format.ts";
import type { PackReader } from "./pack_reader.ts";
import { PackWriter } from "./pack_writer.ts";
import { encodeCluster } from "./page_encoder.ts";

/** Which of a pack's pages are referred to, one bit each. */
export class LivePages {
  /** How many there are. */
  count = 0;
  #bits = new Uint8Array(1024);

  /** Marks pages. */
  add(first: number, count: number): void {
    const end = first + count;
    if (end > 8 * this.#bits.length) {
      const bits = new Uint8Array(Math.max(2 * this.#bits.length, Math.ceil(end / 8)));
      bits.set(this.#bits);
      this.#bits = bits;
    }
    for (let page = first; page < end; page++) {
      if (this.has(page)) continue;
      this.#bits[page >> 3]! |= 1 << (page & 7);
      this.count++;
    }
  }

  /** Whether a page is marked. */
  has(page: number): boolean {
    return (this.#bits[page >> 3]! >> (page & 7) & 1) !== 0;
  }
}

/** Where to and with what. */
export interface RewriteOptions {
  readonly files: HostFiles;
  readonly codec: PageCodec;
  /** Name of the pack's file, which is replaced. */
  readonly path: string;
}

/** Replaces a pack by one with the live pages only. Rejects with FormatError and HostError; then it stays. */
export async function rewritePack(
  reader: PackReader,
  live: LivePages,
  options: RewriteOptions,
): Promise<void> {
  const { id, footer } = reader;
  assert(live.count < footer.pages, "a pack that is rewritten becomes smaller");
  const pack = { id, generation: footer.generation + 1 };
  const writer = new PackWriter({ ...options, pack });
  try {
    const { hashes } = reader.hashes();
    for (let cluster = 0; cluster < footer.clusters; cluster++) {
      const kept = keptOf(reader, cluster, live, hashes, options.codec);
      if (kept !== undefined) writer.append([kept.cluster], [kept.numbers]);
    }
    await writer.seal(footer.numbers);
    writer.publish();
  } catch (error) {
    writer.abort();
    throw error;
  }
}

interface Kept {
  readonly cluster: EncodedCluster;
  readonly numbers: Uint32Array<ArrayBuffer>;
}

function keptOf(
  reader: PackReader,
  cluster: number,
  live: LivePages,
  hashes: Uint32Array,
  codec: PageCodec,
): Kept | undefined {
  const all = reader.numbersOf(cluster);
  const slots = [...all.keys()].filter((slot) => live.has(all[slot]!));
  if (slots.length === 0) return undefined;
  const first = reader.directory.firsts[cluster]!;
  const ownHashes = new Uint32Array(HASH_WORDS * slots.length);
  slots.forEach((slot, i) => {
    const at = HASH_WORDS * (first + slot);
    ownHashes.set(hashes.subarray(at, at + HASH_WORDS), HASH_WORDS * i);
  });
  const contents = reader.cluster(cluster);
  const numbers = Uint32Array.from(slots, (slot) => all[slot]!);
  const plain = reader.directory.plain[cluster] === 1;
  if (slots.length === all.length) {
    const stored = plain ? contents.slice() : reader.stored(cluster);
    return {
      cluster: { stored, plain, crc: codec.crc32(stored), hashes: ownHashes },
      numbers,
    };
  }
  const left = new Uint8Array(PAGE_BYTES * slots.length);
  slots.forEach((slot, i) => {
    left.set(contents.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES), PAGE_BYTES * i);
  });
  if (!plain || slots.length > PLAIN_PAGES_MAXIMUM) {
    return { cluster: encodeCluster(left, ownHashes, codec), numbers };
  }
  return {
    cluster: { stored: left, plain, crc: codec.crc32(left), hashes: ownHashes },
    numbers,
  };
}
