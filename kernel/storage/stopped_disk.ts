/**
 * A disk that takes no more writes, because what is written now could be lost (world/vm_disk.ts): its guest gets
 * I/O errors, and is promised nothing that could be broken.
 *
 * Invariant: it reads as the disk below, which is never changed by it.
 */
import type { HostError } from "../base/errors.ts";
import type { BlockDevice } from "./block_device.ts";

/** The disk. */
export class StoppedDisk implements BlockDevice {
  readonly readOnly = false;
  readonly concurrent = true;

  /** @param disk may be asked for several things at once, and is its owner's to close */
  constructor(private readonly disk: BlockDevice, readonly reason: HostError) {}

  get sectors(): number {
    return this.disk.sectors;
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return this.disk.read(sector, into);
  }

  write(): Promise<void> {
    return Promise.reject(this.reason);
  }

  zero(): Promise<void> {
    return Promise.reject(this.reason);
  }

  discard(): Promise<void> {
    return Promise.reject(this.reason);
  }

  flush(): Promise<void> {
    return Promise.reject(this.reason);
  }

  /** Does nothing. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
