/**
 * What a checkpoint says of a VM's disks (S17.10): for each, the files that it was made of at that moment.
 *
 *     copy      a file of the store's, made for this checkpoint, and those that it is based on
 *     image     the image itself, which nobody writes to any more, or which its VM left when it was suspended
 *     overlay   a file of the store's that a VM left when it was suspended
 *
 * Invariant: what is read back is complete, or refused by name.
 */
import { Shape } from "../base/shape.ts";
import { DRIVES_MAXIMUM } from "../limits.ts";
import { DISK_FORMATS, type DiskFormat } from "../storage/disk_format.ts";
import type { FileIdentity } from "../storage/file_identity.ts";
import type { PlainData } from "./checkpoint_format.ts";

/** Most files of a disk. */
const FILES_MAXIMUM = 64;
/** Version of this description. */
export const SAVED_DISK_VERSION = 1;

/** A file of a saved disk. */
export interface SavedFile extends FileIdentity {
  /** Whether the path is a name in the store's folder of disks. */
  readonly inStore: boolean;
  /** CRC-32 of all of it; null where it is not known. */
  readonly contents: number | null;
}

/** A disk as a checkpoint describes it. */
export interface SavedDisk {
  readonly format: DiskFormat;
  readonly sectors: number;
  readonly readOnly: boolean;
  /** The file, and those that it is based on. */
  readonly files: readonly SavedFile[];
}

/** The value that a checkpoint keeps. */
export function encodeSavedDisk(disk: SavedDisk): PlainData {
  const files = disk.files.map((file) => ({ ...file }));
  return { version: SAVED_DISK_VERSION, ...disk, files };
}

/** Reads what `encodeSavedDisk` gave. Throws FormatError; `where` is the checkpoint. */
export function decodeSavedDisks(value: unknown, where: string): SavedDisk[] {
  return new Shape(value, `${where}: disks`).list(DRIVES_MAXIMUM, (disk) => {
    disk.field("version").whole(SAVED_DISK_VERSION, SAVED_DISK_VERSION);
    return {
      format: disk.field("format").oneOf<DiskFormat>(DISK_FORMATS),
      sectors: disk.field("sectors").whole(1),
      readOnly: disk.field("readOnly").flag(),
      files: disk.field("files").list(FILES_MAXIMUM, (file) => {
        const inStore = file.field("inStore").flag();
        return {
          inStore,
          path: inStore
            ? file.field("path").matching(STORE_NAME, "a name in the store")
            : file.field("path").text(4096),
          bytes: file.field("bytes").whole(0),
          modified: file.optional("modified", (it) => it.whole(0)) ?? null,
          digest: file.field("digest").whole(0, 0xffff_ffff),
          contents: file.optional("contents", (it) => it.whole(0, 0xffff_ffff)) ?? null,
        };
      }),
    };
  });
}

/** A name of a file in the store's folder of disks. */
const STORE_NAME = /^[0-9a-z][0-9a-z.-]*\.qcow2$/;

/** Names of the store's files that disks refer to, also where the rest cannot be read. */
export function storeFilesOf(disks: readonly PlainData[]): string[] {
  const names: string[] = [];
  for (const disk of disks) {
    const files = typeof disk === "object" && disk !== null
      ? (disk as { readonly files?: unknown }).files
      : undefined;
    if (!Array.isArray(files)) continue;
    for (const file of files) if (file?.inStore === true) names.push(`${file.path}`);
  }
  return names;
}
