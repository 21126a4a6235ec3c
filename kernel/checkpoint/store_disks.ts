/**
 * The store's folder of disks, as those see it who make checkpoints of VMs with disks, or go on from them
 * (disk_folder.ts tells what lies there).
 *
 * Invariant: what is made or begun to be used within `share` or a save is not removed before it is locked.
 */
import type { HostLock } from "../host/files.ts";
import { type FileIdentity, identityOf } from "../storage/file_identity.ts";
import { collectDisks } from "./disk_folder.ts";
import type { StoreFolder } from "./store_folder.ts";

/** Disks of a store. */
export class StoreDisks {
  readonly #folder: StoreFolder;

  constructor(folder: StoreFolder) {
    this.#folder = folder;
  }

  /** The folder. */
  get path(): string {
    return this.#folder.disks;
  }

  /** Path of a file. */
  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  /** Path of a checkpoint's file. */
  checkpointPath(id: string): string {
    return this.#folder.checkpointPath(id);
  }

  /** A new id. */
  newId(): string {
    return this.#folder.newId();
  }

  /** What a file is. Throws HostError. */
  identityOf(name: string): FileIdentity {
    return identityOf(this.#folder.host.files, this.pathOf(name));
  }

  /** Does something while nothing of the store is removed. Rejects with HostError and as `act` does. */
  async share<T>(act: () => Promise<T>): Promise<T> {
    const lock: HostLock = await this.#folder.lock(false);
    try {
      return await act();
    } finally {
      lock.release();
    }
  }

  /** Removes files that nobody has, if nobody uses the store just now. Throws HostError. */
  tryCollect(): void {
    const lock = this.#folder.tryLock(true);
    if (lock === undefined) return;
    try {
      collectDisks(this.#folder);
    } finally {
      lock.release();
    }
  }
}
