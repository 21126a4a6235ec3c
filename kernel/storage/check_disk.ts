/** Checks images of the formats that can be damaged: a raw image has nothing that could be checked. */
import { ConfigError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";
import type { DiskFormat } from "./disk_format.ts";
import { checkLazyZero, type LazyZeroCheck } from "./lazy_zero/check.ts";
import { formatOf } from "./open_disk.ts";
import { checkQcow2, type Qcow2Check, type Qcow2CheckOptions } from "./qcow2/check.ts";

/** What a check found, by the format of the image. */
export type DiskCheck =
  | ({ readonly format: "qcow2" } & Qcow2Check)
  | ({ readonly format: "lazy-zero" } & LazyZeroCheck);

/**
 * Checks an image that nobody writes to, and repairs one that nobody uses when asked to, which is for qcow2 alone.
 * Rejects with `ConfigError`, `FormatError` when it cannot be checked, and `HostError`.
 */
export async function checkDisk(
  files: HostFiles,
  image: { readonly path: string; readonly format?: DiskFormat | undefined },
  options: Qcow2CheckOptions = {},
): Promise<DiskCheck> {
  const { path } = image;
  if (formatOf(files, image) !== "lazy-zero") {
    return { format: "qcow2", ...await checkQcow2(files, path, options) };
  }
  if (options.repair !== undefined) {
    throw new ConfigError(
      `Cannot repair "${path}": a lazily initialised image has nothing to make its tables from`,
    );
  }
  return { format: "lazy-zero", ...await checkLazyZero(files, path) };
}
