/**
 * Keeps what a disk held before it was written to, so that a recording's disks can be seen as they were
 * when it began (issue 4, "Replay": the images of a recording are never written by it).
 *
 *     file    "CHRONBEF" | u32 version | u32 CRC-32 of the 12 bytes before | entries
 *     entry   u32 CRC-32 of what follows | f64 number of the block | 4096 bytes
 *
 * Invariants: a block's old contents are in the file, once, before its new contents are on the disk,
 * however many writes there are at once; an entry that is not whole belongs to a write that never
 * happened, and does not count.
 */
import { crc32 } from "../base/checksum.ts";
import { FormatError, HostError } from "../base/errors.ts";
import type { HostFile } from "../host/files.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "./block_device.ts";

const BLOCK_BYTES = 4096;
const BLOCK_SECTORS = BLOCK_BYTES / SECTOR_BYTES;
const VERSION = 1;
const HEADER_BYTES = 16;
const ENTRY_HEADER_BYTES = 12;
const ENTRY_BYTES = ENTRY_HEADER_BYTES + BLOCK_BYTES;
const MAGIC = new TextEncoder().encode("CHRONBEF");
/** Most sectors that are zeroed at once. */
const ZERO_SECTORS = 8192;
/** Why an earlier disk changes nothing. */
const NEVER_WRITTEN = "a recording's disk is never written";

function header(): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, crc32(bytes.subarray(0, 12)), true);
  return bytes;
}

/** Fills a buffer with what a disk held before: its contents now, under the blocks that were kept. */
async function readEarlier(
  disk: BlockDevice,
  before: HostFile | undefined,
  offsets: ReadonlyMap<number, number>,
  sector: number,
  into: Uint8Array,
): Promise<void> {
  await disk.read(sector, into);
  for (let at = 0; at < into.length;) {
    const from = sector + at / SECTOR_BYTES;
    const inBlock = from % BLOCK_SECTORS * SECTOR_BYTES;
    const part = into.subarray(at, Math.min(into.length, at + BLOCK_BYTES - inBlock));
    const offset = offsets.get(Math.floor(from / BLOCK_SECTORS));
    if (offset !== undefined) before!.read(offset + inBlock, part);
    at += part.length;
  }
}

/** A disk that keeps what it overwrites. */
export class KeepingDisk implements BlockDevice {
  readonly readOnly = false;
  /** Where the old contents of blocks lie in the file. */
  readonly #kept = new Map<number, number>();
  /** Blocks that are being kept for a write; others that write to them wait for it too. */
  readonly #keeping = new Map<number, Promise<void>>();
  #end = HEADER_BYTES;

  #isBroken = false;
  /** Whether blocks were kept since the file was flushed. */
  #isNew = true;
  #flushing: Promise<void> | undefined;
  /** A flush that has not begun, so that it will do for whoever asks now. */
  #next: Promise<void> | undefined;

  /**
   * Keeps in a file that is new and empty. When that cannot be written any more, `failed` is told once, and
   * the disk goes on without: its guest has done nothing wrong.
   *
   * @param strict whether a flush of the disk waits until what was kept is on stable storage, too
   */
  constructor(
    private readonly disk: BlockDevice,
    private readonly before: HostFile,
    private readonly failed: (error: HostError) => void,
    private readonly strict = false,
  ) {
    before.write(0, header());
  }

  get sectors(): number {
    return this.disk.sectors;
  }

  get concurrent(): boolean {
    return this.disk.concurrent === true;
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return this.disk.read(sector, into);
  }

