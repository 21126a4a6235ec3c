/**
 * What a disk may hold after a crash: for each sector what it held at the last flush that succeeded, or
 * anything that was written to it since then was begun.
 *
 * A sector is filled with one number, which no other write uses; 0 is zeros.
 */
import { assert, assertEquals } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import { SECTOR_BYTES } from "../../kernel/limits.ts";
import type { BlockDevice } from "../../kernel/storage/block_device.ts";

/** The bytes of sectors that are filled with a number. */
export function stamped(count: number, stamp: number): Uint8Array {
  return new Uint8Array(new Uint32Array(count * SECTOR_BYTES / 4).fill(stamp).buffer);
}

/** The numbers of sectors. */
export async function stamps(disk: BlockDevice, sector: number, count: number): Promise<number[]> {
  const bytes = new Uint8Array(count * SECTOR_BYTES).fill(0xee);
  await disk.read(sector, bytes);
  const words = new Uint32Array(bytes.buffer);
  return Array.from({ length: count }, (_, i) => {
    const each = words.subarray(i * SECTOR_BYTES / 4, (i + 1) * SECTOR_BYTES / 4);
    assert(each.every((word) => word === each[0]), `sector ${sector + i} is of several writes`);
    return each[0]!;
  });
}

interface Version {
  readonly stamp: number;
  /** When it was begun. */
  readonly order: number;
}

/** What may be on a disk, sector by sector. */
export class DiskHistory {
  readonly #versions: Version[][];
  #order = 0;
  /** What was begun up to here is durable. */
  #durable = 0;

  /** A disk of zeros, all of which is durable. */
  constructor(readonly sectors: number) {
    this.#versions = Array.from({ length: sectors }, () => [{ stamp: 0, order: 0 }]);
  }

  /** Does something random to a disk, and checks what it reads. */
  async step(disk: BlockDevice, random: Prng, longest: number): Promise<void> {
    const sector = random.below(this.sectors);
    const count = 1 + random.below(Math.min(longest, this.sectors - sector));
    switch (random.pick(["write", "write", "write", "zero", "discard", "read"] as const)) {
      case "write": {
        const stamp = this.#begin(sector, count);
        return await disk.write(sector, stamped(count, stamp));
      }
      case "zero":
        this.#begin(sector, count, 0);
        return await disk.zero(sector, count, random.below(2) === 0);
      case "discard":
        return await this.#discard(disk, sector, count);
      default:
        assertEquals(await stamps(disk, sector, count), this.now(sector, count));
    }
  }

  /** Flushes a disk; others may write to it meanwhile. */
  async flush(disk: BlockDevice): Promise<void> {
    const begun = this.#order;
    await disk.flush();
    this.#durable = Math.max(this.#durable, begun);
  }

  /** Notes that a disk was closed: what was written is durable. */
  markDurable(): void {
    this.#durable = this.#order;
  }

  /** What sectors hold. */
  now(sector: number, count: number): number[] {
    return this.#versions.slice(sector, sector + count).map((versions) => versions.at(-1)!.stamp);
  }

  /**
   * Checks what a disk holds after a crash, and takes it for what it holds now.
   *
   * @param isDurable whether nothing else can come back: after a loss of power, but not after kill -9
   */
  async crashed(disk: BlockDevice, isDurable: boolean, label: string): Promise<void> {
    const found = await stamps(disk, 0, this.sectors);
    this.#order++;
    found.forEach((stamp, sector) => {
      const versions = this.#versions[sector]!;
      const oldest = versions.findLastIndex(({ order }) => order <= this.#durable);
      const may = versions.slice(oldest).map((version) => version.stamp);
      assert(may.includes(stamp), `${label}: sector ${sector} holds ${stamp}, may hold ${may}`);
      if (isDurable) this.#versions[sector] = [{ stamp, order: 0 }];
      else versions.push({ stamp, order: this.#order });
    });
  }

  /** A copy, for another way that things may go. */
  copy(): DiskHistory {
    const copy = new DiskHistory(this.sectors);
    this.#versions.forEach((versions, sector) => copy.#versions[sector] = [...versions]);
    copy.#order = this.#order;
    copy.#durable = this.#durable;
    return copy;
  }

  async #discard(disk: BlockDevice, sector: number, count: number): Promise<void> {
    const before = this.now(sector, count);
    this.#begin(sector, count, 0);
    await disk.discard(sector, count);
    const after = await stamps(disk, sector, count);
    after.forEach((stamp, i) => {
      assert(stamp === 0 || stamp === before[i], `sector ${sector + i} holds ${stamp}`);
      this.#begin(sector + i, 1, stamp);
    });
  }

  #begin(sector: number, count: number, stamp = this.#order + 1): number {
    this.#order++;
    for (let i = sector; i < sector + count; i++) {
      this.#versions[i]!.push({ stamp, order: this.#order });
    }
    return stamp;
  }
}
