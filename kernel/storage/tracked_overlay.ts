/**
 * A qcow2 overlay over a disk that is in use, which is written back into that disk while a guest goes on
 * writing to the overlay (S17.1, S17.5, S17.10).
 *
 *     writes ──► overlay, and a mark for the grain when they have ended
 *     pass       for each marked grain: mark off, copy what the overlay has of it to the disk below
 *
 * Invariants: the overlay is never emptied, so that until it is removed it says all that its disk holds, and a
 * write-back that was cut anywhere is done by doing it again; a grain without a mark, that no write is under
 * way to, reads the same on the disk below. A mark is set when a write has ended: one that was copied half
 * done is copied again.
 */
import type { HostFiles } from "../host/files.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "./block_device.ts";
import type { DiskFormat } from "./disk_format.ts";
import { createQcow2, folderOf } from "./qcow2/create.ts";
import { readHeader } from "./qcow2/header.ts";
import { Qcow2Image } from "./qcow2/image.ts";
import { ImageFile } from "./qcow2/image_file.ts";
import { repairDirty } from "./qcow2/repair.ts";
import { WriteMarks } from "./write_marks.ts";

/** Most sectors that are copied before others have a turn. */
const STEP_SECTORS = 1024;
/** End of the name of a file that is being made. */
export const PARTIAL = ".partial";

/** What an overlay is over. */
export interface OverlayBase {
  /** Path as the overlay names it: relative to its folder, or from the root. */
  readonly path: string;
  readonly format: DiskFormat;
}

/**
 * Makes an empty overlay, in a file that must not exist, so that a crash leaves it whole or not at all; its
 * name is on stable storage then. A base in a format that QEMU does not know is not named in it. Rejects with
 * `ConfigError` and `HostError`.
 */
export async function createOverlay(
  files: HostFiles,
  path: string,
  base: OverlayBase,
  sectors: number,
): Promise<void> {
  const { format } = base;
  const partial = path + PARTIAL;
  if (files.exists(partial)) files.remove(partial);
  await createQcow2(files, partial, {
    bytes: sectors * SECTOR_BYTES,
    ...format !== "lazy-zero" && { backing: { path: base.path, format } },
  });
  files.rename(partial, path);
  await files.flushFolder(folderOf(path));
}

/**
 * Opens an overlay over a device that is open, which closing it leaves open. Rejects with `HostError` and
 * `FormatError`.
 */
export async function openOverlay(
  files: HostFiles,
  path: string,
  base: BlockDevice,
): Promise<Qcow2Image> {
  let file = files.open(path, { write: true });
  try {
    let header = readHeader(file);
    if (header.isDirty) {
      await repairDirty(file, header);
      file.close();
      file = files.open(path, { write: true });
      header = readHeader(file);
    }
    return new Qcow2Image(new ImageFile(file), header, base, false);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** An overlay that knows what of it the disk below does not have yet. */
export class TrackedOverlay implements BlockDevice {
  readonly sectors: number;
  readonly readOnly = false;
  readonly concurrent = true;
  readonly #marks: WriteMarks;

  constructor(readonly image: Qcow2Image) {
    this.sectors = image.sectors;
    this.#marks = new WriteMarks(image.sectors);
  }

  /** Sectors that the disk below may not have yet. */
  get markedSectors(): number {
    return this.#marks.markedSectors;
  }

  /** Takes it that the disk below has nothing. */
  markAll(): void {
    this.#marks.mark(0, this.sectors);
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return this.image.read(sector, into);
  }

  write(sector: number, bytes: Uint8Array): Promise<void> {
    return this.#change(
      sector,
      bytes.length / SECTOR_BYTES,
      () => this.image.write(sector, bytes),
    );
  }

  zero(sector: number, count: number, mayUnmap: boolean): Promise<void> {
    return this.#change(sector, count, () => this.image.zero(sector, count, mayUnmap));
  }

  discard(sector: number, count: number): Promise<void> {
    return this.#change(sector, count, () => this.image.discard(sector, count));
  }

  flush(): Promise<void> {
    return this.image.flush();
  }

  /** Does nothing: the image is its owner's. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * Copies all that is marked when it begins, or becomes so ahead of it, to the disk below. What it could not
   * copy stays marked. Rejects with what the disks reject with.
   *
   * @param yields called after each step, and waited for
   */
  async copyDown(to: BlockDevice, yields: () => Promise<void>): Promise<void> {
    for (let grain = 0; grain < this.#marks.grains; grain++) {
      const taken = this.#marks.take(grain);
      if (taken === undefined) continue;
      const { first, end } = taken;
      try {
        if (await this.#copyRange(to, first, end)) await yields();
      } catch (error) {
        this.#marks.mark(first, end);
        throw error;
      }
    }
  }

  async #change(sector: number, count: number, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } finally {
      this.#marks.mark(sector, sector + count);
    }
  }

  /** Copies what the overlay has of a range; whether that was anything. */
  async #copyRange(to: BlockDevice, first: number, end: number): Promise<boolean> {
    let any = false;
    for (let sector = first; sector < end;) {
      const { kind, sectors } = this.image.extent(sector);
      const count = Math.min(sectors, end - sector, STEP_SECTORS);
      if (kind === "zero") await to.zero(sector, count, true);
      if (kind === "data") {
        const part = new Uint8Array(count * SECTOR_BYTES);
        await this.image.read(sector, part);
        await to.write(sector, part);
      }
      if (kind !== "backing") any = true;
      sector += count;
    }
    return any;
  }
}
