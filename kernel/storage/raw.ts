/**
 * A raw image file as a disk: byte n of the file is byte n of the disk.
 *
 * Invariant: the disk's size is the file's size when it was opened, a multiple of 512 bytes; the file
 * is never grown.
 */
import { ConfigError, HostError } from "../base/errors.ts";
import type { HostFile, HostFiles } from "../host/files.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "./block_device.ts";

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

  flush(): Promise<void> {
    return this.file.flush();
  }

  close(): Promise<void> {
    this.file.close();
    return Promise.resolve();
  }
}
