/**
 * What every disk of the kernel world offers, whatever it is made of. Layers compose: a layer is a
 * block device over another.
 *
 * Invariants: requests are in whole sectors within the disk; a layer may rely on it, because the disk
 * service checks every request of a guest before it reaches a device. A device is asked for one thing
 * at a time, unless it says that it is `concurrent`: then any number of requests may be under way whose
 * sectors do not overlap (reads may), and flushes beside them.
 */

/** A disk. */
export interface BlockDevice {
  /** Size in sectors. */
  readonly sectors: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Whether requests may be under way beside each other, and gain from it; absent: one at a time. */
  readonly concurrent?: boolean;
  /** Fills the buffer from the sector on. */
  read(sector: number, into: Uint8Array): Promise<void>;
  /** Writes the bytes from the sector on. */
  write(sector: number, bytes: Uint8Array): Promise<void>;
  /**
   * Makes `count` sectors from the sector on read as zeros.
   *
   * @param mayUnmap whether the space below them may be given back
   */
  zero(sector: number, count: number, mayUnmap: boolean): Promise<void>;
  /**
   * Tells that nobody needs what `count` sectors from the sector on hold. A hint: what they hold
   * afterwards is not specified, but each reads the same until it is written to.
   */
  discard(sector: number, count: number): Promise<void>;
  /** Resolves when all requests that had ended when this was asked for are on stable storage. */
  flush(): Promise<void>;
  /** Gives the disk's resources back. */
  close(): Promise<void>;
  /** What the device did so far, for people and tests. */
  counters?(): Readonly<Record<string, number>>;
}
