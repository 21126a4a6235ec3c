/**
 * Makes clusters and references of the pages of one save (S17.6): the half of a save that needs no
 * permission, so that it can run in a worker beside the VM. Pages are looked for in the dedup index; new ones
 * are collected, compressed, and given to whoever writes the pack (pack_writer.ts).
 *
 * A page is copied first and hashed from the copy, so what is stored is what was hashed, whatever happens to
 * the original meanwhile. Active pages (S19) are not looked for and not compressed: they lie in the pack one
 * after another, so that many are read at once.
 *
 * Invariants: clusters are given away in the order of the pages' numbers; the last content that was added
 * for a page counts.
 */
import { assert } from "../base/assert.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { HASH_WORDS, type PageCodec } from "../host/page_codec.ts";
import type { DedupIndex } from "./dedup_index.ts";
import { CLUSTER_PAGES, CLUSTER_PAGES_MAXIMUM, type EncodedCluster } from "./pack_format.ts";
import { type PackedMap, RunBuilder, withoutUnusedPacks } from "./page_map.ts";
import { WordList } from "./word_list.ts";

/** Pages of a plain cluster as they are made: 1 MiB. */
const PLAIN_CLUSTER_PAGES = 256;
/** A compressed form must be at least this much smaller, or it is not worth unpacking. */
const WORTH = 15 / 16;

/** What pages were, of a save. */
export interface PageCounts {
  /** Pages that were added; each time counts. */
  readonly added: number;
  /** Of those, pages of zeros. */
  readonly zero: number;
  /** Of those, pages that were stored already. */
  readonly known: number;
  /** Of those, pages that went into the pack. */
  readonly stored: number;
  /** Bytes of the clusters. */
  readonly storedBytes: number;
}

/** Where the pages of a save are. */
export interface EncodedPages extends PackedMap {
  readonly counts: PageCounts;
  /** Runs of active pages: first page and pages of each, in the order in which they lie in the pack. */
  readonly active: Uint32Array;
}

/** Options of an encoder. */
export interface PageEncoderOptions {
  readonly codec: PageCodec;
  /** Pages that are stored already; those of this save are added. */
  readonly index: DedupIndex;
  /** Id of the pack that the save makes. */
  readonly pack: string;
  /** Pages of a compressed cluster. */
  readonly clusterPages?: number;
}

/** A buffer of pages whose words can be looked at. */
class Pages {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly hashes: Uint32Array<ArrayBuffer>;
  /** Pages in it. */
  count = 0;
  readonly #words: Int32Array;

  constructor(readonly capacity: number) {
    this.bytes = new Uint8Array(capacity * PAGE_BYTES);
    this.#words = new Int32Array(this.bytes.buffer);
    this.hashes = new Uint32Array(capacity * HASH_WORDS);
  }

  get full(): boolean {
    return this.count === this.capacity;
  }

  /** Copies a page behind the last one; gives whether it is zero. It counts once `count` is raised. */
  put(contents: Uint8Array): boolean {
    assert(contents.length === PAGE_BYTES, "the contents of a page");
    this.bytes.set(contents, this.count * PAGE_BYTES);
    const words = this.#words;
    const start = this.count * PAGE_BYTES / 4;
    const end = start + PAGE_BYTES / 4;
    for (let i = start; i < end; i += 4) {
      if ((words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!) !== 0) return false;
    }
    return true;
  }

  hash(codec: PageCodec): number {
    const start = this.count * PAGE_BYTES;
    const at = this.count * HASH_WORDS;
    codec.hash(this.bytes.subarray(start, start + PAGE_BYTES), this.hashes, at);
    return at;
  }

  contents(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.count * PAGE_BYTES);
  }

  takeHashes(): Uint32Array<ArrayBuffer> {
    return this.hashes.slice(0, this.count * HASH_WORDS);
  }
}

/** Makes a cluster of pages, compressed if that is worth it. */
export function encodeCluster(
  contents: Uint8Array,
  hashes: Uint32Array<ArrayBuffer>,
  codec: PageCodec,
): EncodedCluster {
  const packed = codec.pack(contents);
  const plain = packed.length > contents.length * WORTH;
  const stored = plain ? contents.slice() : packed;
  return { stored, plain, crc: codec.crc32(stored), hashes };
}

/** The encoder of one save. */
export class PageEncoder {
  readonly #codec: PageCodec;
  readonly #index: DedupIndex;
  readonly #own: number;
  readonly #open: Pages;
  #active: Pages | undefined;
  readonly #activeRuns = new WordList();
  #clusters: EncodedCluster[] = [];
  /** Page, pack counted from 1 (0: zeros) and number in it, of each page that was added. */
  readonly #references = new WordList();
  #rises = true;
  #lastPage = -1;
  #next = 0;
  #counts = { added: 0, zero: 0, known: 0, stored: 0, storedBytes: 0 };

