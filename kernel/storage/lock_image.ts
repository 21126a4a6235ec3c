/**
 * Locks images for those who use them, VMs and commands alike (S17.10; docs/disks.md).
 *
 * Invariants: nobody reads an image without its last writes because a crash left them in an overlay; what a
 * checkpoint keeps is written to by nobody; what does not exist is refused, and not made.
 */
import type { HostFiles } from "../host/files.ts";
import type { DiskFormat } from "./disk_format.ts";
import { imageChain, type ImageFileName, ImageLocks } from "./image_files.ts";
import { formatOf } from "./open_disk.ts";
import { isKept, type KeepsImage, readNote, settleOverlay } from "./overlay_note.ts";

/** An image and what is to be done with it. */
export interface ImageUse {
  readonly path: string;
  readonly readOnly: boolean;
  /** Told by what is in the file when nobody says it. */
  readonly format?: DiskFormat | undefined;
}

/** What is to be known of images that are used. */
export interface ImageUseOptions {
  /** Which checkpoints need images; by default those are known that images were kept for. */
  readonly keeps?: KeepsImage;
  /** Told when something was put in order. */
  readonly warn?: (line: string) => void;
}

/**
 * Locks an image, alone or shared, and shares what it is based on; what a crash left in an overlay is written
 * into it first. Gives it by its one path. Rejects with `ConfigError` when somebody's lock is in the way or its
 * disk goes on elsewhere, `FormatError` and `HostError`.
 */
export async function lockImage(
  files: HostFiles,
  use: ImageUse,
  locks: ImageLocks,
  options: ImageUseOptions = {},
): Promise<ImageFileName> {
  const path = await settleImage(files, use, options);
  const { path: name, readOnly } = use;
  // A name that the user gave is better to read in messages than where it leads to.
  const image = { path, format: formatOf(files, use) };
  const [, ...below] = imageChain(files, { ...image, path: name });
  locks.takeChain([image, ...below], readOnly);
  return image;
}

/** Locks an image while something is done. Rejects like `lockImage`, and as `act` does. */
export async function withImage<T>(
  files: HostFiles,
  use: ImageUse,
  options: ImageUseOptions,
  act: (image: ImageFileName) => Promise<T>,
): Promise<T> {
  const locks = new ImageLocks(files);
  try {
    return await act(await lockImage(files, use, locks, options));
  } finally {
    locks.releaseAll();
  }
}

/**
 * Writes what a crash left in an overlay of an image into it, which nobody may have locked then; gives its one
 * path. Rejects like `lockImage`.
 */
export async function settleImage(
  files: HostFiles,
  { path: name, readOnly }: Pick<ImageUse, "path" | "readOnly">,
  { keeps, warn }: ImageUseOptions,
): Promise<string> {
  const { path } = files.facts(name);
  // A disk that its last VM left in an overlay is put in order also for those who only read it.
  const note = readNote(files, path);
  if (readOnly && (note === undefined || isKept(files, path, note, keeps))) return path;
  const locks = new ImageLocks(files);
  locks.take(path, true);
  try {
    const done = await settleOverlay(files, path, keeps);
    if (done !== undefined) warn?.(done);
  } finally {
    locks.releaseAll();
  }
  return path;
}
