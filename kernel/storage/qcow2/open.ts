/**
 * Opens qcow2 images with the chain of files that they are based on (issue 5, section 3).
 *
 * Invariants: only the image that was asked for is ever written to; a chain has an end, at most
 * CHAIN_MAXIMUM files and no file twice; the format of a backing file is what the image says, never what
 * the file looks like, because a guest that writes to a raw image decides what that is.
 */
import { FormatError } from "../../base/errors.ts";
import type { HostFiles } from "../../host/files.ts";
import type { BlockDevice } from "../block_device.ts";
import { openRawDisk } from "../raw.ts";
import { type Qcow2Header, readHeader } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { ImageFile } from "./image_file.ts";
import { repairDirty } from "./repair.ts";

/** Most files of a chain: an image and those that it is based on. */
export const CHAIN_MAXIMUM = 64;

/** Formats of images. */
export type ImageFormat = "raw" | "qcow2";

/** A backing file, as a header names it. */
export interface Backing {
  /** Its path, resolved against the folder of the image. */
  readonly path: string;
  readonly format: ImageFormat;
}

/** How to open an image. */
export interface OpenQcow2Options {
  readonly readOnly: boolean;
  /**
   * The disk that the image is based on, when it is open already: what was written to that is not in its
   * file before it is flushed. Taken over, and closed with the image. By default the files that the image
   * names are opened.
   */
  readonly backing?: BlockDevice;
}

/**
 * Opens an image. One that was not closed is repaired when it is opened for writing. Rejects with
 * `HostError` when a file cannot be opened and `FormatError` when one is not what it should be; a disk that
 * was to be taken over stays open then.
 */
export async function openQcow2(
  files: HostFiles,
  path: string,
  { readOnly, backing }: OpenQcow2Options,
): Promise<Qcow2Image> {
  return await openImage(files, path, readOnly, [], backing);
}

/** The backing file of an image, if it has one. Throws `FormatError` when it is not usable. */
export function backingOf(path: string, header: Qcow2Header): Backing | undefined {
  const { backingName, backingFormat } = header;
  if (backingName === undefined) return undefined;
  if (backingFormat === undefined) {
    throw new FormatError(
      `"${path}" does not say what format its backing file "${backingName}" has: expected raw or ` +
        `qcow2 (qemu-img rebase -u -F FORMAT -b FILE IMAGE adds it)`,
    );
  }
  if (backingFormat !== "raw" && backingFormat !== "qcow2") {
    throw new FormatError(
      `"${path}" has a backing file of format "${backingFormat}": expected raw or qcow2`,
    );
  }
  const plain = backingName.startsWith("file:") ? backingName.slice(5) : backingName;
  if (/^[A-Za-z][\w+.-]*:/.test(plain)) {
    throw new FormatError(`"${path}" has the backing file "${backingName}": expected a path`);
  }
  return { path: resolvePath(path, plain), format: backingFormat };
}

/** A path that a file names, resolved against the folder that the file lies in. */
export function resolvePath(from: string, path: string): string {
  const whole = path.startsWith("/") ? path : from.slice(0, from.lastIndexOf("/") + 1) + path;
  const parts: string[] = [];
  for (const part of whole.split("/")) {
    if (part === "." || part === "") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !whole.startsWith("/")) parts.push(part);
  }
  return (whole.startsWith("/") ? "/" : "") + parts.join("/");
}

async function openImage(
  files: HostFiles,
  path: string,
  readOnly: boolean,
  above: readonly string[],
  open?: BlockDevice,
): Promise<Qcow2Image> {
  let file = files.open(path, { write: !readOnly });
  try {
    let header = readHeader(file);
    if (!readOnly) {
      checkWritable(path, header);
      if (header.isDirty) {
        await repairDirty(file, header);
        file.close();
        file = files.open(path, { write: true });
        header = readHeader(file);
      }
    }
    const chain = [...above, resolvePath("", path)];
    const backing = open ?? await openBacking(files, path, header, chain);
    return new Qcow2Image(new ImageFile(file), header, backing, readOnly);
  } catch (error) {
    file.close();
    throw error;
  }
}

function checkWritable(path: string, header: Qcow2Header): void {
  if (header.isCorrupt) {
    throw new FormatError(
      `"${path}" is marked as corrupt, so that it is not written to; \`disk check\` says more`,
    );
  }
  if (header.bitmaps > 0) {
    const what = `"${path}" has persistent bitmaps, which are not supported`;
    throw new FormatError(`${what}: it can be opened for reading only`);
  }
}

async function openBacking(
  files: HostFiles,
  path: string,
  header: Qcow2Header,
  chain: readonly string[],
): Promise<BlockDevice | undefined> {
  const backing = backingOf(path, header);
  if (backing === undefined) return undefined;
  if (chain.includes(backing.path)) {
    throw new FormatError(`"${path}" is based on "${backing.path}", which is based on it`);
  }
  if (chain.length >= CHAIN_MAXIMUM) {
    throw new FormatError(`"${chain[0]}" is based on more than ${CHAIN_MAXIMUM} files`);
  }
  return backing.format === "raw"
    ? openRawDisk(files, backing.path, { readOnly: true })
    : await openImage(files, backing.path, true, chain);
}
