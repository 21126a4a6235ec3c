/**
 * The files that a disk is made of: which they are, whether they are still what they were, and locks on them
 * (S17.10: an image that is part of a checkpoint; S19: images of a VM that is suspended).
 *
 * Invariants: who writes to an image has it locked alone, who reads from it shares it, so that no two VMs write
 * to one image, and none writes to what another is based on; a change by somebody else since a file was
 * described is found by its size, its time of change or its first bytes. The locks are the host's: they end with
 * their process.
 */
import { crc32 } from "../base/checksum.ts";
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { HostFiles, HostLock } from "../host/files.ts";
import type { DiskFormat } from "./disk_format.ts";
import { readHeader } from "./qcow2/header.ts";
import { backingOf } from "./qcow2/open.ts";

/** Most files of a chain. */
export const CHAIN_MAXIMUM = 64;
/** First bytes of a file that are looked at. */
const DIGEST_BYTES = 1024 * 1024;

/** A file of a disk. */
export interface ImageFileName {
  readonly path: string;
  readonly format: DiskFormat;
}

/** What a file was. */
export interface FileIdentity {
  readonly path: string;
  /** Size in bytes. */
  readonly bytes: number;
  /** Milliseconds since 1970; null where the time says nothing. */
  readonly modified: number | null;
  /** CRC-32 of its first MiB. */
  readonly digest: number;
}

/** An image and the files that it is based on, the image first. Throws `HostError` and `FormatError`. */
export function imageChain(files: HostFiles, image: ImageFileName): ImageFileName[] {
  const chain: ImageFileName[] = [];
  for (let next: ImageFileName | undefined = image; next !== undefined;) {
    if (chain.length === CHAIN_MAXIMUM) {
      throw new FormatError(`"${image.path}" is based on more than ${CHAIN_MAXIMUM} files`);
    }
    chain.push(next);
    next = next.format === "qcow2" ? backingOfFile(files, next.path) : undefined;
  }
  return chain;
}

function backingOfFile(files: HostFiles, path: string): ImageFileName | undefined {
  const file = files.open(path);
  try {
    return backingOf(path, readHeader(file));
  } finally {
    file.close();
  }
}

/** What a file is now. Throws `HostError`. */
export function identityOf(files: HostFiles, path: string): FileIdentity {
  const { bytes, modified } = files.facts(path);
  return { path, bytes, modified, digest: digestOf(files, path) };
}

/** Throws `ConfigError` that names the file when it is not what it was, and `HostError`. */
export function checkIdentity(files: HostFiles, was: FileIdentity): void {
  const { path } = was;
  if (!files.exists(path)) throw new ConfigError(`"${path}" is missing`);
  const { bytes, modified } = files.facts(path);
  const what = bytes !== was.bytes
    ? `it has ${bytes} bytes, and had ${was.bytes}`
    : was.modified !== null && modified !== was.modified
    ? "it was written to"
    : digestOf(files, path) !== was.digest
    ? "its first bytes are others"
    : undefined;
  if (what !== undefined) throw new ConfigError(`"${path}" has changed since: ${what}`);
}

function digestOf(files: HostFiles, path: string): number {
  const file = files.open(path);
  try {
    const start = new Uint8Array(Math.min(DIGEST_BYTES, file.size));
    return crc32(start.subarray(0, file.read(0, start)));
  } finally {
    file.close();
  }
}

/** Locks on files. */
export class ImageLocks {
  readonly #held: { readonly path: string; readonly lock: HostLock }[] = [];

  constructor(private readonly files: HostFiles) {}

  /**
   * Locks a file, alone or shared. Throws `ConfigError` when somebody's lock is in the way, and `HostError`,
   * but for one that is only to be read and that this program may not lock.
   */
  take(path: string, exclusive: boolean): void {
    let lock: HostLock | undefined;
    try {
      lock = this.files.tryLock(path, { exclusive });
    } catch (error) {
      if (exclusive || !(error instanceof HostError)) throw error;
      return;
    }
    if (lock === undefined) {
      throw new ConfigError(
        `Cannot use "${path}"${exclusive ? "" : " for reading"}: a VM or another program ` +
          (exclusive ? "uses it" : "writes to it"),
      );
    }
    this.#held.push({ path, lock });
  }

  /** Locks an image and shares what it is based on. Throws like `take`, and then holds nothing more. */
  takeChain([image, ...below]: readonly ImageFileName[], readOnly: boolean): void {
    const before = this.#held.length;
    try {
      this.take(image!.path, !readOnly);
      for (const { path } of below) this.take(path, false);
    } catch (error) {
      for (const { lock } of this.#held.splice(before)) lock.release();
      throw error;
    }
  }

  /** Shares a file that was locked alone. Throws `ConfigError` when somebody else was faster. */
  share(path: string): void {
    this.release(path);
    this.take(path, false);
  }

  /** Gives the lock on one file back. */
  release(path: string): void {
    const at = this.#held.findIndex((held) => held.path === path);
    if (at >= 0) this.#held.splice(at, 1)[0]!.lock.release();
  }

  /** Gives all locks back. */
  releaseAll(): void {
    for (const { lock } of this.#held.splice(0)) lock.release();
  }
}
