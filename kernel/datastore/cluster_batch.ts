/**
 * Clusters on their way from the encoder's worker to whoever writes the pack (S17.6): many in one buffer,
 * because a message for each 64 KiB costs both worlds as much as the compression does, and buffers that are
 * handed back are memory that the host need not find again.
 *
 *     bytes       stored forms, one after another
 *     directory   for each cluster its row in a pack's directory (pack_format.ts)
 *     hashes      four words for each page
 *
 * Invariant: clusters come out in the order in which they went in.
 */
import { assert } from "../base/assert.ts";
import { HASH_WORDS } from "../host/page_codec.ts";
import {
  DIRECTORY_WORDS,
  directoryRow,
  type EncodedCluster,
  readDirectoryRow,
} from "./pack_format.ts";
import { WordList } from "./word_list.ts";

/** Bytes of a batch's buffer: as many as the largest cluster that is made. */
export const BATCH_BYTES = 1024 * 1024;

/** Clusters, ready to be moved. */
export interface ClusterBatch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly directory: Uint32Array<ArrayBuffer>;
  readonly hashes: Uint32Array<ArrayBuffer>;
}

/** Collects clusters. */
export class ClusterBatcher {
  #buffers: ArrayBuffer[] = [];
  #open: Uint8Array<ArrayBuffer> | undefined;
  #length = 0;
  readonly #directory = new WordList();
  readonly #hashes = new WordList();

  /** Whether a cluster fits beside those that wait: one always does where none waits. */
  hasRoomFor({ stored }: EncodedCluster): boolean {
    return this.#length + stored.length <= BATCH_BYTES;
  }

  /** Whether clusters wait. */
  get isEmpty(): boolean {
    return this.#directory.length === 0;
  }

  /** Adds a cluster, for which there is room. */
  add(cluster: EncodedCluster): void {
    assert(this.hasRoomFor(cluster), "a batch has room for its clusters");
    this.#open ??= new Uint8Array(this.#buffers.pop() ?? new ArrayBuffer(BATCH_BYTES));
    this.#open.set(cluster.stored, this.#length);
    this.#length += cluster.stored.length;
    this.#directory.append(directoryRow(cluster));
    this.#hashes.append(cluster.hashes);
  }

  /** Takes what waits; its buffers are the caller's. */
  take(): ClusterBatch {
    assert(this.#open !== undefined, "clusters wait");
    const batch = {
      bytes: this.#open.subarray(0, this.#length),
      directory: this.#directory.take(),
      hashes: this.#hashes.take(),
    };
    this.#open = undefined;
    this.#length = 0;
    this.#directory.clear();
    this.#hashes.clear();
    return batch;
  }

  /** Gets the buffer of a batch back, for another one. */
  giveBack(buffer: ArrayBuffer): void {
    assert(buffer.byteLength === BATCH_BYTES, "the buffer of a batch");
    this.#buffers.push(buffer);
  }
}

/** The clusters of a batch, which share its buffers. */
export function clustersOf({ bytes, directory, hashes }: ClusterBatch): EncodedCluster[] {
  let [offset, page] = [0, 0];
  return Array.from({ length: directory.length / DIRECTORY_WORDS }, (_, i) => {
    const { storedBytes, pages, plain, crc } = readDirectoryRow(directory, i);
    const cluster = {
      stored: bytes.subarray(offset, offset + storedBytes),
      plain,
      crc,
      hashes: hashes.subarray(page * HASH_WORDS, (page + pages) * HASH_WORDS),
    };
    offset += storedBytes;
    page += pages;
    return cluster;
  });
}
