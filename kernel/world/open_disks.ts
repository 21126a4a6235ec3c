/**
 * Opens the disks of a VM: images that a user names, at power-on; what a checkpoint says, for a VM that goes on
 * from it (S17.10; issue 5, "Disks", "Forks").
 *
 *     power-on, image        locked; what a crash left in an overlay is written into it first
 *     resume                 the images themselves, if nobody has changed them
 *     restore, fork          a new overlay for each disk over what the checkpoint has, which nobody writes to
 *
 * Invariant: all disks are opened or none; nothing that a checkpoint refers to is written to, but by the one VM
 * that goes on from a suspended state.
 */
import { ConfigError, FormatError } from "../base/errors.ts";
import { overlayName } from "../checkpoint/disk_folder.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import { decodeSavedDisks, type SavedDisk } from "../checkpoint/saved_disk.ts";
import type { Host } from "../host/host.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import { checkIdentity } from "../storage/file_identity.ts";
import { ImageLocks } from "../storage/image_files.ts";
import { lockImage } from "../storage/lock_image.ts";
import { type DiskImage, openDisk } from "../storage/open_disk.ts";
import { createOverlay, openOverlay } from "../storage/tracked_overlay.ts";
import { keepsImage } from "./image_keepers.ts";
import type { DiskShape } from "./machine_port.ts";
import { VmDisk, type VmDiskParts } from "./vm_disk.ts";
import { VmDisks } from "./vm_disks.ts";

type DiskHost = Pick<Host, "files" | "timers">;

/**
 * Opens images for a VM that is switched on.
 *
 * @param warn told when something was put in order
 */
export function openImages(
  host: DiskHost,
  images: readonly DiskImage[],
  warn: (line: string) => void,
): Promise<VmDisks> {
  return openAll(host, images, (image, locks) => openImage(host, image, locks, warn));
}

async function openImage(
  { files }: DiskHost,
  drive: DiskImage,
  locks: ImageLocks,
  warn: (line: string) => void,
): Promise<VmDiskParts> {
  const { path: name, readOnly } = drive;
  const image = await lockImage(files, drive, locks, { keeps: keepsImage(files), warn });
  const device = await openDisk(files, { ...image, path: name, readOnly });
  return { image, readOnly, device, isScratch: false, locks };
}

/** What a VM goes on from. */
export interface SavedDisksFrom {
  readonly store: CheckpointStore;
  /** Id of the checkpoint. */
  readonly id: string;
  /** What it says of disks. */
  readonly disks: unknown;
  /** Disks of its machine. */
  readonly shapes: readonly DiskShape[];
  /** Whether the images themselves are gone on with: by the one VM of a suspended state. */
  readonly inPlace: boolean;
}

/**
 * Opens the disks of a checkpoint. Rejects with `ConfigError` when a file is missing or
 * has changed, `FormatError` and `HostError`.
 */
export async function openSaved(
  host: DiskHost,
  from: SavedDisksFrom,
): Promise<VmDisks> {
  const { store, id, shapes } = from;
  const where = `checkpoint ${id}`;
  const saved = decodeSavedDisks(from.disks, where);
  if (saved.length !== shapes.length) {
    throw new FormatError(`${where} has ${saved.length} disks, its machine ${shapes.length}`);
  }
  return await store.disks.share(async () => {
    if (!store.has(id)) throw new ConfigError(`There is no ${where} any more`);
    try {
      return await openAll(host, saved, (disk, locks, i) => {
        const { sectors, readOnly } = shapes[i]!;
        if (disk.sectors !== sectors || disk.readOnly !== readOnly) {
          throw new FormatError(`${where}: its disk ${i} is not that of its machine`);
        }
        return openOne(host, from, disk, locks);
      });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw new ConfigError(`Cannot go on from ${where}: ${error.message}`, { cause: error });
    }
  });
}

async function openOne(
  { files }: DiskHost,
  { store: { disks: store }, inPlace }: SavedDisksFrom,
  disk: SavedDisk,
  locks: ImageLocks,
): Promise<VmDiskParts> {
  const chain = disk.files.map((file) => {
    return { ...file, path: file.inStore ? store.pathOf(file.path) : file.path };
  });
  const [top, ...below] = chain;
  if (top === undefined) throw new FormatError("one of its disks is made of no file");
  const { format, readOnly } = disk;
  const writes = inPlace && !readOnly;
  for (const file of chain) {
    if (!files.exists(file.path)) throw new ConfigError(`"${file.path}" is missing`);
  }
  locks.takeChain([top, ...below].map(({ path }) => ({ path, format })), !writes);
  for (const file of chain) checkIdentity(files, file);
  const image = { path: top.path, format };
  const device = await openDisk(files, { ...image, readOnly: !writes });
  try {
    if (device.sectors !== disk.sectors) {
      throw new FormatError(`"${top.path}" is a disk of another size`);
    }
    if (writes || readOnly) {
      return { image, readOnly, device, isScratch: false, locks };
    }
    if (format === "lazy-zero") {
      throw new ConfigError(
        `"${top.path}" is lazily initialised, which cannot be the base of other disks: expected resume, ` +
          `which goes on in it`,
      );
    }
    return await overlay(device, disk);
  } catch (error) {
    await device.close();
    throw error;
  }

  /** A new overlay in the store. */
  async function overlay(base: BlockDevice, { sectors }: SavedDisk): Promise<VmDiskParts> {
    const path = store.pathOf(overlayName(store.newId()));
    const inStore = disk.files[0]!.inStore;
    const name = inStore ? disk.files[0]!.path : top!.path;
    await createOverlay(files, path, { path: name, format }, sectors);
    try {
      locks.take(path, true);
      const opened = await openOverlay(files, path, base);
      const image = { path, format: "qcow2" as const };
      // Closing the overlay closes what it is over.
      return { image, readOnly, device: opened, isScratch: true, locks };
    } catch (error) {
      files.remove(path);
      throw error;
    }
  }
}

/** Opens all disks, or none. */
async function openAll<T>(
  host: DiskHost,
  what: readonly T[],
  open: (one: T, locks: ImageLocks, i: number) => Promise<VmDiskParts>,
): Promise<VmDisks> {
  const disks: VmDisk[] = [];
  try {
    for (const [i, one] of what.entries()) {
      const locks = new ImageLocks(host.files);
      try {
        disks.push(new VmDisk(host.files, await open(one, locks, i)));
      } catch (error) {
        locks.releaseAll();
        throw error;
      }
    }
    return new VmDisks(host, disks);
  } catch (error) {
    await new VmDisks(host, disks).close();
    throw error;
  }
}
