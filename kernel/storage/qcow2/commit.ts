/**
 * Writes what an overlay has into the file that it is based on, and empties the overlay then.
 *
 * Invariants: the overlay stays whole until its backing file has everything on stable storage; a commit that
 * was interrupted anywhere is finished by another one, and the disk reads the same at any time; nobody else uses
 * either meanwhile.
 */
import { ConfigError } from "../../base/errors.ts";
import type { HostFiles } from "../../host/files.ts";
import { SECTOR_BYTES } from "../../limits.ts";
import type { BlockDevice } from "../block_device.ts";
import { imageChain, ImageLocks } from "../image_files.ts";
import { type ImageUseOptions, lockImage, settleImage } from "../lock_image.ts";
import { isOverlayOf, refuseKept } from "../overlay_note.ts";
import { openRawDisk } from "../raw.ts";
import { readHeader } from "./header.ts";
import type { Qcow2Image } from "./image.ts";
import { type Backing, backingOf, openQcow2 } from "./open.ts";

/** Most sectors that are copied at once. */
const STEP_SECTORS = 2048;

/** What a commit did. */
export interface CommitResult {
  /** The file that was written to. */
  readonly into: string;
  /** Bytes of data that were copied. */
  readonly copiedBytes: number;
  /** Bytes that became zeros. */
  readonly zeroedBytes: number;
}

/** How to commit. */
export interface CommitOptions extends ImageUseOptions {
  /** Called with the sectors that were looked at, and how many there are. */
  readonly progress?: (sectors: number, of: number) => void;
}

/**
 * Commits an overlay that nobody uses, into a file that nobody uses either. Rejects with `ConfigError` when
 * it has no backing file or that is too short, somebody uses either or a checkpoint keeps it; with `FormatError`
 * and `HostError`.
 */
export async function commitQcow2(
  files: HostFiles,
  path: string,
  options: CommitOptions = {},
): Promise<CommitResult> {
  const real = await settleImage(files, { path, readOnly: false }, options);
  const locks = new ImageLocks(files);
  try {
    locks.take(real, true);
    const backing = readBacking(files, path);
    if (backing === undefined) throw new ConfigError(`"${path}" has no backing file to commit to`);
    await lockBacking(files, real, backing, locks, options);
    return await commitLocked(files, path, backing, options);
  } finally {
    locks.releaseAll();
  }
}

function readBacking(files: HostFiles, path: string): Backing | undefined {
  const file = files.open(path);
  try {
    return backingOf(path, readHeader(file));
  } finally {
    file.close();
  }
}

/** Locks the file that is written to, and shares what that is based on. */
async function lockBacking(
  files: HostFiles,
  overlay: string,
  backing: Backing,
  locks: ImageLocks,
  options: ImageUseOptions,
): Promise<void> {
  const use = { ...backing, readOnly: false };
  const { path } = files.facts(backing.path);
  if (!isOverlayOf(files, path, overlay)) return void await lockImage(files, use, locks, options);
  // What a crash left in this overlay is what is committed.
  refuseKept(files, path, options.keeps);
  const [, ...below] = imageChain(files, backing);
  locks.takeChain([{ ...backing, path }, ...below], false);
}

async function commitLocked(
  files: HostFiles,
  path: string,
  backing: Backing,
  options: CommitOptions,
): Promise<CommitResult> {
  const overlay = await openQcow2(files, path, { readOnly: false });
  try {
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
