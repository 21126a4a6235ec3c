/**
 * A lazily initialised image as a disk (S4): nothing that lay below it is ever seen, and nothing is
 * zeroed before it has to be.
 *
 *     read     only what is initialised is read from the file; the rest is zeros (S4.2, S4.3, S4.5)
 *     write    zeros where needed, then the data, then the indicators in memory (S4.4, S4.7)
 *     flush    fdatasync | the indicators as they were before that | fdatasync (S4.6)
 *     zero, discard   set indicators back where they can, which writes nothing
 *
 * Invariants: zeros, data and indicators of one write come in one synchronous stretch, so that no other
 * request comes between them (the per-block lock of S4); what lies in the file below an indicator's
 * position was written by this disk, in memory as on stable storage; a flush that succeeded made all
 * durable that had been written when it began. After a flush of the host failed, nobody knows what of the
 * data is durable, so nothing more may be said to be: the disk is only read from then on.
 */
import { FormatError, HostError } from "../../base/errors.ts";
import { MiB } from "../../base/units.ts";
import type { HostFile } from "../../host/files.ts";
import { SECTOR_BYTES } from "../../limits.ts";
import type { BlockDevice } from "../block_device.ts";
import { type Geometry, type Header, sectorsOf, type Zeroing } from "./format.ts";
import { Indicators } from "./indicators.ts";

/** Bytes of zeros that one write to the file carries. */
const ZEROS_BYTES = 1 * MiB;

/** A part of a request that lies in one block; sectors count from the block's first. */
type Visit = (block: number, from: number, to: number) => void;

