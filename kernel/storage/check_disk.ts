/** Checks images, by their format. */
import { ConfigError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";
import type { DiskFormat } from "./disk_format.ts";
import { checkLazyZero, type LazyZeroCheck } from "./lazy_zero/check.ts";
import { formatOf } from "./open_disk.ts";
import { checkQcow2, type Qcow2Check, type Qcow2CheckOptions } from "./qcow2/check.ts";

/** What a check found, by the format of the image. */
export type DiskCheck =
  | ({ readonly format: "qcow2" } & Qcow2Check)
  | ({ readonly format: "lazy-zero" } & LazyZeroCheck)
  | ({ readonly format: "raw" } & RawCheck);

/** What a check of a raw image finds: nothing, because all of it is what the disk holds. */
export interface RawCheck {
  /** None. */
  readonly corruptions: 0;
  /** None. */
  readonly problems: readonly string[];
}

/** Why images of a format cannot be repaired. */
const UNREPAIRABLE: Readonly<Record<Exclude<DiskFormat, "qcow2">, string>> = {
  raw: "a raw image has no tables",
  "lazy-zero": "a lazily initialised image has nothing to make its tables from",
};

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
  const format = formatOf(files, image);
  if (format === "qcow2") return { format, ...await checkQcow2(files, path, options) };
  if (options.repair !== undefined) {
    throw new ConfigError(`Cannot repair "${path}": ${UNREPAIRABLE[format]}`);
  }
  if (format === "raw") return { format, corruptions: 0, problems: [] };
  return { format, ...await checkLazyZero(files, path) };
}
