/**
 * A note beside an image that says where its disk goes on: in an overlay, while a checkpoint is made, or for
 * good (S17.10). It is what the next start with that image finds after a crash.
 *
 *     IMAGE.goes-on      JSON: the overlay's name, and the checkpoint that keeps the image, if one is to
 *     IMAGE.ID.qcow2     the overlay; an overlay's own overlay has the name of the first image, too
 *
 * TABLE of what there can be, and what a start with the image does:
 *
 *     note, no overlay                          the note goes: nothing was in the overlay, or all of it is below
 *     note, overlay, no checkpoint keeps image  the overlay is written into the image, and both go
 *     note, overlay, a checkpoint keeps image   refused, with the name of the overlay
 *
 * A checkpoint keeps an image that it refers to: the one that the note names, for which it was retained, and
 * others that were made since of VMs whose disks are based on it (`KeepsImage`).
 *
 * Invariants: the note is on stable storage before there is an overlay, and there is one before a guest writes
 * to it; the overlay is removed, durably, when the image has all of it on stable storage and before the guest
 * writes to the image again; who does any of this has the image locked alone.
 */
import { ConfigError, FormatError } from "../base/errors.ts";
import { Shape } from "../base/shape.ts";
import type { HostFiles } from "../host/files.ts";
import { DISK_FORMATS, type DiskFormat } from "./disk_format.ts";
import { type ImageFileName, ImageLocks } from "./image_files.ts";
import { openDisk } from "./open_disk.ts";
import { folderOf } from "./qcow2/create.ts";
import { CHAIN_MAXIMUM } from "./qcow2/open.ts";
import { LentDevice } from "./switched_disk.ts";
import { openOverlay, PARTIAL, TrackedOverlay } from "./tracked_overlay.ts";

/** End of a note's name. */
const NOTE = ".goes-on";
const NOTE_VERSION = 1;
/** Most bytes of a note. */
const NOTE_BYTES = 65_536;

/** What a note says. */
export interface OverlayNote {
  /** Name of the overlay, in the folder of the image. */
  readonly overlay: string;
  /** Format of the image: what it looks like may be what its guest wrote. */
  readonly format: DiskFormat;
  /** File of the checkpoint that keeps the image, once it is there; undefined: none is to. */
  readonly keeper: string | undefined;
}

/**
 * Tells whether any checkpoint of a store refers to an image. The store is that of `keeper`, the file of the
 * checkpoint that the image was retained for, which may be gone. Throws `HostError`.
 */
export type KeepsImage = (image: string, keeper: string) => boolean;

/** Path of an image's note. */
const notePath = (image: string) => image + NOTE;

/** What overlays of overlays would add to their names each time. */
const OVERLAYS = /(\.[0-9a-f]{8}\.qcow2)+$/;

