/**
 * A qcow2 image as a disk (issue 5, section 3; QEMU docs/interop/qcow2.txt).
 *
 *     disk offset -> ClusterMap -> data in the file | zeros | compressed cluster | backing disk
 *
 * Invariants: what was written is read back at once, and is on stable storage when a flush that began
 * after it resolves; a write that fails changes nothing but the bytes it was to change. Clusters that
 * are the image's alone are read and written in place at any time; whatever changes the tables (writes to
 * other clusters, zeroing, discarding, flushing) runs one at a time under the lock, so that two writes to
 * one cluster that is being copied never lose each other.
 */
import { FormatError, HostError } from "../../base/errors.ts";
import { SECTOR_BYTES } from "../../limits.ts";
import type { BlockDevice } from "../block_device.ts";
import { ClusterMap } from "./cluster_map.ts";
import { unpackCluster } from "./compressed.ts";
import type { Qcow2Header } from "./header.ts";
import type { ImageFile } from "./image_file.ts";
import { Lock } from "./lock.ts";
import { Metadata } from "./metadata.ts";

/** Most bytes that one step of a longer change allocates or writes at once. */
const STEP_BYTES = 2 * 1024 * 1024;
/** Most clusters that one step of a longer change unmaps. */
const UNMAPPED_AT_ONCE = 4096;

/** What a part of a disk is made of. */
export interface Extent {
  /** Data that this image has; zeros that it says are there; nothing, so that the backing disk shows. */
  readonly kind: "data" | "zero" | "backing";
  readonly sectors: number;
}

/** An open image. */
export class Qcow2Image implements BlockDevice {
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Any number of requests may be under way. */
  readonly concurrent = true;
  readonly #map: ClusterMap;
  readonly #metadata: Metadata | undefined;
  readonly #clusterBytes: number;
  readonly #lock = new Lock();
  #isClosed = false;
  /** The cluster unpacked last: none is ever packed here, so that what lies at a place stays the same. */
  #unpacked: { readonly host: number; readonly cluster: Uint8Array } | undefined;

  /**
   * Takes the file and the backing disk over.
   *
   * @param file open for writing unless the image is read only
   * @param backing what shows where the image has nothing; zeros without it and behind its end
   */
  constructor(
    private readonly file: ImageFile,
    readonly header: Qcow2Header,
    readonly backing: BlockDevice | undefined,
    readOnly: boolean,
  ) {
    this.sectors = header.bytes / SECTOR_BYTES;
    this.readOnly = readOnly;
    this.#clusterBytes = header.clusterBytes;
    this.#metadata = readOnly ? undefined : new Metadata(file, header);
    this.#map = this.#metadata?.map ?? new ClusterMap(file, header);
  }

  /** The file's name, for messages. */
  get path(): string {
    return this.file.path;
  }

  async read(sector: number, into: Uint8Array): Promise<void> {
    const map = this.#map;
    let offset = sector * SECTOR_BYTES;
    for (let at = 0; at < into.length;) {
      map.find(offset, into.length - at);
      const part = map.bytes === into.length ? into : into.subarray(at, at + map.bytes);
      switch (map.kind) {
        case "data":
          this.file.read(map.host, part);
          break;
        case "zero":
          part.fill(0);
          break;
        case "compressed":
          this.#readCompressed(offset, part);
          break;
        default:
          await this.#readBacking(offset, part);
      }
      at += part.length;
      offset += part.length;
    }
  }

  async write(sector: number, bytes: Uint8Array): Promise<void> {
    const metadata = this.#writable();
    const map = this.#map;
    let offset = sector * SECTOR_BYTES;
    for (let at = 0; at < bytes.length;) {
      map.find(offset, bytes.length - at);
      let done = map.bytes;
      if (map.kind === "data" && map.isCopied) {
        this.#writeInPlace(metadata, map.host, bytes.subarray(at, at + done));
      } else {
        const [from, rest] = [offset, bytes.subarray(at, at + STEP_BYTES)];
        done = await this.#lock.run(() => this.#writeNew(metadata, from, rest));
      }
      at += done;
      offset += done;
    }
  }

  /** Makes sectors read as zeros; with `mayUnmap` their clusters become free. */
  zero(sector: number, count: number, mayUnmap: boolean): Promise<void> {
    return this.#unmapAll(sector, count, mayUnmap ? "zero-unmap" : "zero-keep");
  }

  /** Lets whole clusters go; they read as zeros then, unless the image cannot say so (version 2). */
  discard(sector: number, count: number): Promise<void> {
    return this.#unmapAll(sector, count, "discard");
  }

  async flush(): Promise<void> {
    const metadata = this.#metadata;
    if (metadata === undefined) return;
    if (!metadata.isDirty) return await this.file.flush();
    await this.#lock.run(() => metadata.commit());
  }

  /** Brings the file to where closing it changes nothing. Rejects with `HostError`. */
  settle(): Promise<void> {
    return this.#lock.run(async () => await this.#metadata?.settle());
  }

