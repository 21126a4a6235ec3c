/**
 * Writes packs, in the kernel world. The clusters of a save are appended to a file with a temporary name;
 * when all is there it is flushed, and then renamed. The caller syncs the folder.
 *
 * Invariant: under its final name a pack is whole and on stable storage.
 */
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import type { HostFile, HostFiles } from "../host/files.ts";
import type { PageCodec } from "../host/page_codec.ts";
import {
  type EncodedCluster,
  PACK_HEADER_BYTES,
  packHeader,
  type PackIdentity,
  PackTables,
} from "./pack_format.ts";

/** End of a name that is not final. Whoever may change the store alone removes what has it. */
export const PARTIAL = ".partial";
/** Clusters are written together up to this many bytes. */
const WRITE_BYTES = 1024 * 1024;

/** Where and what a writer writes. */
export interface PackWriterOptions {
  readonly files: HostFiles;
  readonly codec: PageCodec;
  /** Final name. */
  readonly path: string;
  readonly pack: PackIdentity;
}

/** Writes one pack. */
export class PackWriter {
  readonly #options: PackWriterOptions;
  readonly #tables = new PackTables();
  #file: HostFile | undefined;
  #at = PACK_HEADER_BYTES;
  #sealed = false;

  /** Does nothing yet: a pack without pages is never made. */
  constructor(options: PackWriterOptions) {
    this.#options = options;
  }

  /** Pages so far. */
  get pages(): number {
    return this.#tables.pages;
  }

  /** Bytes that were written so far. */
  get bytes(): number {
    return this.#file === undefined ? 0 : this.#at;
  }

  /** Appends clusters; numbers of their pages are given when pages were taken out. Throws HostError. */
  append(clusters: readonly EncodedCluster[], numbers?: readonly Uint32Array[]): void {
    assert(!this.#sealed, "the pack is not sealed");
    if (clusters.length === 0) return;
    const file = this.#file ??= this.#create();
    let parts: Uint8Array[] = [];
    let length = 0;
    const write = () => {
      if (length === 0) return;
      file.write(this.#at, joined(parts));
      this.#at += length;
      [parts, length] = [[], 0];
    };
    clusters.forEach((cluster, i) => {
      if (length + cluster.stored.length > WRITE_BYTES) write();
      this.#tables.add(cluster, numbers?.[i]);
      parts.push(cluster.stored);
      length += cluster.stored.length;
    });
    write();
  }

  /**
   * Writes the tables, and resolves when all is on stable storage under the temporary name. `numbers` is how
   * many page numbers were given, if not as many as there are pages. Rejects with HostError.
   */
  async seal(numbers = this.pages): Promise<void> {
    assert(!this.#sealed, "the pack is not sealed");
    const { codec, pack } = this.#options;
    this.#sealed = true;
    this.#file?.write(this.#at, this.#tables.finish(pack, numbers, codec));
    await this.#file?.flush();
  }

  /** Gives the sealed pack its name; one without pages is not made. The caller syncs the folder. */
  publish(): void {
    assert(this.#sealed, "the pack is sealed");
    if (this.#file === undefined) return;
    const { files, path } = this.#options;
    files.rename(path + PARTIAL, path);
    this.#file.close();
    this.#file = undefined;
  }

  /** Removes what was written. Throws HostError. */
  abort(): void {
    const file = this.#file;
    this.#sealed = true;
    this.#file = undefined;
    if (file === undefined) return;
    file.close();
    this.#options.files.remove(this.#options.path + PARTIAL);
  }

  #create(): HostFile {
    const { files, codec, path, pack } = this.#options;
    const file = files.create(path + PARTIAL);
    this.#file = file;
    file.write(0, packHeader(pack, codec));
    return file;
  }
}

/** One array of all parts, without a copy where they lie one after another. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [{ buffer, byteOffset }] = parts as [Uint8Array];
  let end = byteOffset;
  for (const part of parts) {
    if (part.buffer !== buffer || part.byteOffset !== end) return concatBytes(parts);
    end += part.length;
  }
  return new Uint8Array(buffer, byteOffset, end - byteOffset);
}
