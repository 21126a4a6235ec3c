/**
 * Makes images of disks, of any format (issue 5, section 3).
 *
 * Invariant: what an image is based on is there and is what is said of it, and nobody writes to it while the
 * image is made.
 */
import { ConfigError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";
import type { DiskFormat } from "./disk_format.ts";
import { diskInfo } from "./disk_info.ts";
import { createAllocated } from "./lazy_zero/mod.ts";
import { type ImageUseOptions, withImage } from "./lock_image.ts";
import { createQcow2, type CreateQcow2Options, createRaw } from "./qcow2/create.ts";
import { resolvePath } from "./qcow2/open.ts";

/** An image to make. What is not its path or format is for qcow2 alone. */
export interface NewDisk extends Omit<CreateQcow2Options, "bytes"> {
  /** The file, which must not exist. */
  readonly path: string;
  /** What it is to be. */
  readonly format: DiskFormat;
}

/**
 * Makes an image of zeros, or one that reads as another until it is written to.
 *
 * @param bytes of the disk; with a backing file its size by default
 *
 * Rejects with `ConfigError` when there can be none like that or somebody writes to the backing file, `FormatError`
 * and `HostError`.
 */
export async function createDisk(
  files: HostFiles,
  { path, format, ...qcow2 }: NewDisk,
  bytes?: number,
  options: ImageUseOptions = {},
): Promise<void> {
  const { backing } = qcow2;
  if (backing === undefined) {
    if (bytes === undefined) throw new ConfigError(`Cannot make "${path}": it needs a size`);
    switch (format) {
      case "raw":
        return await createRaw(files, path, bytes);
      case "lazy-zero":
        return createAllocated(files, path, { bytes });
      case "qcow2":
        return await createQcow2(files, path, { ...qcow2, bytes });
    }
  }
  if (format !== "qcow2") {
    throw new ConfigError(`Cannot make "${path}": only a qcow2 image can be based on another`);
  }
  const use = { ...backing, path: resolvePath(path, backing.path), readOnly: true };
  await withImage(files, use, options, () => {
    const below = diskInfo(files, use.path, use.format);
    return createQcow2(files, path, { ...qcow2, bytes: bytes ?? below.bytes });
  });
}
