/**
 * Images of disks, for tools and embedders: make, describe, check, repair, convert and commit them
 * (docs/disks.md). Each function locks the images that it uses as a VM does, and refuses those that are in use.
 *
 * Invariant: nothing is written to an image that a VM uses or a checkpoint keeps.
 */
import { hostFiles } from "./host/files.ts";
import type { Host } from "./host/host.ts";
import { importLate } from "./host/late_import.ts";
import type { DiskCheck } from "./storage/check_disk.ts";
import type { ConvertResult, ConvertTarget } from "./storage/convert.ts";
import type { NewDisk } from "./storage/create_disk.ts";
import type { DiskFormat } from "./storage/disk_format.ts";
import type { DiskInfo } from "./storage/disk_info.ts";
import type { ImageUseOptions } from "./storage/lock_image.ts";
import type { Qcow2Check, Qcow2Repair } from "./storage/qcow2/check.ts";
import type { CommitResult } from "./storage/qcow2/commit.ts";

/** An image that exists. */
export interface DiskSource {
  /** The file. */
  readonly path: string;
  /** Told by what is in the file when nobody says it. */
  readonly format?: DiskFormat;
}

/** How images are worked on. */
export interface DiskWorkOptions {
  /** Where they are; by default on the computer that this runs on. */
  readonly host?: Pick<Host, "files">;
  /** Told when the last writes of an image were in an overlay after a crash, and are in it now. */
  readonly warn?: (line: string) => void;
}

/** How images are worked on for long. */
export interface LongDiskWorkOptions extends DiskWorkOptions {
  /** Called with the sectors that were looked at so far, and how many there are. */
  readonly progress?: (sectors: number, of: number) => void;
}

/** How images are checked. */
export interface DiskCheckOptions extends DiskWorkOptions {
  /** What to repair; nothing by default. For qcow2 alone. */
  readonly repair?: Qcow2Repair;
}

/**
 * Makes an image of zeros, or one that reads as another until it is written to, in a file that does not exist.
 * Rejects with `ConfigError` when there can be none like that or somebody writes to what it is based on, with
 * `FormatError` and `HostError`.
 *
 * @param bytes of the disk; for an image that is based on another, the size of that by default
 */
export async function createDisk(
  disk: NewDisk,
  bytes?: number,
  options: DiskWorkOptions = {},
): Promise<void> {
  const { storage, files, use } = await load(options);
  await storage.createDisk(files, disk, bytes, use);
}

/** Describes an image, and the files that it is based on. Rejects with `FormatError` and `HostError`. */
export async function diskInfo(
  { path, format }: DiskSource,
  options: DiskWorkOptions = {},
): Promise<DiskInfo> {
  const { storage, files } = await load(options);
  return storage.diskInfo(files, path, format);
}

/**
 * Looks for damage in an image that nobody writes to, and repairs a qcow2 image that nobody uses when asked to. A raw
 * image has nothing to be checked, and is without damage.
 * Rejects with `ConfigError` when somebody does or it cannot be repaired so, with `FormatError` when it cannot be
 * checked, and with `HostError`.
 */
export async function checkDisk(
  source: DiskSource,
  options: DiskCheckOptions = {},
): Promise<DiskCheck> {
  const { storage, files, use } = await load(options);
  return await storage.checkDisk(files, source, { ...use, ...options });
}

/** The same for an image that is known to be a qcow2 image. */
export async function checkQcow2(
  path: string,
  options: DiskCheckOptions = {},
): Promise<Qcow2Check> {
  const { storage, files, use } = await load(options);
  return await storage.checkQcow2(files, path, { ...use, ...options });
}

/**
 * Copies a disk that nobody writes to into an image of any format, which must not exist and appears when it is
 * whole; what is zeros is left out. Rejects with `ConfigError`, `FormatError` and `HostError`, and then has made
 * nothing.
 */
export async function convertDisk(
  source: DiskSource,
  target: ConvertTarget,
  options: LongDiskWorkOptions = {},
): Promise<ConvertResult> {
  const { storage, files, use } = await load(options);
  return await storage.convertDisk(files, source, target, { ...use, ...options });
}

/**
 * Writes what a qcow2 image holds into the file that it is based on, and empties it; nobody may use either. One
 * that is interrupted is finished by another. Rejects with `ConfigError`, `FormatError` and `HostError`.
 */
export async function commitQcow2(
  path: string,
  options: LongDiskWorkOptions = {},
): Promise<CommitResult> {
  const { storage, files, use } = await load(options);
  return await storage.commitQcow2(files, path, { ...use, ...options });
}

/** What does it, loaded when it is wanted. */
async function load({ host, warn }: DiskWorkOptions) {
  const files = host?.files ?? hostFiles;
  const [storage, { keepsImage }] = await Promise.all([
    importLate<typeof import("./storage/mod.ts")>("./storage/mod.ts", import.meta.url),
    importLate<typeof import("./world/image_keepers.ts")>(
      "./world/image_keepers.ts",
      import.meta.url,
    ),
  ]);
  const use: ImageUseOptions = { keeps: keepsImage(files), ...warn && { warn } };
  return { storage, files, use };
}
