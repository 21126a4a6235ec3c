/**
 * The files that a disk is made of, and locks on them (S17.10: an image that is part of a checkpoint).
 *
 * Invariant: who writes to an image has it locked alone, who reads from it shares it, so that no two VMs write
 * to one image, and none writes to what another is based on. The locks are the host's: they end with their
 * process.
 */
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { HostFiles, HostLock } from "../host/files.ts";
import type { DiskFormat } from "./disk_format.ts";
import { readHeader } from "./qcow2/header.ts";
import { backingOf, CHAIN_MAXIMUM } from "./qcow2/open.ts";

/** A file of a disk. */
export interface ImageFileName {
  readonly path: string;
  readonly format: DiskFormat;
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

/** Locks on files. */
export class ImageLocks {
  readonly #held: { readonly path: string; readonly lock: HostLock }[] = [];

  constructor(private readonly files: HostFiles) {}

  /**
   * Locks a file that exists, alone or shared. Throws `ConfigError` when somebody's lock is in the way, and
   * `HostError`, but for one that is only to be read and that this program may not lock.
   */
  take(path: string, exclusive: boolean): void {
    let lock: HostLock | undefined;
    try {
      lock = this.files.tryLock(path, { exclusive, mustExist: true });
    } catch (error) {
      if (exclusive || !(error instanceof HostError) || !this.files.exists(path)) throw error;
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
