/**
 * A raw image file, or a block device of the host, as a disk: byte n of the file is byte n of the disk.
 * A discard does nothing: the host offers no way to punch a hole into a file, and to write zeros
 * instead would cost what the hint is to save.
 *
 * Invariant: the disk's size is the file's size when it was opened, a multiple of 512 bytes; the file
 * is never grown.
 */
import { ConfigError, HostError } from "../base/errors.ts";
import { MiB } from "../base/units.ts";
import type { HostFile, HostFiles } from "../host/files.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "./block_device.ts";

/** Bytes of zeros that one write to the file carries. */
const ZEROS_BYTES = 1 * MiB;

/**
 * Opens a raw image. Throws `HostError` when the file cannot be opened and `ConfigError` when its
 * size is no disk's size.
 */
export function openRawDisk(
  files: HostFiles,
  path: string,
  options: { readonly readOnly: boolean },
): BlockDevice {
  const file = files.open(path, { write: !options.readOnly });
  if (file.size === 0 || file.size % SECTOR_BYTES !== 0) {
    file.close();
    const message = file.size === 0
      ? `Cannot use "${path}" as a disk: it is empty`
      : `Cannot use "${path}" as a disk: its size of ${file.size} bytes is not a multiple of 512`;
    throw new ConfigError(message);
  }
  return new RawDisk(file, options.readOnly);
}

class RawDisk implements BlockDevice {
  readonly sectors: number;
  /** The host flushes beside reads and writes. */
  readonly concurrent = true;

  constructor(readonly file: HostFile, readonly readOnly: boolean) {
    this.sectors = file.size / SECTOR_BYTES;
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      const count = this.file.read(sector * SECTOR_BYTES, into);
      // Somebody cut the file short while the VM ran: the guest gets an I/O error, not old bytes.
      if (count < into.length) {
        throw new HostError(`"${this.file.path}" became shorter while in use`);
      }
      resolve();
    });
  }

  write(sector: number, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.file.write(sector * SECTOR_BYTES, bytes);
      resolve();
    });
  }

  zero(sector: number, count: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (sector + count) * SECTOR_BYTES;
      const zeros = new Uint8Array(Math.min(ZEROS_BYTES, count * SECTOR_BYTES));
      for (let at = sector * SECTOR_BYTES; at < end; at += zeros.length) {
        this.file.write(at, zeros.subarray(0, end - at));
      }
      resolve();
    });
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return this.file.flush();
  }

  close(): Promise<void> {
    this.file.close();
    return Promise.resolve();
  }
}