  constructor(options: PageEncoderOptions) {
    const { codec, index, pack, clusterPages = CLUSTER_PAGES } = options;
    assert(clusterPages > 0 && clusterPages <= CLUSTER_PAGES_MAXIMUM);
    this.#codec = codec;
    this.#index = index;
    this.#own = index.pack({ id: pack, generation: 0 });
    this.#open = new Pages(clusterPages);
  }

  /** What pages were, so far. */
  get counts(): PageCounts {
    return { ...this.#counts };
  }

  /** Adds a guest page with its contents, which are copied. */
  add(page: number, contents: Uint8Array): void {
    this.#closeActive();
    const open = this.#open;
    this.#counts.added++;
    if (open.put(contents)) {
      this.#counts.zero++;
      return this.#refer(page, 0, 0);
    }
    const at = open.hash(this.#codec);
    const slot = this.#index.find(open.hashes, at);
    if (slot >= 0) {
      this.#counts.known++;
      return this.#refer(page, this.#index.packAt(slot) + 1, this.#index.pageAt(slot));
    }
    this.#index.add(open.hashes, at, this.#own, this.#next);
    open.count++;
    this.#store(page);
    if (open.full) this.#closeOpen();
  }

  /** Adds a guest page that is known to hold zeros. */
  addZero(page: number): void {
    this.#counts.added++;
    this.#counts.zero++;
    this.#refer(page, 0, 0);
  }

  /**
   * Adds a guest page that a resume should load before the VM starts. One that holds zeros is only referred
   * to. Most is gained when these pages come together and in rising order.
   */
  addActive(page: number, contents: Uint8Array): void {
    this.#closeOpen();
    const active = this.#active ??= new Pages(PLAIN_CLUSTER_PAGES);
    this.#counts.added++;
    if (active.put(contents)) {
      this.#counts.zero++;
      return this.#refer(page, 0, 0);
    }
    this.#index.add(active.hashes, active.hash(this.#codec), this.#own, this.#next);
    active.count++;
    this.#store(page);
    const runs = this.#activeRuns.view();
    const last = runs.length - 2;
    if (last >= 0 && runs[last]! + runs[last + 1]! === page) runs[last + 1]!++;
    else this.#activeRuns.append(Uint32Array.of(page, 1));
    if (active.full) this.#closeActive();
  }

  /** Takes the clusters that are ready. Their bytes are the caller's. */
  takeClusters(): EncodedCluster[] {
    const clusters = this.#clusters;
    this.#clusters = [];
    return clusters;
  }

  /** Ends the save's pages. Clusters may be left to take. */
  finish(): EncodedPages {
    this.#closeOpen();
    this.#closeActive();
    const packs: string[] = [];
    const references = this.#references.view();
    const builder = new RunBuilder();
    const order = this.#rises ? undefined : this.#sorted(references);
    const count = order?.length ?? references.length / 3;
    let most = 0;
    for (let i = 0; i < count; i++) {
      const at = 3 * (order === undefined ? i : order[i]!);
      const pack = references[at + 1]!;
      most = Math.max(most, pack);
      builder.add(references[at]!, pack, references[at + 2]!);
    }
    for (let pack = 0; pack < most; pack++) packs.push(this.#index.packId(pack));
    return {
      ...withoutUnusedPacks({ map: builder.finish(), packs }),
      counts: this.counts,
      active: this.#activeRuns.take(),
    };
  }

  #store(page: number): void {
    this.#counts.stored++;
    this.#refer(page, this.#own + 1, this.#next++);
  }

  #refer(page: number, pack: number, index: number): void {
    if (page <= this.#lastPage) this.#rises = false;
    this.#lastPage = page;
    this.#references.push(page);
    this.#references.push(pack);
    this.#references.push(index);
  }

  /** Places of references in the order of their pages, the last of each page alone. */
  #sorted(references: Uint32Array): Uint32Array {
    const count = references.length / 3;
    let end = 0;
    for (let i = 0; i < count; i++) end = Math.max(end, references[3 * i]! + 1);
    // One more than the place, by page: guests are not so large that this would matter.
    const last = new Uint32Array(end);
    for (let i = 0; i < count; i++) last[references[3 * i]!] = i + 1;
    return last.filter((place) => place !== 0).map((place) => place - 1);
  }

  #closeOpen(): void {
    const open = this.#open;
    if (open.count === 0) return;
    this.#push(encodeCluster(open.contents(), open.takeHashes(), this.#codec));
    open.count = 0;
  }

  #closeActive(): void {
    const active = this.#active;
    if (active === undefined || active.count === 0) return;
    const stored = active.contents().slice();
    const crc = this.#codec.crc32(stored);
    this.#push({ stored, plain: true, crc, hashes: active.takeHashes() });
    active.count = 0;
  }

  #push(cluster: EncodedCluster): void {
    this.#counts.storedBytes += cluster.stored.length;
    this.#clusters.push(cluster);
  }
}
