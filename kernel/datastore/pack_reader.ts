/**
 * Reads packs: single pages through a cache of unpacked clusters, and stretches of plain pages straight into
 * memory (S17, S19). An open pack stays readable when its file is replaced or removed.
 *
 * Invariants: stored bytes are only used when their checksum holds; what is wrong with a file is a
 * FormatError that names the pack.
 */
import { FormatError } from "../base/errors.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { HostFile, HostFiles } from "../host/files.ts";
import { HASH_WORDS, type PageCodec } from "../host/page_codec.ts";
import type { PackHashes } from "./dedup_index.ts";
import {
  checkTable,
  CLUSTER_PAGES,
  HASH_BYTES,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  type PackDirectory,
  type PackFooter,
  readPackDirectory,
  readPackFooter,
  readPackHeader,
  tableSizes,
} from "./pack_format.ts";

/** Clusters that were unpacked last, of several packs. */
export class ClusterCache {
  readonly #clusters = new Map<string, Uint8Array>();
  #uses = 0;

  /** @param capacity most clusters */
  constructor(private capacity = 64) {}

  /** Keeps at least so many from now on. */
  grow(capacity: number): void {
    this.capacity = Math.max(this.capacity, capacity);
  }

  /** A cluster that is kept, or what `make` gives. */
  get(key: string, make: () => Uint8Array): Uint8Array {
    this.#uses++;
    let cluster = this.#clusters.get(key);
    if (cluster !== undefined) this.#clusters.delete(key);
    else cluster = make();
    this.#clusters.set(key, cluster);
    if (this.#clusters.size > this.capacity) {
      this.#clusters.delete(this.#clusters.keys().next().value!);
    }
    return cluster;
  }

  /** How often it was asked. */
  get uses(): number {
    return this.#uses;
  }

  /** Forgets all. Nobody holds what `get` gave. */
  clear(): void {
    for (const { buffer, length } of this.#clusters.values()) {
      // At once, which garbage collection would do late. One that is larger may be somebody else's, too.
      if (buffer.byteLength <= length + 1 && buffer instanceof ArrayBuffer) buffer.transfer(0);
    }
    this.#clusters.clear();
  }
}

/** Pages in a plain cluster. */
export interface PlainRun {
  readonly cluster: number;
  /** Pages of the cluster before them. */
  readonly slot: number;
  readonly pages: number;
}

/** A page's place. */
interface Place {
  readonly cluster: number;
  /** Pages of the cluster before it. */
  readonly slot: number;
}

/** An open pack. */
export class PackReader {
  #footer: PackFooter | undefined;
  #directory: PackDirectory | undefined;

  private constructor(
    /** Its id. */
    readonly id: string,
    private readonly file: HostFile,
    private readonly codec: PageCodec,
  ) {}

  /** Opens a pack without reading it. Throws HostError. */
  static open(files: HostFiles, path: string, id: string, codec: PageCodec): PackReader {
    return new PackReader(id, files.open(path), codec);
  }

  /** What its footer says. Throws FormatError and HostError. */
  get footer(): PackFooter {
    return this.#footer ??= this.#named(() => this.#readFooter());
  }

  /** Bytes of the file. */
  get bytes(): number {
    return this.file.size;
  }

