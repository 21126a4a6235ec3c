/**
 * Lazily initialised images (S4): `createLazyZero` makes one in a time that its size does not matter to
 * (S4.8), `openLazyZero` makes a disk of one, `isLazyZero` tells whether a file is one. The format is
 * described in format.ts, the order of writes in disk.ts.
 *
 * Invariant: a file that becomes an image anew is, at any crash on the way, the image it was, or none, or
 * the new one, in which nothing is initialised.
 */
import { ConfigError, FormatError, HostError } from "../../base/errors.ts";
import { KiB } from "../../base/units.ts";
import { hostEntropy } from "../../host/entropy.ts";
import type { HostFile, HostFiles } from "../../host/files.ts";
import { SECTOR_BYTES } from "../../limits.ts";
import { LazyZeroDisk } from "./disk.ts";
import {
  decodeHeader,
  emptyBitmap,
  encodeHeader,
  type Geometry,
  geometryOf,
  hasMagic,
  type Header,
  HEADER_BYTES,
  headerOffset,
  IDENTITY_BYTES,
  mostBytes,
  type Zeroing,
} from "./format.ts";

export { LazyZeroDisk } from "./disk.ts";
export { BLOCK_BYTES_MAXIMUM, BLOCK_BYTES_MINIMUM, type Zeroing } from "./format.ts";

/** Bytes of a block when nothing else is asked for: little is zeroed for a small write. */
export const BLOCK_BYTES_DEFAULT = 64 * KiB;

/** What an image is to be. */
export interface LazyZeroOptions {
  /** Bytes of the disk, a multiple of 512; of a file that exists, all that it has room for by default. */
  readonly bytes?: number;
  /** Bytes of a block, a power of two from 4 KiB to 64 MiB. */
  readonly blockBytes?: number;
  /** What is zeroed ahead of a first write; "front" by default. */
  readonly zeroing?: Zeroing;
  /** Whether the file exists (a block device of the host, a file to use again) and loses what it holds. */
  readonly over?: boolean;
}

/**
 * Makes a lazily initialised image. Throws ConfigError when there can be none like that, HostError when
 * the file cannot be made, opened or written.
 */
export function createLazyZero(files: HostFiles, path: string, options: LazyZeroOptions): void {
  const { bytes, zeroing = "front", over = false } = options;
  if (bytes === undefined && !over) throw new ConfigError("a new image needs a size");
  const blockBytes = options.blockBytes ?? BLOCK_BYTES_DEFAULT;
  // Wrong options must not cost a file.
  if (bytes !== undefined) geometryOf(bytes, blockBytes);
  const file = over ? files.open(path, { write: true }) : files.create(path);
  try {
    const geometry = geometryOf(bytes ?? roomIn(file, blockBytes), blockBytes);
    format(file, geometry, zeroing, over);
    if (!over) files.syncFolder(path.slice(0, path.lastIndexOf("/") + 1) || ".");
  } catch (error) {
    // No half an image is left where there was nothing.
    if (error instanceof HostError && !over) files.remove(path);
    throw error;
  } finally {
    file.close();
  }
}

/**
 * The same with all of its room taken, where the host can do that: no write will lack any. Throws like
 * `createLazyZero`, and HostError when there is not so much room.
 */
export function createAllocated(files: HostFiles, path: string, options: LazyZeroOptions): void {
  createLazyZero(files, path, options);
  try {
    files.allocate?.(path, files.facts(path).bytes);
  } catch (error) {
    if (error instanceof HostError && !options.over) files.remove(path);
    throw error;
  }
}

function roomIn(file: HostFile, blockBytes: number): number {
  const bytes = mostBytes(file.size, blockBytes);
  if (bytes > 0) return bytes;
  throw new ConfigError(`"${file.path}" has no room for a disk: it has ${file.size} bytes`);
}

function format(file: HostFile, geometry: Geometry, zeroing: Zeroing, over: boolean): void {
  if (over) {
    // Else a crash between the two copies could leave a new one beside one of an older image.
    for (const copy of [0, 1]) file.write(headerOffset(copy), new Uint8Array(HEADER_BYTES));
    file.flushNow();
  }
  if (file.size < geometry.fileBytes) file.truncate(geometry.fileBytes);
  const identity = new Uint8Array(IDENTITY_BYTES);
  hostEntropy.fill(identity);
  const header = { sequence: 1, identity, geometry, zeroing, bitmap: emptyBitmap() };
  for (const copy of [0, 1]) file.write(headerOffset(copy), encodeHeader(header));
  file.flushNow();
}

/**
 * Whether a file says that it is a lazily initialised image. It may still be damaged: `openLazyZero`
 * tells. A guest can write to a raw image what makes it look like one: who knows a file's format should
 * not ask. Throws HostError.
 */
export function isLazyZero(file: HostFile): boolean {
  return [0, 1].some((copy) => {
    const start = new Uint8Array(SECTOR_BYTES);
    return file.read(headerOffset(copy), start) === SECTOR_BYTES && hasMagic(start);
  });
}

/**
 * Opens a lazily initialised image. Throws HostError when the file cannot be opened, FormatError when it
 * is none, or damaged, or too short.
 */
export function openLazyZero(
  files: HostFiles,
  path: string,
  options: { readonly readOnly: boolean },
): LazyZeroDisk {
  const file = files.open(path, { write: !options.readOnly });
  try {
    const { header, copy } = readHeader(file);
    return new LazyZeroDisk(file, header, copy, options.readOnly);
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * The younger copy of an image's header that is whole. Throws FormatError when there is none or the file is too
 * short, and HostError.
 */
export function readHeader(file: HostFile): { readonly header: Header; readonly copy: number } {
  let found: { readonly header: Header; readonly copy: number } | undefined;
  for (const copy of [0, 1]) {
    const bytes = new Uint8Array(HEADER_BYTES);
    if (file.read(headerOffset(copy), bytes) < HEADER_BYTES) continue;
    const header = decodeHeader(bytes, file.path);
    if (header === undefined || header.sequence <= (found?.header.sequence ?? 0)) continue;
    found = { header, copy };
  }
  const size = found?.header.geometry.fileBytes;
  if (size !== undefined && file.size < size) {
    throw new FormatError(
      `"${file.path}" is cut short: it has ${file.size} bytes, expected ${size}`,
    );
  }
  if (found !== undefined) return found;
  throw new FormatError(
    isLazyZero(file)
      ? `"${file.path}" is damaged: both copies of its header are`
      : `"${file.path}" is no lazily zeroed image`,
  );
}
