/**
 * A checkpoint that is open: where each page is, and the pages (S17, S19.6, S19.7). It stays readable when
 * the checkpoint is deleted or its packs are replaced, because their files are open.
 *
 * Invariant: a page is given as it was saved, or a FormatError names checkpoint, guest page and pack.
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import { FormatError, HostError } from "../base/errors.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { PLAIN_PAGES_MAXIMUM } from "../datastore/pack_format.ts";
import { ClusterCache, PackReader } from "../datastore/pack_reader.ts";
import type { HostFile } from "../host/files.ts";
import type { PageCodec } from "../host/page_codec.ts";
import { type FlatMap, flatten, indexIn } from "../datastore/page_map.ts";
import type { CheckpointHead, CheckpointState } from "./checkpoint_format.ts";
import { checkMachineVersion } from "./checkpoint_format.ts";
import type { CheckpointFile } from "./checkpoint_file.ts";
import { named, type StoreFolder } from "./store_folder.ts";
import { loadWorkingSet, writeWorkingSet } from "./working_set.ts";

/**
 * Unpacked clusters, of 64 KiB, that those who share a checkpoint keep: as many as a guest of Linux wants in its
 * first seconds, which all its forks will want, too.
 */
const SHARED_CLUSTERS = 256;

/** Most active pages that are read ahead: 16 MiB. */
const PREPARED_PAGES_MAXIMUM = 4096;

/** What all that share an open checkpoint have together. */
interface Parts {
  readonly file: CheckpointFile;
  readonly chain: readonly CheckpointHead[];
  readonly map: FlatMap;
  readonly active: Uint32Array;
  readonly packs: readonly (PackReader | undefined)[];
  readonly codec: PageCodec;
  readonly workingSet: HostFile | undefined;
  readonly cache: ClusterCache;
  users: number;
}

