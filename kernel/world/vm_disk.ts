/**
 * One disk of a VM in the kernel world, and what a checkpoint does with it (S17.1, S17.5, S17.7, S17.8, S17.10):
 *
 *     prepare      an empty overlay over the image, while the VM runs
 *     switch       at the moment: requests that begin later go to the overlay
 *     frozen       the last request to the image has ended, and the image is on stable storage
 *     retain       the overlay is the disk from now on, the image is the checkpoint's
 *     writeBack    the overlay is written into the image while the VM runs; for the last few grains requests
 *                  wait; then the image is the disk again, and the overlay goes
 *
 * Invariants: what the guest was told to be on stable storage is there at any instant, in the image, or in the
 * overlay that the image's note names (storage/overlay_note.ts); a disk that could not be written back, or whose
 * overlay cannot be removed, goes on in its overlay; a copy that is a difference to the last one has all that was
 * written since that one's moment.
 */
import { assert } from "../base/assert.ts";
import { closeAll } from "../base/close_all.ts";
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import type { SavedFile } from "../checkpoint/saved_disk.ts";
import { SECTOR_BYTES } from "../limits.ts";
import { copyDisk, copyMarked } from "../storage/convert.ts";
import { type FileIdentity, identityOf } from "../storage/file_identity.ts";
import { imageChain, type ImageFileName, type ImageLocks } from "../storage/image_files.ts";
import { openDisk } from "../storage/open_disk.ts";
import { overlayPath, removeOverlay, writeNote } from "../storage/overlay_note.ts";
import { CHAIN_MAXIMUM } from "../storage/qcow2/open.ts";
import { createQcow2 } from "../storage/qcow2/create.ts";
import { Qcow2Image } from "../storage/qcow2/image.ts";
import { StoppedDisk } from "../storage/stopped_disk.ts";
import { LentDevice, SwitchedDisk } from "../storage/switched_disk.ts";
import { createOverlay, openOverlay, PARTIAL, TrackedOverlay } from "../storage/tracked_overlay.ts";
import { WriteMarks } from "../storage/write_marks.ts";

/** Most sectors that are written back while requests wait; a sixteenth of a small disk. */
const FEW_SECTORS = 8192;
/** Files that a disk may have besides those that were retained: overlays of saves, of forks and of users. */
const SPARE_OVERLAYS = 4;
/** Passes over an overlay before requests have to wait, however many sectors are left. */
const PASSES_MAXIMUM = 8;
/** Most files of a copy: the next one is whole again. */
const COPIES_MAXIMUM = 8;
/** Sectors of a cluster of a copy. */
const COPY_GRAIN_SECTORS = 128;

/** A disk that is open. */
export interface VmDiskParts {
  /** The image, by its one path. */
  readonly image: ImageFileName;
  readonly readOnly: boolean;
  readonly device: BlockDevice;
  /** Whether the image is the VM's alone and goes with it. */
  readonly isScratch: boolean;
  /** Locks on its files. */
  readonly locks: ImageLocks;
}

/** Which overlay to make. */
export interface OverlayPlan {
  /** Id of the checkpoint. */
  readonly id: string;
  /** File of the checkpoint that keeps the image, if one is to. */
  readonly keeper: string | undefined;
  /** Path of the overlay of a scratch image. */
  readonly scratchPath: string;
}

interface Overlay {
  readonly path: string;
  readonly image: Qcow2Image;
  readonly tracked: TrackedOverlay;
  drained: Promise<void> | undefined;
}

