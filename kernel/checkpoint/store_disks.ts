/**
 * The store's folder of disks, as those see it who make checkpoints of VMs with disks, or go on from them
 * (disk_folder.ts tells what lies there).
 *
 * Invariant: what is made or begun to be used within `share` or a save is not removed before it is locked.
 */
import type { HostLock } from "../host/files.ts";
import { identityOf } from "../storage/file_identity.ts";
import { contentsOf } from "./disk_check.ts";
import { collectDisks } from "./disk_folder.ts";
import type { SavedFile } from "./saved_disk.ts";
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

  /** Path of a checkpoint's file, from the root: it is kept beside images. Throws HostError. */
  checkpointPath(id: string): string {
    const { host, checkpoints } = this.#folder;
    const path = this.#folder.checkpointPath(id);
    return host.files.facts(checkpoints).path + path.slice(checkpoints.length);
  }

  /** A new id. */
  newId(): string {
    return this.#folder.newId();
  }

  /**
   * What a file that nobody writes to any more is. Rejects with HostError.
   *
   * @param yields called after each MiB, and waited for
   */
  async describe(name: string, yields: () => Promise<void>): Promise<SavedFile> {
    const { files, codec } = this.#folder.host;
    const path = this.pathOf(name);
    const steps = contentsOf(files, codec, path);
    for (let step = steps.next();; step = steps.next()) {
      if (step.done !== true) await yields();
      // The store may be copied to elsewhere: times say nothing.
      else {
        const { bytes, digest } = identityOf(files, path);
        return { path: name, inStore: true, bytes, modified: null, digest, contents: step.value };
      }
    }
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
