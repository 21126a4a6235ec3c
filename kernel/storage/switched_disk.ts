/**
 * A disk whose device can be changed while it is used: for checkpoints (S17.2, S17.7, S17.10), beneath what
 * records it and what serves it.
 *
 * Invariants: a request ends on the device that it began on; a change of the disk, or a flush, begins when all
 * changes of earlier devices have ended, because a layer over one may read more of it than a request's own
 * sectors (S17.8); no flush succeeds before all that was written to earlier devices is on stable storage.
 */
import { assert } from "../base/assert.ts";
import { SECTOR_BYTES } from "../limits.ts";
import { Lock } from "./qcow2/lock.ts";
import type { BlockDevice } from "./block_device.ts";

/**
 * A device that several layers share: any number of them may ask it at once, and closing it is its owner's.
 */
export class LentDevice implements BlockDevice {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly concurrent = true;
  readonly #lock: Lock | undefined;

  constructor(readonly device: BlockDevice) {
    this.sectors = device.sectors;
    this.readOnly = device.readOnly;
    this.#lock = device.concurrent === true ? undefined : new Lock();
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return this.#do(() => this.device.read(sector, into));
  }

  write(sector: number, bytes: Uint8Array): Promise<void> {
    return this.#do(() => this.device.write(sector, bytes));
  }

  zero(sector: number, count: number, mayUnmap: boolean): Promise<void> {
    return this.#do(() => this.device.zero(sector, count, mayUnmap));
  }

  discard(sector: number, count: number): Promise<void> {
    return this.#do(() => this.device.discard(sector, count));
  }

  flush(): Promise<void> {
    return this.#do(() => this.device.flush());
  }

  /** Does nothing. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  #do(act: () => Promise<void>): Promise<void> {
    return this.#lock === undefined ? act() : this.#lock.run(act);
  }
}

type Access = "reads" | "changes";

/** How many are under way. */
class Count {
  #count = 0;
  #none: PromiseWithResolvers<void> | undefined;

  add(): void {
    this.#count++;
  }

  remove(): void {
    if (--this.#count > 0) return;
    this.#none?.resolve();
    this.#none = undefined;
  }

  /** Resolves when none is. */
  none(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return (this.#none ??= Promise.withResolvers()).promise;
  }
}

/** A device, and the requests that it has under way. */
class Served {
  readonly #under = { reads: new Count(), changes: new Count() };

  constructor(readonly device: BlockDevice) {}

  /** Does a request. */
  async do(access: Access, act: (device: BlockDevice) => Promise<void>): Promise<void> {
    const count = this.#under[access];
    count.add();
    try {
      await act(this.device);
    } finally {
      count.remove();
    }
  }

  /** Resolves when no change is under way. */
  unchanging(): Promise<void> {
    return this.#under.changes.none();
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<void> {
    await Promise.all([this.#under.reads.none(), this.#under.changes.none()]);
  }
}

/** A disk whose device can be changed. */
export class SwitchedDisk implements BlockDevice {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly concurrent = true;
  /** Told of each change when it has ended, well or not. */
  changed: ((first: number, end: number) => void) | undefined;
  #served: Served;
  /** Requests wait for it before they begin. */
  #gate: Promise<void> | undefined;
  /** Changes of earlier devices: later ones and flushes wait for them. */
  #ending: Promise<void> | undefined;
  /** Earlier devices that are not known to be on stable storage. */
  readonly #draining = new Set<Promise<void>>();

  constructor(device: BlockDevice) {
    this.sectors = device.sectors;
    this.readOnly = device.readOnly;
    this.#served = new Served(device);
  }

  /** What it serves now. */
  get device(): BlockDevice {
    return this.#served.device;
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return this.#do("reads", (device) => device.read(sector, into));
  }

  write(sector: number, bytes: Uint8Array): Promise<void> {
    const end = sector + bytes.length / SECTOR_BYTES;
    return this.#change(sector, end, (device) => device.write(sector, bytes));
  }

  zero(sector: number, count: number, mayUnmap: boolean): Promise<void> {
    return this.#change(sector, sector + count, (device) => device.zero(sector, count, mayUnmap));
  }

  discard(sector: number, count: number): Promise<void> {
    return this.#change(sector, sector + count, (device) => device.discard(sector, count));
  }

  async flush(): Promise<void> {
    await Promise.all(this.#draining);
    await this.#do("changes", (device) => device.flush());
  }

  /** Does nothing: the devices are their owner's. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * Serves another device from now on. Resolves when the last request to the one before has ended and all
   * that was written to it is on stable storage; rejects when that fails, and then no flush succeeds again.
   */
  swap(device: BlockDevice): Promise<void> {
    assert(device.sectors === this.sectors, "a disk takes the place of one of its size");
    const before = this.#served;
    this.#served = new Served(device);
    const earlier = this.#ending;
    const ending = Promise.all([earlier, before.unchanging()]).then(() => {
      if (this.#ending === ending) this.#ending = undefined;
    });
    this.#ending = ending;
    const drained = Promise.all([earlier, before.idle()]).then(() => before.device.flush());
    this.#draining.add(drained);
    drained.then(() => this.#draining.delete(drained), () => {});
    return drained;
  }

  /**
   * Lets no request begin until `act` has ended, which begins when all requests have ended; serves what it
   * gives from then on, or the same as before when it rejects.
   */
  async replace(act: () => Promise<BlockDevice>): Promise<void> {
    assert(this.#gate === undefined, "a device is replaced once at a time");
    const open = Promise.withResolvers<void>();
    this.#gate = open.promise;
    try {
      await this.#ending;
      await this.#served.idle();
      const device = await act();
      assert(device.sectors === this.sectors, "a disk takes the place of one of its size");
      this.#served = new Served(device);
    } finally {
      this.#gate = undefined;
      open.resolve();
    }
  }

  #change(first: number, end: number, act: (device: BlockDevice) => Promise<void>): Promise<void> {
    return this.#do("changes", async (device) => {
      try {
        await act(device);
      } finally {
        // Before anybody may think that the device is idle.
        this.changed?.(first, end);
      }
    });
  }

  async #do(
    access: Access,
    act: (device: BlockDevice) => Promise<void>,
  ): Promise<void> {
    for (let wait; (wait = this.#gate ?? (access === "reads" ? undefined : this.#ending));) {
      await wait;
    }
    await this.#served.do(access, act);
  }
}
