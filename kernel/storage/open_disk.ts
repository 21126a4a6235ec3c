/**
 * Opens the images that disks are made of, whatever their format (issue 5, section 3).
 *
 * Invariant: a format that somebody named is never second-guessed;
 * one that nobody named is told by what the file looks like, which a guest that may write to a raw image
 * decides: it can make that look like an image with a backing file of its choice. That is why whoever runs
 * guests that he does not trust should name the format, and why backing files must (qcow2/open.ts).
 */
import { ConfigError } from "../base/errors.ts";
import type { HostFile, HostFiles } from "../host/files.ts";
import type { BlockDevice } from "./block_device.ts";
import type { DiskFormat } from "./disk_format.ts";
import { isLazyZero, openLazyZero } from "./lazy_zero/mod.ts";
import { hasQcow2Magic } from "./qcow2/header.ts";
import { openQcow2 } from "./qcow2/open.ts";
import { openRawDisk } from "./raw.ts";

/** An image to open. */
export interface DiskImage {
  readonly path: string;
  readonly readOnly: boolean;
  /** Told by what is in the file when nobody says it. */
  readonly format?: DiskFormat | undefined;
}

/** The format that a file looks as if it had. Throws `HostError`. */
export function probeFormat(file: HostFile): DiskFormat {
  const start = new Uint8Array(4);
  if (file.read(0, start) === start.length && hasQcow2Magic(start)) return "qcow2";
  return isLazyZero(file) ? "lazy-zero" : "raw";
}

/** The format of an image: the one that was named, or what it looks like. Throws `HostError`. */
export function formatOf(files: HostFiles, image: Omit<DiskImage, "readOnly">): DiskFormat {
  if (image.format !== undefined) return image.format;
  const file = files.open(image.path);
  try {
    return probeFormat(file);
  } finally {
    file.close();
  }
}

/** Opens an image. Rejects with `HostError`, `ConfigError` and `FormatError`. */
export async function openDisk(files: HostFiles, image: DiskImage): Promise<BlockDevice> {
  const { path } = image;
  switch (formatOf(files, image)) {
    case "raw":
      return openRawDisk(files, path, image);
    case "lazy-zero":
      return openLazyZero(files, path, image);
    case "qcow2": {
      const disk = await openQcow2(files, path, image);
      if (disk.sectors > 0) return disk;
      await disk.close();
      throw new ConfigError(`Cannot use "${path}" as a disk: it is empty`);
    }
  }
}