/** A disk of a VM. */
export class VmDisk {
  /** What its service serves, whatever it is made of. */
  readonly served: SwitchedDisk;
  readonly readOnly: boolean;
  /** Whether its image is removed when the VM ends. */
  isScratch: boolean;
  #image: ImageFileName;
  #device: BlockDevice;
  #lent: LentDevice;
  /** Images that overlays which were retained are over. */
  readonly #below: BlockDevice[] = [];
  readonly #locks: ImageLocks;
  #overlay: Overlay | undefined;
  /** What was written since the last copy of it was made, or is being made. */
  #changes: WriteMarks | undefined;
  /** What was written between the last copy and the one that is being made. */
  #toCopy: WriteMarks | undefined;
  /** The last copy of it that a checkpoint has, and the files that this is based on. */
  #copy: readonly SavedFile[] | undefined;

  constructor(private readonly files: HostFiles, parts: VmDiskParts) {
    this.#image = parts.image;
    this.readOnly = parts.readOnly;
    this.isScratch = parts.isScratch;
    this.#device = parts.device;
    this.#lent = new LentDevice(parts.device);
    this.#locks = parts.locks;
    this.served = new SwitchedDisk(this.#lent);
    this.served.changed = (first, end) => {
      this.#changes?.mark(first, end);
      // What was under way at the moment may end before the copy begins.
      this.#toCopy?.mark(first, end);
    };
  }

  /** The image that it is made of, but for an overlay of a checkpoint that is being made. */
  get image(): ImageFileName {
    return this.#image;
  }

  /** Where the disk is now: its image, or the overlay that it goes on in. */
  get livePath(): string {
    return this.#overlay?.path ?? this.#image.path;
  }

  /** Whether it is in an overlay that is to go. */
  get hasOverlay(): boolean {
    return this.#overlay !== undefined;
  }

  /** Makes an overlay (S17.1). Rejects with `ConfigError` and `HostError`, and then leaves nothing. */
  async prepare(plan: OverlayPlan): Promise<void> {
    assert(this.#overlay === undefined && !this.readOnly, "a disk has one overlay at a time");
    const { files, isScratch } = this;
    const { path, format } = this.#image;
    if (plan.keeper !== undefined && format === "lazy-zero") {
      throw new ConfigError(
        `Cannot keep "${path}" as it is: a lazily initialised image cannot have an overlay for good; ` +
          `expected disk "copy-commit"`,
      );
    }
    if (plan.keeper !== undefined) this.#refuseTooDeep();
    const overlay = isScratch ? plan.scratchPath : overlayPath(path, plan.id);
    if (files.exists(overlay)) throw new HostError(`Cannot make "${overlay}": it exists already`);
    try {
      if (!isScratch) await writeNote(files, this.#image, overlay, plan.keeper);
      const base = { path: path.slice(path.lastIndexOf("/") + 1), format };
      await createOverlay(files, overlay, base, this.served.sectors);
      this.#locks.take(overlay, true);
      const image = await openOverlay(files, overlay, this.#lent);
      const tracked = new TrackedOverlay(image);
      this.#overlay = { path: overlay, image, tracked, drained: undefined };
    } catch (error) {
      if (isExpected(error)) {
        await this.#remove(overlay).catch(ignoreHostErrors);
        this.#locks.release(overlay);
      }
      throw error;
    }
  }

  /** Throws `ConfigError` where one more overlay for good would leave no room for those of saves and forks. */
  #refuseTooDeep(): void {
    const { length } = imageChain(this.files, this.#image);
    if (length < CHAIN_MAXIMUM - SPARE_OVERLAYS) return;
    throw new ConfigError(
      `Cannot keep "${this.#image.path}" as it is: its disk lies in ${length} files already, of at most ` +
        `${
          CHAIN_MAXIMUM - SPARE_OVERLAYS
        }; expected disk "copy-commit", or an image without them ` +
        `(disk convert)`,
    );
  }

  /**
   * Requests that begin later go to the overlay.
   *
   * @param copies whether a copy of the image follows
   */
  switch(copies: boolean): void {
    if (copies) {
      this.#toCopy = this.#changes;
      this.#changes = new WriteMarks(this.served.sectors);
    }
    const overlay = this.#overlay;
    assert(overlay !== undefined, "an overlay was made before the stop");
    overlay.drained = this.served.swap(overlay.tracked);
    // Whoever waits for it is told.
    overlay.drained.catch(() => {});
  }

  /** Resolves when nothing is written to the image any more and it is on stable storage (S17.7). */
  async frozen(): Promise<void> {
    await this.#overlay?.drained;
  }

  /**
   * Copies the image, which is frozen, into a qcow2 image under a temporary name; what was not written since
   * the last copy is left to that, if it is still there. Gives the files that the copy is based on. Rejects
   * with `HostError`.
   *
   * @param isThere whether a file of the store is
   */
  async copyTo(
    path: string,
    isThere: (name: string) => boolean,
    yields: () => Promise<void>,
  ): Promise<readonly SavedFile[]> {
    const { files } = this;
    const marks = this.#toCopy;
    const last = this.#copy ?? [];
    const isUsable = marks !== undefined && last.length > 0 && last.length < COPIES_MAXIMUM &&
      last.every((file) => isThere(file.path));
    const base = isUsable ? last : [];
    const partial = { path: path + PARTIAL, format: "qcow2" as const };
    await createQcow2(files, partial.path, {
      bytes: this.served.sectors * SECTOR_BYTES,
      ...isUsable && { backing: { path: last[0]!.path, format: "qcow2" } },
    });
    const copy = await openDisk(files, { ...partial, readOnly: false });
    try {
      // An image of QEMU's says itself what is zeros; others share the way with requests.
      const from = this.#device instanceof Qcow2Image ? this.#device : this.#lent;
      if (isUsable) {
        // Those of the image are all there; what a later request marks is not wanted.
        this.#toCopy = undefined;
        try {
          await copyMarked(from, copy, marks, yields);
        } catch (error) {
          // Which marks are left says nothing: the next copy is whole.
          this.#copy = undefined;
          throw error;
        }
      } else {
        await copyDisk(from, copy, COPY_GRAIN_SECTORS, yields);
      }
      await copy.flush();
    } finally {
      await copy.close();
    }
    return base;
  }

  /** A checkpoint has a copy, which the next one may be based on; undefined: it was given up. */
  copied(copy: readonly SavedFile[] | undefined): void {
    this.#copy = copy;
    this.#toCopy = undefined;
  }

  /** What the files of the image are, which nobody writes to now. Rejects with `HostError` and `FormatError`. */
  async identities(): Promise<FileIdentity[]> {
    const device = this.#device;
    if (!this.readOnly) {
      // Closing it later must change nothing.
      if (device instanceof Qcow2Image) await device.settle();
      else for (let i = 0; i < 2; i++) await device.flush();
    }
    return imageChain(this.files, this.#image).map(({ path }) => {
      return identityOf(this.files, this.files.facts(path).path);
    });
  }

  /** Goes on in the overlay for good: the image is the checkpoint's. */
  retain(): void {
    const overlay = this.#overlay;
    assert(overlay?.drained !== undefined, "the disk was switched");
    this.#below.push(this.#device);
    this.#share(this.#image.path);
    this.#image = { path: overlay.path, format: "qcow2" };
    this.#device = overlay.image;
    this.#lent = new LentDevice(overlay.image);
    this.#overlay = undefined;
    void this.served.swap(this.#lent).catch(() => {});
  }

  /**
   * Writes the overlay into the image, and goes on there. Rejects with `HostError` that says where the disk is
   * when it cannot: it then goes on in the overlay, and this may be tried again; or it takes no more writes,
   * when nobody knows whether what it gets would be found after a loss of power.
   */
  async writeBack(yields: () => Promise<void>): Promise<void> {
    const overlay = this.#overlay;
    if (overlay === undefined) return;
    const { tracked } = overlay;
    const base = this.#lent;
    let stopped: StoppedDisk | undefined;
    try {
      await this.#passes(tracked, base, yields);
      await this.served.replace(async () => {
        await tracked.copyDown(base, yields);
        await base.flush();
        stopped = await this.#end(overlay);
        return stopped ?? base;
      });
    } catch (error) {
      tracked.markAll();
      throw error;
    }
    if (stopped !== undefined) throw stopped.reason;
  }

  /**
   * Ends the overlay, all of which the image has on stable storage. Rejects with `HostError` when it stays the
   * disk; gives what is the disk from now on when nothing may be written to the image either.
   */
  async #end(overlay: Overlay): Promise<StoppedDisk | undefined> {
    const { path, image } = overlay;
    let stopped: StoppedDisk | undefined;
    try {
      await this.#remove(path);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      if (this.files.exists(path)) {
        throw new HostError(
          `"${this.#image.path}" has all that was written to its disk, which goes on in "${path}": ` +
            error.message,
          { cause: error },
        );
      }
      stopped = await this.#empty(overlay);
    }
    this.#overlay = undefined;
    this.#locks.release(path);
    // Nothing is asked of it any more.
    await image.close().catch(() => {});
    return stopped;
  }

  /**
   * Empties an overlay whose name is gone, but may come back with a loss of power: over an image that was written
   * to since, it must have nothing then. Gives what is the disk from now on when it cannot.
   */
  async #empty({ path, image }: Overlay): Promise<StoppedDisk | undefined> {
    try {
      await image.makeEmpty();
      await image.flush();
      return undefined;
    } catch (error) {
      if (!isExpected(error)) throw error;
      const reason = new HostError(
        `"${this.#image.path}" has all that was written to its disk, which takes no more writes, because ` +
          `"${path}" may come back with a loss of power: ${error.message}`,
        { cause: error },
      );
      return new StoppedDisk(this.#lent, reason);
    }
  }

  /**
   * Closes all of it, when nothing is asked of it any more; a scratch image goes. Rejects with `HostError` when a
   * part cannot be closed well.
   */
  async close(): Promise<void> {
    const failures = await closeAll([
      // An overlay that is left is found by its note.
      { close: () => this.writeBack(() => Promise.resolve()).catch(ignoreHostErrors) },
      { close: () => this.#overlay?.image.close() },
      ...[this.#device, ...this.#below.toReversed()],
      { close: () => this.isScratch && this.files.remove(this.#image.path) },
    ]);
    this.#locks.releaseAll();
    if (failures.length === 0) return;
    // One that nobody expects says more.
    throw failures.find((error) => !(error instanceof HostError)) ?? failures[0];
  }

  /** Passes over the overlay while requests go on, until little is left. */
  async #passes(
    tracked: TrackedOverlay,
    base: BlockDevice,
    yields: () => Promise<void>,
  ): Promise<void> {
    const few = Math.min(FEW_SECTORS, tracked.sectors / 16);
    for (let pass = 0; pass < PASSES_MAXIMUM; pass++) {
      const before = tracked.markedSectors;
      if (before <= few) return;
      await tracked.copyDown(base, yields);
      if (tracked.markedSectors > before / 2) return;
    }
  }

  /** Lets those share an image who go on from the checkpoint. */
  #share(path: string): void {
    try {
      this.#locks.share(path);
    } catch (error) {
      // Somebody who wants it alone is refused by its note, or by the checkpoint that refers to it.
      if (!(error instanceof ConfigError)) throw error;
    }
  }

  async #remove(overlay: string): Promise<void> {
    const { files } = this;
    if (!this.isScratch) await removeOverlay(files, this.#image.path, overlay);
    else {for (const path of [overlay + PARTIAL, overlay]) {
        if (files.exists(path)) files.remove(path);
      }}
  }
}

function isExpected(error: unknown): error is Error {
  return error instanceof HostError || error instanceof ConfigError || error instanceof FormatError;
}

function ignoreHostErrors(error: unknown): void {
  if (!(error instanceof HostError)) throw error;
}
