/**
 * Copies disks from one image to another, of the same or another format; what is zeros takes no room in
 * the copy where that can be (issue 5, section 3).
 *
 * Invariants: the copy reads as the source does, and is on stable storage when the promise resolves; it gets its
 * name when it is whole; a copy that fails leaves no file, one whose process dies TARGET.RANDOM.partial.
 */
import { assert } from "../base/assert.ts";
import { HostError } from "../base/errors.ts";
import { hostEntropy } from "../host/entropy.ts";
import type { HostFiles } from "../host/files.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "./block_device.ts";
import { createDisk, type NewDisk } from "./create_disk.ts";
import type { DiskFormat } from "./disk_format.ts";
import { type ImageUseOptions, withImage } from "./lock_image.ts";
import { openDisk } from "./open_disk.ts";
import { folderOf } from "./qcow2/create.ts";
import { Qcow2Image } from "./qcow2/image.ts";
import { PARTIAL } from "./tracked_overlay.ts";
import type { WriteMarks } from "./write_marks.ts";

/** Most sectors that are read at once. */
const STEP_SECTORS = 4096;
/** Sectors that are left out of a copy together when all are zeros. */
const GRAIN_SECTORS = 8;

/** The image to make. */
export type ConvertTarget = Pick<NewDisk, "path" | "format" | "clusterBytes">;

/** What a conversion did. */
export interface ConvertResult {
  /** Bytes of the disk. */
  readonly bytes: number;
  /** Bytes that were not zeros, and were copied. */
  readonly copiedBytes: number;
}

/** How to convert. */
export interface ConvertOptions extends ImageUseOptions {
  /** Called with the sectors that were looked at, and how many there are. */
  readonly progress?: (sectors: number, of: number) => void;
}

/**
 * Copies a disk that nobody writes to into an image that must not exist. Rejects with `HostError`,
 * `ConfigError` and `FormatError`, and then has made nothing.
 */
export async function convertDisk(
  files: HostFiles,
  source: { readonly path: string; readonly format?: DiskFormat | undefined },
  target: ConvertTarget,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  checkFree(files, target.path);
  return await withImage(files, { ...source, readOnly: true }, options, async ({ format }) => {
    const from = await openDisk(files, { path: source.path, format, readOnly: true });
    try {
      return await convertFrom(files, from, target, options);
    } finally {
      await from.close();
    }
  });
}

async function convertFrom(
  files: HostFiles,
  from: BlockDevice,
  target: ConvertTarget,
  { progress }: ConvertOptions,
): Promise<ConvertResult> {
  const bytes = from.sectors * SECTOR_BYTES;
  // A name of its own: what lies under one that is always the same may be in use, or somebody's.
  const partial = { ...target, path: `${target.path}.${newName()}${PARTIAL}` };
  await createDisk(files, partial, bytes);
  let made = partial.path;
  try {
    const to = await openDisk(files, { ...partial, readOnly: false });
    let copiedBytes: number;
    try {
      const grain = target.format === "qcow2" ? target.clusterBytes ?? 65536 : 0;
      copiedBytes = await copyDisk(from, to, grain / SECTOR_BYTES, progress);
      await to.flush();
    } finally {
      await to.close();
    }
    checkFree(files, target.path);
    files.rename(made, target.path);
    made = target.path;
    await files.flushFolder(folderOf(target.path));
    return { bytes, copiedBytes };
  } catch (error) {
    files.remove(made);
    throw error;
  }
}

function checkFree(files: HostFiles, path: string): void {
  if (files.exists(path)) throw new HostError(`Cannot make "${path}": it exists already`);
}

function newName(): string {
  const bytes = new Uint8Array(4);
  hostEntropy.fill(bytes);
  return bytes.toHex();
}

/**
 * Copies a disk into one of the same size that is all zeros; gives the bytes that were not zeros. Rejects
 * with what the disks reject with.
 *
 * @param grainSectors what is left out together when it is zeros
 * @param progress called after each step, and waited for
 */
export async function copyDisk(
  from: BlockDevice,
  to: BlockDevice,
  grainSectors: number,
  progress: (sectors: number, of: number) => void | Promise<void> = () => {},
): Promise<number> {
  const grain = Math.max(GRAIN_SECTORS, Math.min(grainSectors, STEP_SECTORS));
  const buffer = new Uint8Array(STEP_SECTORS * SECTOR_BYTES);
  let copied = 0;
  for (let sector = 0; sector < from.sectors;) {
    const { isZeros, sectors } = contentsOf(from, sector);
    const count = isZeros ? sectors : Math.min(sectors, STEP_SECTORS - sector % grain);
    if (!isZeros) {
      const part = buffer.subarray(0, count * SECTOR_BYTES);
      await from.read(sector, part);
      copied += await writeNonZeros(to, sector, part, grain);
    }
    sector += count;
    await progress(sector, from.sectors);
  }
  return copied;
}

/**
 * Copies those parts of a disk that have marks, whose marks go, into one of the same size; gives the bytes that
 * were not zeros. Rejects with what the disks reject with.
 *
 * @param yields called after each step, and waited for
 */
export async function copyMarked(
  from: BlockDevice,
  to: BlockDevice,
  marks: WriteMarks,
  yields: () => Promise<void>,
): Promise<number> {
  let copied = 0;
  for (let grain = 0; grain < marks.grains; grain++) {
    const taken = marks.take(grain);
    if (taken === undefined) continue;
    for (let sector = taken.first; sector < taken.end;) {
      const count = Math.min(taken.end - sector, STEP_SECTORS);
      const part = new Uint8Array(count * SECTOR_BYTES);
      await from.read(sector, part);
      if (areZeros(part)) await to.zero(sector, count, true);
      else {
        await to.write(sector, part);
        copied += part.length;
      }
      sector += count;
      await yields();
    }
  }
  return copied;
}

/** Writes runs of grains that are not all zeros. */
async function writeNonZeros(
  to: BlockDevice,
  sector: number,
  bytes: Uint8Array,
  grain: number,
): Promise<number> {
  const grainEnd = (at: number) => {
    const next = (Math.floor((sector + at / SECTOR_BYTES) / grain) + 1) * grain - sector;
    return Math.min(bytes.length, next * SECTOR_BYTES);
  };
  let written = 0;
  for (let at = 0; at < bytes.length;) {
    let end = at;
    while (end < bytes.length && !areZeros(bytes.subarray(end, grainEnd(end)))) end = grainEnd(end);
    if (end > at) await to.write(sector + at / SECTOR_BYTES, bytes.subarray(at, end));
    written += end - at;
    at = end === bytes.length ? end : grainEnd(end);
  }
  return written;
}

function areZeros(bytes: Uint8Array): boolean {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}

interface Contents {
  readonly isZeros: boolean;
  readonly sectors: number;
}

/** Whether a disk is known to be zeros from a sector on, and for how many sectors that is known. */
export function contentsOf(disk: BlockDevice, sector: number): Contents {
  const rest = disk.sectors - sector;
  assert(rest > 0, "nothing is asked of what lies behind the end of a disk");
  if (!(disk instanceof Qcow2Image)) return { isZeros: false, sectors: rest };
  const { kind, sectors } = disk.extent(sector);
  if (kind !== "backing") return { isZeros: kind === "zero", sectors };
  const { backing } = disk;
  if (backing === undefined || sector >= backing.sectors) return { isZeros: true, sectors };
  const below = contentsOf(backing, sector);
  return { isZeros: below.isZeros, sectors: Math.min(below.sectors, sectors) };
}
