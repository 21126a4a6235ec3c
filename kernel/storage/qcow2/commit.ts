/**
 * Writes what an overlay has into the file that it is based on, and empties the overlay then.
 *
 * Invariant: the overlay stays whole until its backing file has everything on stable storage; a commit that
 * was interrupted anywhere is finished by another one, and the disk reads the same at any time.
 */
import { ConfigError } from "../../base/errors.ts";
import type { HostFiles } from "../../host/files.ts";
import { SECTOR_BYTES } from "../../limits.ts";
import { backingOf, openQcow2 } from "./open.ts";
import type { Qcow2Image } from "./image.ts";
import type { BlockDevice } from "../block_device.ts";
import { openRawDisk } from "../raw.ts";

/** Most sectors that are copied at once. */
const STEP_SECTORS = 2048;

/** What a commit did. */
export interface CommitResult {
  /** The file that was written to. */
  readonly into: string;
  /** Bytes of data that were copied, and bytes that became zeros. */
  readonly copiedBytes: number;
  readonly zeroedBytes: number;
}

/**
 * Commits an overlay that nobody uses, into a file that nobody uses either. Rejects with `ConfigError` when
 * it has no backing file or that is too short, `FormatError` and `HostError`.
 */
export async function commitQcow2(
  files: HostFiles,
  path: string,
  options: { readonly progress?: (sectors: number, of: number) => void } = {},
): Promise<CommitResult> {
  const overlay = await openQcow2(files, path, { readOnly: false });
  try {
    const backing = backingOf(path, overlay.header);
    if (backing === undefined) throw new ConfigError(`"${path}" has no backing file to commit to`);
    if (backing.format === "raw") growRaw(files, backing.path, overlay.sectors);
    const target = backing.format === "raw"
      ? openRawDisk(files, backing.path, { readOnly: false })
      : await openQcow2(files, backing.path, { readOnly: false });
    let result: Omit<CommitResult, "into">;
    try {
      if (target.sectors < overlay.sectors) {
        throw new ConfigError(`"${backing.path}" is a smaller disk than "${path}"`);
      }
      result = await copyDown(overlay, target, options.progress);
      await target.flush();
    } finally {
      await target.close();
    }
    await overlay.makeEmpty();
    return { into: backing.path, ...result };
  } finally {
    await overlay.close();
  }
}

function growRaw(files: HostFiles, path: string, sectors: number): void {
  const file = files.open(path, { write: true });
  try {
    if (file.size < sectors * SECTOR_BYTES) file.truncate(sectors * SECTOR_BYTES);
  } finally {
    file.close();
  }
}

async function copyDown(
  overlay: Qcow2Image,
  target: BlockDevice,
  progress: (sectors: number, of: number) => void = () => {},
): Promise<Omit<CommitResult, "into">> {
  let [copiedBytes, zeroedBytes] = [0, 0];
  const buffer = new Uint8Array(STEP_SECTORS * SECTOR_BYTES);
  for (let sector = 0; sector < overlay.sectors;) {
    const { kind, sectors } = overlay.extent(sector);
    const count = kind === "data" ? Math.min(sectors, STEP_SECTORS) : sectors;
    if (kind === "data") {
      const part = buffer.subarray(0, count * SECTOR_BYTES);
      await overlay.read(sector, part);
      await target.write(sector, part);
      copiedBytes += part.length;
    } else if (kind === "zero") {
      await target.zero(sector, count, true);
      zeroedBytes += count * SECTOR_BYTES;
    }
    sector += count;
    progress(sector, overlay.sectors);
  }
  return { copiedBytes, zeroedBytes };
}
