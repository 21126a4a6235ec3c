/**
 * Says what an image is: sizes, features, and the files that it is based on (issue 5, `disk info`).
 *
 * Invariant: nothing is changed, and a backing file that is missing or damaged does not hide what the image
 * itself says.
 */
import { FormatError, HostError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { DiskFormat } from "./disk_format.ts";
import { openLazyZero } from "./lazy_zero/mod.ts";
import { formatOf } from "./open_disk.ts";
import { readHeader } from "./qcow2/header.ts";
import { Qcow2Image } from "./qcow2/image.ts";
import { ImageFile } from "./qcow2/image_file.ts";
import { backingOf, CHAIN_MAXIMUM } from "./qcow2/open.ts";

/** What a qcow2 image says besides its size. */
export interface Qcow2Info {
  /** Version of the format. */
  readonly version: number;
  /** Bytes of a cluster. */
  readonly clusterBytes: number;
  /** Bits of a refcount. */
  readonly refcountBits: number;
  /** How clusters are compressed, where they are. */
  readonly compression: string;
  /** Snapshots inside the image. */
  readonly snapshots: number;
  /** Bytes of the disk that the image has clusters for. */
  readonly allocatedBytes: number;
  /** Features that are on: "dirty", "corrupt", "lazy-refcounts", "zstd", "bitmaps". */
  readonly features: readonly string[];
}

/** What an image is. */
export interface DiskInfo {
  /** The file. */
  readonly path: string;
  /** What it is, or was said to be. */
  readonly format: DiskFormat;
  /** Bytes of the disk that a guest sees. */
  readonly bytes: number;
  /** Bytes of the file. */
  readonly fileBytes: number;
  /** What a qcow2 image says besides. */
  readonly qcow2?: Qcow2Info;
  /** What the image is based on, or why that cannot be told. */
  readonly backing?: DiskInfo | { readonly path: string; readonly problem: string };
}

/** Describes an image. Throws `HostError`, `ConfigError` and `FormatError`. */
export function diskInfo(
  files: HostFiles,
  path: string,
  format?: DiskFormat,
  depth = 0,
): DiskInfo {
  const is = formatOf(files, { path, format });
  if (is === "qcow2") return qcow2Info(files, path, depth);
  const file = files.open(path);
  const fileBytes = file.size;
  file.close();
  if (is === "raw") return { path, format: is, bytes: fileBytes, fileBytes };
  const disk = openLazyZero(files, path, { readOnly: true });
  const bytes = disk.sectors * SECTOR_BYTES;
  void disk.close();
  return { path, format: is, bytes, fileBytes };
}

function qcow2Info(files: HostFiles, path: string, depth: number): DiskInfo {
  const file = files.open(path);
  try {
    const header = readHeader(file);
    const image = new Qcow2Image(new ImageFile(file), header, undefined, true);
    let allocated = 0;
    for (let sector = 0; sector < image.sectors;) {
      const { kind, sectors } = image.extent(sector);
      if (kind === "data") allocated += sectors;
      sector += sectors;
    }
    return {
      path,
      format: "qcow2",
      bytes: header.bytes,
      fileBytes: file.size,
      qcow2: {
        version: header.version,
        clusterBytes: header.clusterBytes,
        refcountBits: 2 ** header.refcountOrder,
        compression: header.compression,
        snapshots: header.snapshots,
        allocatedBytes: allocated * SECTOR_BYTES,
        features: header.features,
      },
      ...header.backingName !== undefined && {
        backing: backingInfo(files, header.backingName, () => backingOf(path, header)!, depth),
      },
    };
  } finally {
    file.close();
  }
}

function backingInfo(
  files: HostFiles,
  name: string,
  find: () => { readonly path: string; readonly format: DiskFormat },
  depth: number,
): NonNullable<DiskInfo["backing"]> {
  if (depth >= CHAIN_MAXIMUM) return { path: name, problem: "too many files are based on another" };
  try {
    const backing = find();
    return diskInfo(files, backing.path, backing.format, depth + 1);
  } catch (error) {
    if (!(error instanceof HostError || error instanceof FormatError)) throw error;
    return { path: name, problem: error.message };
  }
}
