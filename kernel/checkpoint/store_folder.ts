/**
 * The folder of a checkpoint store: names, locks and the order of durable steps (README.md beside this file).
 *
 *     lock                       whoever saves or reads holds it shared, whoever removes holds it alone
 *     packs/ID.pack              pages; ID.pack.partial while one is made
 *     checkpoints/ID.checkpoint  the rest of a checkpoint; ID.checkpoint.partial while one is made
 *     checkpoints/ID.working-set pages that it uses first, learned; ID.N.working-set.partial while one is made
 *     claims/                    see claims.ts
 *     disks/                     see disk_folder.ts
 *
 * Invariant: only a holder of the exclusive lock removes or replaces anything that has its final name, but for
 * working sets, which a holder of the shared lock replaces: any of them will do.
 */
import { FormatError } from "../base/errors.ts";
import { isStoreId } from "../datastore/pack_format.ts";
import { PARTIAL } from "../datastore/pack_writer.ts";
import type { HostEntropy } from "../host/entropy.ts";
import type { HostFiles, HostLock } from "../host/files.ts";
import type { PageCodec } from "../host/page_codec.ts";
import type { CheckpointHead } from "./checkpoint_format.ts";
import { type CheckpointFile, openCheckpointFile, openCheckpointHead } from "./checkpoint_file.ts";

/** What a store asks of its host. */
export interface StoreHost {
  readonly files: HostFiles;
  readonly codec: PageCodec;
  readonly entropy: HostEntropy;
}

const CHECKPOINT = ".checkpoint";
const PACK = ".pack";
const WORKING_SET = ".working-set";
/** Longest chain of checkpoints: a longer one goes round in a circle or is of no use. */
const CHAIN_MAXIMUM = 10_000;

/** Folder that a path lies in. */
const parentOf = (path: string) => {
  const end = path.lastIndexOf("/");
  return end < 0 ? "." : end === 0 ? "/" : path.slice(0, end);
};

/** A store's folder. */
export class StoreFolder {
  /** Folder of packs. */
  readonly packs: string;
  /** Folder of checkpoints. */
  readonly checkpoints: string;
  /** Folder of claims. */
  readonly claims: string;
  /** Folder of disks. */
  readonly disks: string;
  #durable = false;

  constructor(readonly host: StoreHost, readonly path: string) {
    this.packs = `${path}/packs`;
    this.checkpoints = `${path}/checkpoints`;
    this.claims = `${path}/claims`;
    this.disks = `${path}/disks`;
  }