/** Path of an overlay of an image, which may be an overlay itself: all of a disk have its first image's name. */
export function overlayPath(image: string, id: string): string {
  return `${image.replace(OVERLAYS, "")}.${id.slice(0, 8)}.qcow2`;
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function overlayOf(image: string, { overlay }: OverlayNote): string {
  return `${image.slice(0, image.lastIndexOf("/") + 1)}${overlay}`;
}

/** The note beside an image. Throws `FormatError` and `HostError`. */
export function readNote(files: HostFiles, image: string): OverlayNote | undefined {
  const path = notePath(image);
  if (!files.exists(path)) return undefined;
  const file = files.open(path);
  const bytes = new Uint8Array(Math.min(NOTE_BYTES, file.size));
  try {
    file.read(0, bytes);
  } finally {
    file.close();
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new FormatError(`"${path}" cannot be read: expected JSON`, { cause });
  }
  const note = new Shape(value, `"${path}"`);
  const version = note.field("version").whole(1);
  if (version !== NOTE_VERSION) {
    throw new FormatError(`"${path}" is of version ${version}; this program reads ${NOTE_VERSION}`);
  }
  return {
    overlay: note.field("overlay").matching(/^[^/]+\.qcow2$/, "a file's name"),
    format: note.field("format").oneOf(DISK_FORMATS),
    keeper: note.optional("keeper", (it) => it.text(4096)),
  };
}

/** Whether a checkpoint needs an image with a note as it is. Throws `HostError`. */
export function isKept(
  files: HostFiles,
  image: string,
  { keeper }: OverlayNote,
  keeps?: KeepsImage,
): boolean {
  if (keeper === undefined) return false;
  return files.exists(keeper) || keeps?.(image, keeper) === true;
}

/**
 * Refuses an image that a checkpoint keeps, whose disk goes on elsewhere, to those who would write to it.
 * Throws `ConfigError` then, `FormatError` and `HostError`.
 */
export function refuseKept(files: HostFiles, path: string, keeps?: KeepsImage): void {
  const note = readNote(files, path);
  if (note === undefined || !isKept(files, path, note, keeps)) return;
  const overlay = overlayOf(path, note);
  if (!files.exists(overlay)) return;
  throw new ConfigError(
    `"${path}" is kept as it was by a checkpoint, and its disk goes on in "${
      liveOf(files, overlay)
    }": expected that image, or that all checkpoints that keep it are deleted first`,
  );
}

/** Whether a crash left what an image is without in this overlay. Throws `FormatError` and `HostError`. */
export function isOverlayOf(files: HostFiles, image: string, overlay: string): boolean {
  const note = readNote(files, image);
  return note !== undefined && overlayOf(image, note) === overlay;
}

/** Writes the note of an image that has none, durably. Rejects with `HostError`. */
export async function writeNote(
  files: HostFiles,
  { path: image, format }: ImageFileName,
  overlay: string,
  keeper: string | undefined,
): Promise<void> {
  const path = notePath(image);
  const partial = path + PARTIAL;
  const value = { version: NOTE_VERSION, overlay: nameOf(overlay), format, keeper: keeper ?? null };
  if (files.exists(partial)) files.remove(partial);
  const file = files.create(partial);
  try {
    file.write(0, new TextEncoder().encode(`${JSON.stringify(value)}\n`));
    await file.flush();
  } finally {
    file.close();
  }
  files.rename(partial, path);
  await files.flushFolder(folderOf(path));
}

/**
 * Ends an overlay whose image has all of it on stable storage: neither it nor the note comes back after a
 * crash. Rejects with `HostError`.
 */
export async function removeOverlay(
  files: HostFiles,
  image: string,
  overlay: string,
): Promise<void> {
  for (const path of [overlay + PARTIAL, overlay]) if (files.exists(path)) files.remove(path);
  await files.flushFolder(folderOf(image));
  removeNote(files, image);
}

/** What is left of a note says nothing: its overlay is gone for good, or was never made. */
function removeNote(files: HostFiles, image: string): void {
  const path = notePath(image);
  for (const each of [path + PARTIAL, path]) if (files.exists(each)) files.remove(each);
}

/**
 * Makes an image whole, which the caller has locked alone: what a crash left in an overlay is written into it.
 * Gives a line about what was done; undefined when there was nothing to do. Rejects with `ConfigError` when the
 * disk goes on elsewhere, `FormatError` and `HostError`.
 */
export async function settleOverlay(
  files: HostFiles,
  path: string,
  keeps?: KeepsImage,
): Promise<string | undefined> {
  const note = readNote(files, path);
  if (note === undefined) {
    removeNote(files, path);
    return undefined;
  }
  const overlay = overlayOf(path, note);
  if (!files.exists(overlay)) {
    await removeOverlay(files, path, overlay);
    return undefined;
  }
  refuseKept(files, path, keeps);
  const locks = new ImageLocks(files);
  locks.take(overlay, true);
  try {
    await settleOverlay(files, overlay, keeps);
    await commitOverlay(files, { path, format: note.format }, overlay);
  } finally {
    locks.releaseAll();
  }
  return `"${path}" was left without its last writes, which are in "${overlay}": they were written into it`;
}

/** Where the disk of an image is in the end. Throws `FormatError` and `HostError`. */
function liveOf(files: HostFiles, image: string): string {
  let live = image;
  for (let depth = 0; depth < CHAIN_MAXIMUM; depth++) {
    const note = readNote(files, live);
    if (note === undefined || !files.exists(overlayOf(live, note))) break;
    live = overlayOf(live, note);
  }
  return live;
}

/** Writes an overlay that nobody uses into its image, and removes it. */
async function commitOverlay(
  files: HostFiles,
  image: ImageFileName,
  overlay: string,
): Promise<void> {
  const base = await openDisk(files, { ...image, readOnly: false });
  try {
    const top = await openOverlay(files, overlay, new LentDevice(base));
    try {
      if (top.sectors !== base.sectors) {
        throw new FormatError(`"${overlay}" is of another size than "${image.path}"`);
      }
      const tracked = new TrackedOverlay(top);
      tracked.markAll();
      await tracked.copyDown(base, () => Promise.resolve());
      await base.flush();
    } finally {
      await top.close();
    }
  } finally {
    await base.close();
  }
  await removeOverlay(files, image.path, overlay);
}