  /** Where its clusters are. Throws FormatError and HostError. */
  get directory(): PackDirectory {
    return this.#directory ??= this.#named(() => {
      const { footer } = this;
      const [directory, numbers] = tableSizes(footer);
      const words = this.#readWords(this.#tablesAt(), directory + numbers);
      return readPackDirectory(words, footer, this.file.size, this.codec);
    });
  }

  /** Hashes of its pages, for a dedup index. Throws FormatError and HostError. */
  hashes(): PackHashes {
    const { id, footer, directory } = this;
    const [skipped, more, bytes] = tableSizes(footer);
    const hashes = this.#named(() => {
      const words = this.#readWords(this.#tablesAt() + skipped + more, bytes);
      checkTable(words, footer.hashesCrc, "page hashes", this.codec);
      return words;
    });
    return { id, generation: footer.generation, hashes, numbers: directory.numbers };
  }

  /** Whether it has a page of this number. Throws FormatError and HostError. */
  has(page: number): boolean {
    return this.#rankOf(page) >= 0;
  }

  /** Reads one page. Throws FormatError and HostError. */
  readPage(page: number, into: Uint8Array, cache: ClusterCache): void {
    const { cluster, slot } = this.#placeOf(page);
    const { plain, firsts } = this.directory;
    if (plain[cluster] === 1 && pagesIn(this.directory, cluster) > CLUSTER_PAGES) {
      this.#readPlainPage(firsts[cluster]! + slot, this.#offsetOf(cluster, slot), into);
      return;
    }
    const contents = cache.get(`${this.id} ${cluster}`, () => this.cluster(cluster));
    into.set(contents.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES));
  }

  /**
   * Where a page and those behind it lie in a plain cluster: at most `most` pages with rising numbers;
   * undefined when the page is compressed. Throws FormatError.
   */
  plainRun(page: number, most: number): PlainRun | undefined {
    const { plain, firsts, numbers } = this.directory;
    const { cluster, slot } = this.#placeOf(page);
    if (plain[cluster] === 0) return undefined;
    const rank = firsts[cluster]! + slot;
    let pages = Math.min(most, firsts[cluster + 1]! - rank);
    if (numbers !== undefined) {
      let rises = 1;
      while (rises < pages && numbers[rank + rises] === page + rises) rises++;
      pages = rises;
    }
    return { cluster, slot, pages };
  }

  /** Reads a plain cluster into a buffer that has room for it. Throws FormatError and HostError. */
  readPlain(cluster: number, into: Uint8Array): void {
    const { offsets, crcs } = this.directory;
    const bytes = into.subarray(0, offsets[cluster + 1]! - offsets[cluster]!);
    this.#read(offsets[cluster]!, bytes);
    if (this.codec.crc32(bytes) !== crcs[cluster]) {
      throw new FormatError(`pack ${this.id}: the checksum of cluster ${cluster} does not hold`);
    }
  }

  /** The pages of a cluster. Throws FormatError and HostError. */
  cluster(cluster: number): Uint8Array {
    const { directory } = this;
    return this.#named(() => {
      const stored = this.stored(cluster);
      if (this.codec.crc32(stored) !== directory.crcs[cluster]) {
        throw new FormatError(`the checksum of cluster ${cluster} does not hold`);
      }
      if (directory.plain[cluster] === 1) return stored;
      const bytes = pagesIn(directory, cluster) * PAGE_BYTES;
      const contents = unpacked(this.codec, stored, bytes);
      if (contents?.length !== bytes) {
        throw new FormatError(`cluster ${cluster} does not unpack to ${bytes} bytes`);
      }
      return contents;
    });
  }

  /** A cluster as it is stored, unchecked. */
  stored(cluster: number): Uint8Array<ArrayBuffer> {
    const { offsets } = this.directory;
    const bytes = new Uint8Array(offsets[cluster + 1]! - offsets[cluster]!);
    this.#read(offsets[cluster]!, bytes);
    return bytes;
  }

  /** Numbers of a cluster's pages. */
  numbersOf(cluster: number): Uint32Array<ArrayBuffer> {
    const { firsts, numbers } = this.directory;
    const [first, end] = [firsts[cluster]!, firsts[cluster + 1]!];
    return numbers?.slice(first, end) as Uint32Array<ArrayBuffer> ??
      Uint32Array.from({ length: end - first }, (_, i) => first + i);
  }

  /**
   * Reads all of it, and tells of each page whose content is not what its hash says, and of each cluster
   * that cannot be read. Throws FormatError when its tables are damaged.
   */
  verify(tell: (page: number, problem: string) => void): void {
    const { hashes } = this.hashes();
    const { firsts } = this.directory;
    this.#named(() => this.#checkHeader());
    const hash = new Uint32Array(HASH_WORDS);
    for (let cluster = 0; cluster + 1 < firsts.length; cluster++) {
      const numbers = this.numbersOf(cluster);
      let contents: Uint8Array;
      try {
        contents = this.cluster(cluster);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        for (const number of numbers) tell(number, error.message);
        continue;
      }
      numbers.forEach((number, slot) => {
        const at = HASH_WORDS * (firsts[cluster]! + slot);
        this.codec.hash(contents.subarray(slot * PAGE_BYTES, (slot + 1) * PAGE_BYTES), hash, 0);
        if (hash.some((word, i) => word !== hashes[at + i])) {
          tell(number, `pack ${this.id}: the hash of page ${number} does not hold`);
        }
      });
    }
  }

  /** Closes the file. */
  close(): void {
    this.file.close();
  }

  #readFooter(): PackFooter {
    const { size } = this.file;
    if (size < PACK_HEADER_BYTES + PACK_FOOTER_BYTES) {
      this.#checkHeader();
      throw new FormatError("it is cut short");
    }
    const bytes = new Uint8Array(PACK_FOOTER_BYTES);
    this.#read(size - PACK_FOOTER_BYTES, bytes);
    let footer: PackFooter;
    try {
      footer = readPackFooter(bytes, size, this.codec);
    } catch (error) {
      // The header says more of what this is, if it is something else.
      this.#checkHeader();
      throw error;
    }
    if (footer.id !== this.id) throw new FormatError(`it is pack ${footer.id}, under this name`);
    return footer;
  }

  #checkHeader(): void {
    const bytes = new Uint8Array(Math.min(PACK_HEADER_BYTES, this.file.size));
    this.#read(0, bytes);
    const { id } = readPackHeader(bytes, this.codec);
    if (id !== this.id) throw new FormatError(`it is pack ${id}, under this name`);
  }

  #tablesAt(): number {
    const sizes = tableSizes(this.footer);
    return this.file.size - PACK_FOOTER_BYTES - sizes[0] - sizes[1] - sizes[2];
  }

  #readWords(offset: number, bytes: number): Uint32Array<ArrayBuffer> {
    const words = new Uint32Array(bytes / 4);
    this.#read(offset, new Uint8Array(words.buffer));
    return words;
  }

  #read(offset: number, into: Uint8Array): void {
    if (this.file.read(offset, into) < into.length) {
      throw new FormatError(`pack ${this.id}: it became shorter while in use`);
    }
  }

  /** One page, checked by its hash: the checksum is that of the whole cluster. */
  #readPlainPage(rank: number, offset: number, into: Uint8Array): void {
    const hashes = new Uint32Array(2 * HASH_WORDS);
    const hashesAt = this.file.size - PACK_FOOTER_BYTES - tableSizes(this.footer)[2];
    this.#read(offset, into);
    this.#read(hashesAt + HASH_BYTES * rank, new Uint8Array(hashes.buffer, 0, HASH_BYTES));
    this.codec.hash(into, hashes, HASH_WORDS);
    for (let i = 0; i < HASH_WORDS; i++) {
      if (hashes[i] !== hashes[i + HASH_WORDS]) {
        throw new FormatError(`pack ${this.id}: the hash of a page does not hold`);
      }
    }
  }

  #offsetOf(cluster: number, slot: number): number {
    return this.directory.offsets[cluster]! + slot * PAGE_BYTES;
  }

  #placeOf(page: number): Place {
    const { firsts } = this.directory;
    const rank = this.#rankOf(page);
    if (rank < 0) throw new FormatError(`pack ${this.id} has no page ${page}`);
    const cluster = lastAtMost(firsts, rank);
    return { cluster, slot: rank - firsts[cluster]! };
  }

  /** Place of a page among all that are there; -1 when it is not. */
  #rankOf(page: number): number {
    const { numbers } = this.directory;
    if (numbers === undefined) return page < this.footer.pages ? page : -1;
    const rank = lastAtMost(numbers, page);
    return numbers[rank] === page ? rank : -1;
  }

  #named<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof FormatError) || error.message.startsWith("pack ")) throw error;
      throw new FormatError(`pack ${this.id}: ${error.message}`);
    }
  }
}

function pagesIn({ firsts }: PackDirectory, cluster: number): number {
  return firsts[cluster + 1]! - firsts[cluster]!;
}

function unpacked(codec: PageCodec, stored: Uint8Array, bytes: number): Uint8Array | undefined {
  try {
    return codec.unpack(stored, bytes);
  } catch {
    return undefined;
  }
}

/** Index of the last value of a rising list that is not above another; -1 when all are. */
function lastAtMost(list: Uint32Array, value: number): number {
  let [low, high] = [-1, list.length];
  while (high - low > 1) {
    const middle = low + high >> 1;
    if (list[middle]! <= value) low = middle;
    else high = middle;
  }
  return low;
}