  /** Rejects with `HostError` only, also when the image turns out to be damaged; all is closed then, too. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.settle();
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause;
      throw new HostError(`"${this.path}" was not closed cleanly: ${cause.message}`, { cause });
    } finally {
      this.file.close();
      await this.backing?.close();
    }
  }

  /** What the disk has from a sector on, and for how many sectors at least; not behind its end. */
  extent(sector: number): Extent {
    const map = this.#map;
    const offset = sector * SECTOR_BYTES;
    map.find(offset, Math.min(map.untilNextTable(offset), this.header.bytes - offset));
    const kind = map.kind === "unallocated" ? "backing" : map.kind === "zero" ? "zero" : "data";
    return { kind, sectors: map.bytes / SECTOR_BYTES };
  }

  /**
   * Lets go of everything that the image has, so that the backing disk shows everywhere. When the host
   * stops on the way, a part of it is gone.
   */
  makeEmpty(): Promise<void> {
    const metadata = this.#writable();
    return this.#lock.run(async () => {
      const map = this.#map;
      for (let offset = 0; offset < this.header.bytes; offset += map.untilNextTable(offset)) {
        await metadata.prepare();
        const end = Math.min(this.header.bytes, offset + map.untilNextTable(offset));
        for (let at = offset; at < end; at += map.bytes) {
          map.find(at, end - at);
          if (map.kind === "unallocated") continue;
          map.find(at, this.#clusterBytes);
          this.#releaseFound(metadata, at);
        }
        metadata.dropTable(offset);
      }
      await metadata.commit();
    });
  }

  #writable(): Metadata {
    if (this.#metadata !== undefined) return this.#metadata;
    throw new HostError(`"${this.path}" is open for reading only`);
  }

  async #readBacking(offset: number, into: Uint8Array): Promise<void> {
    const { backing } = this;
    const there = backing === undefined ? 0 : backing.sectors * SECTOR_BYTES - offset;
    const count = Math.max(0, Math.min(into.length, there));
    into.fill(0, count);
    if (count > 0) await backing!.read(offset / SECTOR_BYTES, into.subarray(0, count));
  }

  #readCompressed(offset: number, into: Uint8Array): void {
    const { host, bytes } = this.#map.compressedPlace(offset);
    if (host >= this.file.end) {
      throw new FormatError(`"${this.path}" is damaged: a compressed cluster lies beyond its end`);
    }
    if (this.#unpacked?.host !== host) {
      const packed = new Uint8Array(bytes);
      this.file.read(host, packed);
      const { compression } = this.header;
      const cluster = unpackCluster(this.path, compression, packed, this.#clusterBytes);
      this.#unpacked = { host, cluster };
    }
    const inCluster = offset % this.#clusterBytes;
    into.set(this.#unpacked.cluster.subarray(inCluster, inCluster + into.length));
  }

  /** Refuses to write where the tables lie: an entry that leads there is damaged. */
  #checkData(metadata: Metadata, host: number, bytes: number): void {
    const first = host - host % this.#clusterBytes;
    for (let at = first; at < host + bytes; at += this.#clusterBytes) {
      const holder = metadata.holderOf(at);
      if (holder === undefined) continue;
      throw new FormatError(`"${this.path}" is damaged: it has data where its ${holder} is`);
    }
  }

  #writeInPlace(metadata: Metadata, host: number, bytes: Uint8Array): void {
    this.#checkData(metadata, host, bytes.length);
    this.file.write(host, bytes);
  }

  /**
   * Writes the front of the bytes to where the disk has no clusters of its own, and maps them. Returns how
   * many bytes; 0 when somebody else has mapped them meanwhile.
   */
  async #writeNew(metadata: Metadata, offset: number, bytes: Uint8Array): Promise<number> {
    await metadata.prepare();
    const map = this.#map;
    const inCluster = offset % this.#clusterBytes;
    const start = offset - inCluster;
    map.find(start, inCluster + bytes.length);
    if (map.kind === "data" && map.isCopied) return 0;
    const clusters = Math.ceil(map.bytes / this.#clusterBytes);
    const keepsZero = map.kind === "zero" && map.isCopied;
    const found = map.host;
    metadata.ensureTable(start);
    const host = keepsZero ? found : metadata.allocate(clusters);
    const count = keepsZero ? clusters : metadata.allocated;
    const length = Math.min(bytes.length, count * this.#clusterBytes - inCluster);
    try {
      await this.#fill(metadata, host, count, start, inCluster, bytes.subarray(0, length));
    } catch (error) {
      if (!keepsZero) metadata.giveBack(host, count);
      throw error;
    }
    for (let i = 0; i < count && !keepsZero; i++) {
      const at = start + i * this.#clusterBytes;
      map.find(at, this.#clusterBytes);
      this.#releaseFound(metadata, at);
    }
    map.mapData(start, count, host);
    return length;
  }

  /** Writes clusters that nothing leads to: the bytes, and around them what the disk has now. */
  async #fill(
    metadata: Metadata,
    host: number,
    count: number,
    start: number,
    inCluster: number,
    bytes: Uint8Array,
  ): Promise<void> {
    this.#checkData(metadata, host, count * this.#clusterBytes);
    const whole = count * this.#clusterBytes;
    const behind = inCluster + bytes.length;
    const head = await this.#background(start, inCluster);
    const tail = await this.#background(start + behind, whole - behind);
    // Behind the end the file is zeros; a cluster that was used before is not.
    const isFresh = host >= this.file.end;
    if (isFresh && head === undefined && tail === undefined || whole === bytes.length) {
      this.file.write(host + inCluster, bytes);
      return;
    }
    const all = new Uint8Array(isFresh && tail === undefined ? behind : whole);
    if (head !== undefined) all.set(head);
    all.set(bytes, inCluster);
    if (tail !== undefined) all.set(tail, behind);
    this.file.write(host, all);
  }

  /** What the disk has in a part of a cluster; undefined when that is zeros. */
  async #background(offset: number, bytes: number): Promise<Uint8Array | undefined> {
    const there = Math.min(bytes, this.header.bytes - offset);
    if (there <= 0) return undefined;
    if (this.#readsZeros(offset, there)) return undefined;
    const contents = new Uint8Array(bytes);
    await this.read(offset / SECTOR_BYTES, contents.subarray(0, there));
    return contents;
  }

  /** Whether the part of a cluster is known to be zeros. */
  #readsZeros(offset: number, bytes: number): boolean {
    const map = this.#map;
    map.find(offset, bytes);
    const { backing } = this;
    return map.kind === "zero" || map.kind === "unallocated" &&
        (backing === undefined || offset >= backing.sectors * SECTOR_BYTES);
  }

  /** Gives back what the cluster that was just found has in the file. */
  #releaseFound(metadata: Metadata, offset: number): void {
    const map = this.#map;
    if (map.kind === "compressed") {
      const { host, bytes } = map.compressedPlace(offset);
      metadata.releaseBytes(host, bytes);
    } else if (map.host !== 0) {
      metadata.release(map.host);
    }
  }

  async #unmapAll(sector: number, count: number, how: Unmapping): Promise<void> {
    const metadata = this.#writable();
    const end = (sector + count) * SECTOR_BYTES;
    // Version 2 has no entry for zeros over something that a backing file has.
    const cannotUnmap = this.header.version === 2 &&
      (this.backing !== undefined || how === "zero-keep");
    for (let offset = sector * SECTOR_BYTES; offset < end;) {
      const inCluster = offset % this.#clusterBytes;
      const clusterEnd = Math.min(offset - inCluster + this.#clusterBytes, this.header.bytes);
      if (cannotUnmap || inCluster !== 0 || clusterEnd > end) {
        const bytes = Math.min(clusterEnd, end) - offset;
        if (how !== "discard") await this.#writeZeros(offset, bytes);
        offset += bytes;
      } else {
        const from = offset;
        offset = await this.#lock.run(() => this.#unmap(metadata, from, end, how));
      }
    }
  }

  /** Writes zeros within a cluster, unless it reads so already. */
  async #writeZeros(offset: number, bytes: number): Promise<void> {
    if (this.#readsZeros(offset, bytes)) return;
    await this.write(offset / SECTOR_BYTES, new Uint8Array(bytes));
  }

  /** Unmaps whole clusters, as far as one table maps them. Returns where it stopped. */
  async #unmap(
    metadata: Metadata,
    offset: number,
    end: number,
    how: Unmapping,
  ): Promise<number> {
    const map = this.#map;
    const stop = Math.min(
      end >= this.header.bytes ? this.header.bytes : end - end % this.#clusterBytes,
      offset + map.untilNextTable(offset),
      offset + UNMAPPED_AT_ONCE * this.#clusterBytes,
    );
    let isPrepared = false;
    for (let at = offset; at < stop;) {
      map.find(at, stop - at);
      const { bytes } = map;
      if (!this.#needsUnmapping(at, how)) {
        at += bytes;
      } else if (isPrepared) {
        this.#unmapRun(metadata, at, bytes, how);
        at += bytes;
      } else {
        await metadata.prepare();
        isPrepared = true;
      }
    }
    return stop;
  }

  /** Whether what was just found has to change. */
  #needsUnmapping(offset: number, how: Unmapping): boolean {
    const map = this.#map;
    switch (map.kind) {
      case "zero":
        return map.host !== 0 && how !== "zero-keep";
      case "unallocated":
        return how !== "discard" && !this.#readsZeros(offset, map.bytes);
      default:
        return true;
    }
  }

  /** Unmaps clusters that one table maps. */
  #unmapRun(metadata: Metadata, offset: number, bytes: number, how: Unmapping): void {
    const map = this.#map;
    metadata.ensureTable(offset);
    for (let at = offset; at < offset + bytes; at += this.#clusterBytes) {
      map.find(at, this.#clusterBytes);
      const keeps = how === "zero-keep" && map.kind === "data" && map.isCopied;
      if (!keeps) this.#releaseFound(metadata, at);
      const saysZeros = keeps || (this.backing !== undefined && this.header.version === 3);
      map.mapNothing(at, saysZeros ? "zeros" : "backing", keeps);
    }
  }
}

type Unmapping = "zero-unmap" | "zero-keep" | "discard";
