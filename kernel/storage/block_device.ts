/**
 * What every disk of the kernel world offers, whatever it is made of. Layers compose: a layer is a
 * block device over another.
 *
 * Invariant: requests are in whole sectors within the disk; a layer may rely on it, because the disk
 * service checks every request of a guest before it reaches a device.
 */

/** A disk. */
export interface BlockDevice {
  /** Size in sectors. */
  readonly sectors: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Fills the buffer from the sector on. */
  read(sector: number, into: Uint8Array): Promise<void>;
  /** Writes the bytes from the sector on. */
  write(sector: number, bytes: Uint8Array): Promise<void>;
  /** Resolves when all that was written is on stable storage. */
  flush(): Promise<void>;
  /** Gives the disk's resources back. */
  close(): Promise<void>;
}