  /** Reads what the disk held when the keeping began; may run beside writes. */
  readEarlier(sector: number, into: Uint8Array): Promise<void> {
    return readEarlier(this.disk, this.before, this.#kept, sector, into);
  }

  async write(sector: number, bytes: Uint8Array): Promise<void> {
    await this.#keepSectors(sector, bytes.length / SECTOR_BYTES);
    await this.disk.write(sector, bytes);
  }

  async zero(sector: number, count: number, mayUnmap: boolean): Promise<void> {
    // In parts, because all that is kept for a part is in memory at once.
    for (let done = 0; done < count; done += ZERO_SECTORS) {
      const part = Math.min(ZERO_SECTORS, count - done);
      await this.#keepSectors(sector + done, part);
      await this.disk.zero(sector + done, part, mayUnmap);
    }
  }

  discard(): Promise<void> {
    // A replay takes it that a discard changes nothing, so that while this keeps it must not.
    return Promise.resolve();
  }

  async flush(): Promise<void> {
    // A host that dies before this is done leaves a recording that is refused, never one that is wrong.
    const keeping = this.#flushKept();
    await this.disk.flush();
    if (this.strict) await keeping;
  }

  async close(): Promise<void> {
    try {
      await (this.#next ?? this.#flushing);
    } finally {
      this.before.close();
      await this.disk.close();
    }
  }

  /** Flushes what was kept so far, beside other work, once at a time. */
  #flushKept(): Promise<void> {
    // One that is under way has all, unless something was kept since it began.
    if (!this.#isNew || this.#isBroken) return this.#flushing ?? Promise.resolve();
    if (this.#flushing === undefined) return this.#flushNow();
    return this.#next ??= this.#flushing.then(() => {
      this.#next = undefined;
      return this.#flushNow();
    });
  }

  #flushNow(): Promise<void> {
    this.#isNew = false;
    const flushing = this.before.flush().catch((error) => this.#fail(error)).then(() => {
      this.#flushing = undefined;
    });
    return this.#flushing = flushing;
  }

  #keepSectors(sector: number, count: number): Promise<void> {
    const last = Math.floor((sector + count - 1) / BLOCK_SECTORS);
    return this.#keepAll(Math.floor(sector / BLOCK_SECTORS), last);
  }

  /** Keeps those blocks of a range that are not kept yet, as few runs. */
  async #keepAll(first: number, last: number): Promise<void> {
    const waits: Promise<void>[] = [];
    for (let block = first; block <= last && !this.#isBroken; block++) {
      const keeping = this.#keeping.get(block);
      if (keeping !== undefined) waits.push(keeping);
      if (keeping !== undefined || this.#kept.has(block)) continue;
      let end = block + 1;
      while (end <= last && !this.#kept.has(end) && !this.#keeping.has(end)) end++;
      const run = this.#keepRun(block, end).finally(() => {
        for (let done = block; done < end; done++) this.#keeping.delete(done);
      });
      for (let under = block; under < end; under++) this.#keeping.set(under, run);
      waits.push(run);
    }
    await Promise.all(waits);
  }

  /** Keeps the blocks from the first up to the end, which are in the hands of nobody else. */
  async #keepRun(first: number, end: number): Promise<void> {
    const sectors = Math.min(end * BLOCK_SECTORS, this.disk.sectors) - first * BLOCK_SECTORS;
    const contents = new Uint8Array(sectors * SECTOR_BYTES);
    await this.disk.read(first * BLOCK_SECTORS, contents);
    const entries = new Uint8Array((end - first) * ENTRY_BYTES);
    const view = new DataView(entries.buffer);
    for (let block = first; block < end; block++) {
      const at = (block - first) * ENTRY_BYTES;
      const from = (block - first) * BLOCK_BYTES;
      view.setFloat64(at + 4, block, true);
      entries.set(contents.subarray(from, from + BLOCK_BYTES), at + ENTRY_HEADER_BYTES);
      view.setUint32(at, crc32(entries.subarray(at + 4, at + ENTRY_BYTES)), true);
    }
    try {
      this.before.write(this.#end, entries);
    } catch (error) {
      return this.#fail(error);
    }
    for (let block = first; block < end; block++) {
      this.#kept.set(block, this.#end + ENTRY_HEADER_BYTES);
      this.#end += ENTRY_BYTES;
    }
    this.#isNew = true;
  }

  #fail(error: unknown): void {
    if (!(error instanceof HostError)) throw error;
    if (!this.#isBroken) this.failed(error);
    this.#isBroken = true;
  }
}

/** A disk as it was before a recording wrote to it. Read only. */
export class EarlierDisk implements BlockDevice {
  readonly readOnly = true;
  readonly #offsets = new Map<number, number>();

  /**
   * Reads the index of a file that a KeepingDisk wrote; undefined: nothing was written. Throws
   * FormatError when it is none.
   */
  constructor(private readonly disk: BlockDevice, private readonly before: HostFile | undefined) {
    if (before !== undefined) this.#readIndex(before);
  }

  get sectors(): number {
    return this.disk.sectors;
  }

  get concurrent(): boolean {
    return this.disk.concurrent === true;
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return readEarlier(this.disk, this.before, this.#offsets, sector, into);
  }

  write(): Promise<void> {
    return Promise.reject(new FormatError(NEVER_WRITTEN));
  }

  zero(): Promise<void> {
    return Promise.reject(new FormatError(NEVER_WRITTEN));
  }

  discard(): Promise<void> {
    return Promise.reject(new FormatError(NEVER_WRITTEN));
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.before?.close();
    await this.disk.close();
  }

  #readIndex(before: HostFile): void {
    const head = new Uint8Array(HEADER_BYTES);
    const count = before.read(0, head);
    if (count === 0) return;
    const expected = header();
    if (count < HEADER_BYTES || head.some((byte, i) => byte !== expected[i])) {
      throw new FormatError(`"${before.path}" does not hold what a disk held before`);
    }
    const entry = new Uint8Array(ENTRY_BYTES);
    const view = new DataView(entry.buffer);
    for (let at = HEADER_BYTES; before.read(at, entry) === ENTRY_BYTES; at += ENTRY_BYTES) {
      if (crc32(entry.subarray(4)) !== view.getUint32(0, true)) return;
      const block = view.getFloat64(4, true);
      if (!Number.isSafeInteger(block) || block < 0) {
        throw new FormatError(`"${before.path}" has an entry for block ${block}, which is none`);
      }
      if (!this.#offsets.has(block)) this.#offsets.set(block, at + ENTRY_HEADER_BYTES);
    }
  }
}