/** An open checkpoint. */
export class OpenCheckpoint {
  /** What is known of it. */
  readonly head: CheckpointHead;
  /** Heads of it and its ancestors, the root first. */
  readonly chain: readonly CheckpointHead[];
  /** Where each page is; pages of pack 0 hold zeros. */
  readonly map: FlatMap;
  /** Runs of active pages: first page and pages of each, as they were given to the encoder. */
  readonly active: Uint32Array;
  readonly #parts: Parts;
  readonly #packs: readonly (PackReader | undefined)[];
  readonly #codec: PageCodec;
  readonly #workingSet: HostFile | undefined;
  readonly #cache: ClusterCache;
  #closed = false;
  /** The active pages, where they were read ahead. */
  #prepared: Uint8Array | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
    parts.users++;
    this.head = parts.file.head;
    this.chain = parts.chain;
    this.map = parts.map;
    this.active = parts.active;
    this.#packs = parts.packs;
    this.#codec = parts.codec;
    this.#workingSet = parts.workingSet;
    this.#cache = parts.cache;
  }

  /** Opens a checkpoint, whose store must be locked meanwhile. Throws FormatError and HostError. */
  static open(folder: StoreFolder, id: string): OpenCheckpoint {
    const chain = folder.chain(id);
    named(id, () => checkMachineVersion(chain.at(-1)!.head));
    const maps = chain.map((file) =>
      named(file.head.id, () => ({ map: file.map(), packs: file.head.packs }))
    );
    const map = named(id, () => flatten(maps, chain[0]!.head.memoryPages));
    const packs: (PackReader | undefined)[] = [undefined];
    try {
      map.packs.forEach((pack, i) => {
        const isUsed = map.packOf.includes(i + 1);
        packs.push(isUsed ? openPack(folder, id, pack) : undefined);
      });
      const { files, codec } = folder.host;
      const path = folder.workingSetPath(id);
      const workingSet = files.exists(path) ? files.open(path) : undefined;
      const file = chain.at(-1)!;
      return new OpenCheckpoint({
        file,
        chain: chain.map(({ head }) => head),
        map,
        active: named(id, () => file.active()),
        packs,
        codec,
        workingSet,
        cache: new ClusterCache(),
        users: 0,
      });
    } catch (error) {
      for (const pack of packs) pack?.close();
      throw error;
    }
  }

  /** The machine's state and what belongs to it. Throws FormatError. */
  get state(): CheckpointState {
    return named(this.head.id, () => this.#parts.file.state());
  }

  /** Guest pages that `active` names. */
  get activePages(): number {
    let pages = 0;
    for (let i = 1; i < this.active.length; i += 2) pages += this.active[i]!;
    return pages;
  }

  /** Whether a page holds zeros alone, by the map. */
  isZero(page: number): boolean {
    return this.map.packOf[page] === 0;
  }

  /** Reads a guest page; `into` may be a view of shared memory. Throws FormatError and HostError. */
  readPage(page: number, into: Uint8Array): void {
    assert(
      !this.#closed && page >= 0 && page < this.map.packOf.length && into.length === PAGE_BYTES,
    );
    const pack = this.#packs[this.map.packOf[page]!];
    if (pack === undefined) into.fill(0);
    else this.#named(page, () => pack.readPage(indexIn(this.map, page), into, this.#cache));
  }

  /**
   * Reads the active pages into guest RAM, which may be shared memory. Where the encoder was given them
   * together they are read in large parts. Throws FormatError and HostError.
   *
   * @param loaded is told of each run of pages that is in its place
   */
  loadActive(ram: Uint8Array, loaded: (first: number, pages: number) => void = () => {}): void {
    assert(!this.#closed && ram.length === this.map.packOf.length * PAGE_BYTES, "the guest's RAM");
    const prepared = this.#prepared;
    if (prepared === undefined) return this.#readActive(ram, false, loaded);
    for (let i = 0, at = 0; i < this.active.length; i += 2) {
      const [page, pages] = [this.active[i]!, this.active[i + 1]!];
      ram.set(prepared.subarray(at, at += pages * PAGE_BYTES), page * PAGE_BYTES);
      loaded(page, pages);
    }
  }

  /**
   * Reads and checks the active pages ahead, if they are not many: `loadActive` then only has to copy them, until
   * `forgetPrepared`. What cannot be read is told then.
   */
  prepareActive(): void {
    const pages = this.activePages;
    if (this.#closed || pages === 0 || pages > PREPARED_PAGES_MAXIMUM) return;
    const bytes = new Uint8Array(pages * PAGE_BYTES);
    try {
      this.#readActive(bytes, true);
      this.#prepared = bytes;
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof HostError)) throw error;
    }
  }

  /** Forgets what was read ahead: whoever goes on from here has loaded its first pages, whichever they are. */
  forgetPrepared(): void {
    this.#prepared = undefined;
  }

  /** Reads the active pages: each to its place in RAM, or all `together`, one behind the other. */
  #readActive(
    into: Uint8Array,
    together: boolean,
    loaded: (first: number, pages: number) => void = () => {},
  ): void {
    const staging = new Staging();
    for (let i = 0, before = 0; i < this.active.length; i += 2) {
      const [first, pages] = [this.active[i]!, this.active[i + 1]!];
      for (let done = 0; done < pages;) {
        const page = first + done;
        const place = (together ? before + done : page) * PAGE_BYTES;
        const count = this.#loadRun(page, pages - done, into.subarray(place), staging);
        loaded(page, count);
        done += count;
      }
      before += pages;
    }
  }

  /** Whether a working set was learned for it, which may be damaged. */
  get hasWorkingSet(): boolean {
    return this.#workingSet !== undefined;
  }

  /**
   * Reads the pages of its working set into guest RAM, which may be shared memory. Throws FormatError when the
   * working set is of no use: pages of which `loaded` was not told may hold anything then. Throws HostError.
   *
   * @param loaded is told of each run of pages that is in its place
   */
  loadWorkingSet(ram: Uint8Array, loaded: (first: number, pages: number) => void): void {
    const { head, map } = this;
    assert(!this.#closed && ram.length === map.packOf.length * PAGE_BYTES, "the guest's RAM");
    const file = this.#workingSet;
    if (file === undefined) return;
    try {
      loadWorkingSet(file, head, this.#codec, ram, loaded);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new FormatError(`the working set of checkpoint ${head.id}: ${error.message}`, {
        cause: error,
      });
    }
  }

  /**
   * Bytes of the working set that has these pages, but for those that hold zeros. Throws FormatError and
   * HostError.
   *
   * @param pages guest pages in the order of their first use, each once
   */
  workingSetOf(pages: Uint32Array): Uint8Array<ArrayBuffer> {
    const stored = pages.filter((page) => page < this.map.packOf.length && !this.isZero(page));
    return writeWorkingSet(
      this.head,
      stored,
      (page, into) => this.readPage(page, into),
      this.#codec,
    );
  }

  /** Guest pages that differ between two checkpoints of guests with as much memory. Throws FormatError. */
  differingPages(other: OpenCheckpoint): Uint32Array {
    const [a, b] = [this.map, other.map];
    assert(a.packOf.length === b.packOf.length, "both have as much memory");
    const [one, two] = [new Uint8Array(PAGE_BYTES), new Uint8Array(PAGE_BYTES)];
    const pages: number[] = [];
    for (let page = 0; page < a.packOf.length; page++) {
      const [packA, packB] = [a.packs[a.packOf[page]! - 1], b.packs[b.packOf[page]! - 1]];
      const isSame = packA === undefined || a.shiftOf[page] === b.shiftOf[page];
      if (packA === packB && isSame) continue;
      this.readPage(page, one);
      other.readPage(page, two);
      if (!equalBytes(one, two)) pages.push(page);
    }
    return Uint32Array.from(pages);
  }

  /** The same once more, for somebody else: files, and what was unpacked last, are shared. */
  share(): OpenCheckpoint {
    assert(!this.#closed, "what is shared is open");
    this.#cache.grow(SHARED_CLUSTERS);
    return new OpenCheckpoint(this.#parts);
  }

  /**
   * Forgets what was unpacked last, if none of those who share it has wanted anything since `before`, which an earlier
   * call gave: forks want the same pages in their first seconds, and few later.
   */
  forgetUnused(before: number): number {
    const { uses } = this.#cache;
    if (uses === before) this.#cache.clear();
    return uses;
  }

  /** Ends its use, and closes the files if nobody else shares them. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.forgetPrepared();
    if (--this.#parts.users > 0) return;
    for (const pack of this.#packs) pack?.close();
    this.#workingSet?.close();
    this.#cache.clear();
  }

  /** Loads pages from one on, at most so many, to the start of some memory; gives how many. */
  #loadRun(page: number, most: number, into: Uint8Array, staging: Staging): number {
    const { packOf, shiftOf } = this.map;
    const number = packOf[page]!;
    const pack = this.#packs[number];
    const target = (count: number) => into.subarray(0, count * PAGE_BYTES);
    return this.#named(page, () => {
      const run = pack?.plainRun(indexIn(this.map, page), most);
      if (pack === undefined || run === undefined) {
        this.readPage(page, target(1));
        return 1;
      }
      let count = 1;
      while (
        count < run.pages && packOf[page + count] === number &&
        shiftOf[page + count] === shiftOf[page]
      ) count++;
      const from = run.slot * PAGE_BYTES;
      const cluster = staging.read(pack, run.cluster);
      target(count).set(cluster.subarray(from, from + count * PAGE_BYTES));
      return count;
    });
  }

  #named<T>(page: number, act: () => T): T {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof FormatError) || error.message.startsWith("checkpoint ")) throw error;
      throw new FormatError(`checkpoint ${this.head.id}: guest page ${page}: ${error.message}`, {
        cause: error,
      });
    }
  }
}

/** Room for plain clusters, kept for the next that loads: to find memory takes longer than to read. */
let room = new Uint8Array(0);

/** The plain cluster that was read last. */
class Staging {
  #bytes = room;
  #pack: PackReader | undefined;
  #cluster = -1;

  read(pack: PackReader, cluster: number): Uint8Array {
    if (this.#pack === pack && this.#cluster === cluster) return this.#bytes;
    const { offsets } = pack.directory;
    const length = offsets[cluster + 1]! - offsets[cluster]!;
    assert(length <= PLAIN_PAGES_MAXIMUM * PAGE_BYTES);
    if (this.#bytes.length < length) this.#bytes = room = new Uint8Array(length);
    this.#pack = undefined;
    pack.readPlain(cluster, this.#bytes);
    [this.#pack, this.#cluster] = [pack, cluster];
    return this.#bytes;
  }
}

function openPack(folder: StoreFolder, id: string, pack: string): PackReader {
  const { files, codec } = folder.host;
  const path = folder.packPath(pack);
  if (!files.exists(path)) throw new FormatError(`checkpoint ${id}: pack ${pack} is missing`);
  return PackReader.open(files, path, pack, codec);
}