/** A disk over a lazily initialised image. */
export class LazyZeroDisk implements BlockDevice {
  /** The host flushes beside reads and writes. */
  readonly concurrent = true;
  /** Size in sectors. */
  readonly sectors: number;
  readonly #geometry: Geometry;
  readonly #zeroing: Zeroing;
  readonly #indicators: Indicators;
  readonly #counters = {
    storageReads: 0,
    storageReadBytes: 0,
    storageWrites: 0,
    storageWriteBytes: 0,
    zeroingRequests: 0,
    zeroedBytes: 0,
    zeroReadBytes: 0,
    flushes: 0,
  };
  #flushing: Promise<void> = Promise.resolve();
  /** A flush that has not begun, so that it will do for whoever asks now. */
  #next: Promise<void> | undefined;
  /** Whether a flush of the host failed. */
  #isBroken = false;

  /** Use `openLazyZero`. */
  constructor(
    private readonly file: HostFile,
    header: Header,
    headerCopy: number,
    readonly readOnly: boolean,
  ) {
    this.#geometry = header.geometry;
    this.#zeroing = header.zeroing;
    this.#indicators = new Indicators(file, header, headerCopy);
    this.sectors = header.geometry.bytes / SECTOR_BYTES;
  }

  /** What was done so far (X6). */
  counters(): Readonly<Record<string, number>> {
    return { ...this.#counters, ...this.#indicators.counters };
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return doNow(() => this.#read(sector, into));
  }

  write(sector: number, bytes: Uint8Array): Promise<void> {
    return doNow(() => {
      this.#checkWritable();
      this.#write(sector, bytes);
    });
  }

  zero(sector: number, count: number): Promise<void> {
    // The image is preallocated: an indicator that is set back gives no space back, so `mayUnmap` is no matter.
    return doNow(() => {
      this.#checkWritable();
      this.#eachBlock(sector, count, (block, from, to) => {
        const initialised = this.#indicators.get(block);
        if (this.#setBack(block, from, to, initialised) || from >= initialised) return;
        this.#zeroInBlock(block, from, Math.min(to, initialised));
      });
    });
  }

  discard(sector: number, count: number): Promise<void> {
    return doNow(() => {
      this.#checkWritable();
      this.#eachBlock(sector, count, (block, from, to) => {
        this.#setBack(block, from, to, this.#indicators.get(block));
      });
    });
  }

  flush(): Promise<void> {
    if (this.readOnly) return Promise.resolve();
    this.#next ??= this.#flushing.then(() => {
      this.#next = undefined;
      const flush = this.#flush();
      this.#flushing = flush.catch(() => {});
      return flush;
    });
    return this.#next;
  }

  async close(): Promise<void> {
    try {
      if (this.readOnly || this.#isBroken) return;
      await this.flush();
      if (!this.#indicators.isBitmapChanged) return;
      this.#indicators.writeBitmap();
      await this.file.flush();
    } finally {
      this.file.close();
    }
  }

  #read(sector: number, into: Uint8Array): void {
    // A run of initialised sectors, which may go through several blocks, is one read.
    let start = 0;
    let end = 0;
    const readRun = () => {
      if (end === start) return;
      const part = into.subarray((start - sector) * SECTOR_BYTES, (end - sector) * SECTOR_BYTES);
      this.#counters.storageReads++;
      this.#counters.storageReadBytes += part.length;
      const { dataOffset } = this.#geometry;
      if (this.file.read(dataOffset + start * SECTOR_BYTES, part) < part.length) {
        throw new HostError(`"${this.file.path}" became shorter while in use`);
      }
    };
    this.#eachBlock(sector, into.length / SECTOR_BYTES, (block, from, to) => {
      const first = block * this.#geometry.blockSectors;
      const known = Math.max(from, Math.min(to, this.#indicators.get(block)));
      if (known > from) {
        if (end !== first + from) {
          readRun();
          start = first + from;
        }
        end = first + known;
      }
      if (known === to) return;
      const zeros = (to - known) * SECTOR_BYTES;
      const at = (first + known - sector) * SECTOR_BYTES;
      into.fill(0, at, at + zeros);
      this.#counters.zeroReadBytes += zeros;
    });
    readRun();
  }

  #write(sector: number, bytes: Uint8Array): void {
    const count = bytes.length / SECTOR_BYTES;
    const isWhole = this.#zeroing === "whole";
    this.#eachBlock(sector, count, (block, from, to) => {
      const initialised = this.#indicators.get(block);
      if (from > initialised) this.#zeroInBlock(block, initialised, from);
      const all = sectorsOf(this.#geometry, block);
      if (isWhole && initialised === 0 && to < all) this.#zeroInBlock(block, to, all);
    });
    this.#counters.storageWrites++;
    this.#counters.storageWriteBytes += bytes.length;
    this.file.write(this.#geometry.dataOffset + sector * SECTOR_BYTES, bytes);
    this.#eachBlock(sector, count, (block, _from, to) => {
      const written = isWhole ? sectorsOf(this.#geometry, block) : to;
      if (written > this.#indicators.get(block)) this.#indicators.set(block, written);
    });
  }

  /** Makes a part of a block that reaches the end of what is initialised uninitialised, if it is one. */
  #setBack(block: number, from: number, to: number, initialised: number): boolean {
    if (to < initialised || from >= initialised) return false;
    if (this.#zeroing === "whole" && from > 0) return false;
    this.#indicators.set(block, from);
    return true;
  }

  /** Writes zeros to sectors of a block. */
  #zeroInBlock(block: number, from: number, to: number): void {
    const { dataOffset, blockBytes } = this.#geometry;
    const start = dataOffset + block * blockBytes;
    const end = start + to * SECTOR_BYTES;
    const zeros = new Uint8Array(Math.min(ZEROS_BYTES, (to - from) * SECTOR_BYTES));
    this.#counters.zeroingRequests++;
    this.#counters.zeroedBytes += (to - from) * SECTOR_BYTES;
    for (let at = start + from * SECTOR_BYTES; at < end; at += zeros.length) {
      this.file.write(at, zeros.subarray(0, end - at));
    }
  }

  #eachBlock(sector: number, count: number, visit: Visit): void {
    const { blockSectors } = this.#geometry;
    for (let at = sector; at < sector + count;) {
      const block = Math.floor(at / blockSectors);
      const first = block * blockSectors;
      const end = Math.min(sector + count, first + blockSectors);
      visit(block, at - first, end - first);
      at = end;
    }
  }

  async #flush(): Promise<void> {
    this.#checkWritable();
    const indicators = this.#indicators;
    this.#counters.flushes++;
    // It changes with a flush of this process only, so that the copy that a killed one wrote is durable by now.
    if (indicators.isBitmapChanged) indicators.writeBitmap();
    const kept = indicators.keep();
    try {
      await this.#flushFile();
      if (kept.length === 0) return;
      indicators.write(kept);
      await this.#flushFile();
    } catch (error) {
      indicators.giveBack(kept);
      throw error;
    }
    indicators.settle(kept);
  }

  async #flushFile(): Promise<void> {
    try {
      await this.file.flush();
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
  }

  #checkWritable(): void {
    if (this.readOnly) throw new FormatError(`"${this.file.path}" was opened to be read only`);
    if (!this.#isBroken) return;
    throw new HostError(
      `"${this.file.path}" is not written any more, because a flush of it failed`,
    );
  }
}

/** Does something at once; what it throws becomes a rejection. */
function doNow(act: () => void): Promise<void> {
  return new Promise((resolve) => {
    act();
    resolve();
  });
}
