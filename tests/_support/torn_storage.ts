/**
 * A disk and a file in memory whose host may stop at any write: the last write before that is cut
 * somewhere, and nothing after it happens. Reads and writes of the disk take a while, so that several
 * are under way at once.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import type { HostFile } from "../../kernel/host/files.ts";
import { SECTOR_BYTES } from "../../kernel/limits.ts";
import type { BlockDevice } from "../../kernel/storage/block_device.ts";

/** The host stopped. */
export class HostStopped extends Error {
  override name = "HostStopped";
}

/** Counts writes, and stops the host at one. */
export class StoppingHost {
  /** Writes so far. */
  writes = 0;

  /** @param stopAt number of the write that is cut; none by default */
  constructor(private readonly random: Prng, private readonly stopAt: number = Infinity) {}

  /** How many bytes of a write happen. Throws when the host has stopped. */
  admit(bytes: number): number {
    if (this.writes > this.stopAt) throw new HostStopped();
    return this.writes++ === this.stopAt ? this.random.below(bytes + 1) : bytes;
  }

  /** Lets others run for a random while. */
  async delay(): Promise<void> {
    for (let turns = this.random.below(4); turns > 0; turns--) await Promise.resolve();
  }
}

/** A file. */
export class TornFile implements HostFile {
  readonly path = "before";
  /** What is in it. */
  bytes: Uint8Array;

  constructor(
    private readonly host: StoppingHost | undefined,
    bytes: Uint8Array = new Uint8Array(0),
  ) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  read(offset: number, into: Uint8Array): number {
    const part = this.bytes.subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  }

  write(offset: number, bytes: Uint8Array): void {
    const count = this.host?.admit(bytes.length) ?? bytes.length;
    if (offset + count > this.bytes.length) {
      const longer = new Uint8Array(offset + count);
      longer.set(this.bytes);
      this.bytes = longer;
    }
    this.bytes.set(bytes.subarray(0, count), offset);
    if (count < bytes.length) throw new HostStopped();
  }

  sizeNow(): number {
    return this.bytes.length;
  }

  truncate(size: number): void {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  flushNow(): void {}
  close(): void {}
}

/** A disk. */
export class TornDisk implements BlockDevice {
  readonly readOnly = false;

  constructor(private readonly host: StoppingHost | undefined, readonly bytes: Uint8Array) {}

  get sectors(): number {
    return this.bytes.length / SECTOR_BYTES;
  }

  async read(sector: number, into: Uint8Array): Promise<void> {
    await this.host?.delay();
    const from = sector * SECTOR_BYTES;
    into.set(this.bytes.subarray(from, from + into.length));
    await this.host?.delay();
  }

  async write(sector: number, bytes: Uint8Array): Promise<void> {
    await this.host?.delay();
    const count = this.host?.admit(bytes.length) ?? bytes.length;
    this.bytes.set(bytes.subarray(0, count), sector * SECTOR_BYTES);
    if (count < bytes.length) throw new HostStopped();
    await this.host?.delay();
  }

  zero(sector: number, count: number): Promise<void> {
    return this.write(sector, new Uint8Array(count * SECTOR_BYTES));
  }

  async discard(): Promise<void> {
    await this.host?.delay();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