  /** A new id: 32 hexadecimal digits. */
  newId(): string {
    const bytes = new Uint8Array(16);
    this.host.entropy.fill(bytes);
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** File of a pack. */
  packPath(id: string): string {
    return `${this.packs}/${id}${PACK}`;
  }

  /** File of a checkpoint. */
  checkpointPath(id: string): string {
    return `${this.checkpoints}/${id}${CHECKPOINT}`;
  }

  /** File of a checkpoint's working set. */
  workingSetPath(id: string): string {
    return `${this.checkpoints}/${id}${WORKING_SET}`;
  }

  /** Ids of the checkpoints that have working sets, or had them. Throws HostError. */
  workingSetIds(): string[] {
    return this.#idsIn(this.checkpoints, WORKING_SET);
  }

  /** Whether there is a checkpoint of this id. Throws HostError. */
  has(id: string): boolean {
    return isStoreId(id) && this.host.files.exists(this.checkpointPath(id));
  }

  /** Ids of all checkpoints, sorted. Throws HostError. */
  checkpointIds(): string[] {
    return this.#idsIn(this.checkpoints, CHECKPOINT);
  }

  /** Ids of all packs, sorted. Throws HostError. */
  packIds(): string[] {
    return this.#idsIn(this.packs, PACK);
  }

  /** Makes the folders where they do not exist: what guests had in memory is nobody else's to read. Throws HostError. */
  ensure(): void {
    for (const folder of [this.packs, this.checkpoints, this.claims, this.disks]) {
      this.host.files.ensureFolder(folder, true);
    }
  }

  /** Makes the folders, and their names durable: before anything in them can be. Throws HostError. */
  ensureDurable(): void {
    if (this.#durable) return;
    const { files } = this.host;
    const made: string[] = [];
    for (let path = this.path; !files.exists(path); path = parentOf(path)) made.push(path);
    this.ensure();
    for (const path of [this.path, ...made]) files.syncFolder(parentOf(path));
    files.syncFolder(this.path);
    this.#durable = true;
  }

  /** Takes the store's lock, waiting for it. Rejects with HostError. */
  lock(exclusive: boolean): Promise<HostLock> {
    this.ensure();
    return this.host.files.lock(`${this.path}/lock`, { exclusive });
  }

  /** Takes the store's lock if it is free. Throws HostError. */
  tryLock(exclusive: boolean): HostLock | undefined {
    this.ensure();
    return this.host.files.tryLock(`${this.path}/lock`, { exclusive });
  }

  /** Reads a checkpoint's file. Throws FormatError that names it, and HostError. */
  open(id: string): CheckpointFile {
    const { files, codec } = this.host;
    return named(id, () => openCheckpointFile(files, this.checkpointPath(id), id, codec));
  }

  /** Reads a checkpoint's head. Throws FormatError that names it, and HostError. */
  head(id: string): CheckpointHead {
    const { files, codec } = this.host;
    return named(id, () => openCheckpointHead(files, this.checkpointPath(id), id, codec));
  }

  /** Files of a checkpoint and its ancestors, the root first. Throws FormatError and HostError. */
  chain(id: string): CheckpointFile[] {
    const chain: CheckpointFile[] = [];
    const seen = new Set<string>();
    for (let next: string | null = id; next !== null;) {
      if (seen.has(next) || seen.size === CHAIN_MAXIMUM) {
        throw new FormatError(`checkpoint ${id}: its ancestors go round in a circle or never end`);
      }
      seen.add(next);
      const last: CheckpointFile | undefined = chain[0];
      if (last !== undefined && !this.has(next)) {
        throw new FormatError(`checkpoint ${last.head.id}: its parent ${next} is missing`);
      }
      const file = this.open(next);
      if (last !== undefined && file.head.memoryPages !== last.head.memoryPages) {
        throw new FormatError(`checkpoint ${last.head.id}: its parent ${next} has other memory`);
      }
      chain.unshift(file);
      next = file.head.parent;
    }
    return chain;
  }

  /** Puts a checkpoint's file in place, so that a crash leaves the old one or the new one. Throws HostError. */
  async replaceCheckpoint(id: string, bytes: Uint8Array): Promise<void> {
    const partial = await this.writePartial(id, bytes);
    partial.publish();
    await this.host.files.flushFolder(this.checkpoints);
  }

  /** Puts a checkpoint's working set in place. The store's lock must be held. Rejects with HostError. */
  async putWorkingSet(id: string, bytes: Uint8Array): Promise<void> {
    // Others may do the same at this moment.
    const partial = `${this.checkpoints}/${id}.${this.newId()}${WORKING_SET}${PARTIAL}`;
    const { publish } = await this.#writeNew(partial, this.workingSetPath(id), bytes);
    publish();
    await this.host.files.flushFolder(this.checkpoints);
  }

  /** Writes a checkpoint's file under a temporary name, and flushes it. Rejects with HostError. */
  writePartial(id: string, bytes: Uint8Array): Promise<{ publish(): void; abort(): void }> {
    const path = this.checkpointPath(id);
    return this.#writeNew(path + PARTIAL, path, bytes);
  }

  async #writeNew(
    partial: string,
    path: string,
    bytes: Uint8Array,
  ): Promise<{ publish(): void; abort(): void }> {
    const { files } = this.host;
    const file = files.create(partial);
    try {
      file.write(0, bytes);
      await file.flush();
    } catch (error) {
      file.close();
      attempt(() => files.remove(partial));
      throw error;
    }
    file.close();
    return { publish: () => files.rename(partial, path), abort: () => files.remove(partial) };
  }

  #idsIn(folder: string, end: string): string[] {
    const { files } = this.host;
    if (!files.exists(folder)) return [];
    return files.list(folder)
      .filter((name) => name.endsWith(end))
      .map((name) => name.slice(0, -end.length)).filter(isStoreId);
  }
}

/** Does something that may fail without consequence: tidying up after a failure that is reported. */
export function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // The failure that led here says more.
  }
}

/** Names the checkpoint in the FormatErrors of an action. */
export function named<T>(id: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof FormatError) || error.message.startsWith("checkpoint ")) throw error;
    throw new FormatError(`checkpoint ${id}: ${error.message}`, { cause: error });
  }
}
