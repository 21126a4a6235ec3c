/**
 * A folder of checkpoints of all VMs (issue 5, "One checkpoint format"; S17): saves, lists, opens, renames,
 * deletes and looks over. Several processes may use one folder; README.md beside this file tells how.
 *
 * Invariants: what was acknowledged survives kill -9 and loss of power at any instant; a file that is
 * damaged, or of another version, is listed as such and never read half.
 */
import { ConfigError, FormatError } from "../base/errors.ts";
import { isStoreId } from "../datastore/pack_format.ts";
import type { HostLock } from "../host/files.ts";
import { importLate } from "../host/late_import.ts";
import { type Claim, Claims, type ClaimState } from "./claims.ts";
import {
  checkAbout,
  checkMachineVersion,
  type CheckpointHead,
  type CheckpointKind,
  MEMORY_PAGES_MAXIMUM,
} from "./checkpoint_format.ts";
import { CheckpointFile, withHead } from "./checkpoint_file.ts";
import type { CheckpointDiff } from "./checkpoint_diff.ts";
import type { CheckpointSave, SaveBegin } from "./checkpoint_save.ts";
import type { Collected } from "./collector.ts";
import { OpenCheckpoint } from "./open_checkpoint.ts";
import type { StoreProblem } from "./store_check.ts";
import { StoreDisks } from "./store_disks.ts";
import { StoreFolder, type StoreHost } from "./store_folder.ts";

/** What only those want that delete. */
const collecting = () =>
  importLate<typeof import("./collector.ts")>("./collector.ts", import.meta.url);

/** A checkpoint in a list. */
export interface CheckpointEntry {
  /** Its id. */
  readonly id: string;
  /** What is known of it; undefined when it cannot be read. */
  readonly head: CheckpointHead | undefined;
  /** Why it cannot be read or run. */
  readonly problem: string | undefined;
}

/** A checkpoint with its children. */
export interface CheckpointTree extends CheckpointEntry {
  /** Those that are a difference to it. */
  readonly children: readonly CheckpointTree[];
}

/** Which checkpoints are looked for. */
export interface CheckpointWanted {
  /** Name of the VM. */
  readonly vm?: string;
  /** Why it was made. */
  readonly kind?: CheckpointKind;
  /** What its owner finds it by. */
  readonly key?: string;
}

/** What users of a kernel do with its checkpoints; each method is told about at CheckpointStore. */
export interface Checkpoints {
  /** Folder of the store. */
  readonly path: string;
  /** All checkpoints, the oldest first, those that cannot be read last. Throws HostError. */
  list(): CheckpointEntry[];
  /** All checkpoints as trees. Throws HostError. */
  tree(): CheckpointTree[];
  /** The newest checkpoint that is what is wanted. Throws HostError. */
  find(wanted: CheckpointWanted): CheckpointHead | undefined;
  /** Where a suspended state stands. Rejects with HostError. */
  claimState(id: string): Promise<ClaimState>;
  /** Changes a label. Rejects with ConfigError, FormatError and HostError. */
  rename(id: string, label: string): Promise<void>;
  /** Deletes checkpoints; their children keep all pages. Rejects with ConfigError, FormatError and HostError. */
  delete(ids: readonly string[]): Promise<Collected>;
  /** Looks over checkpoints, all by default. Rejects with HostError. */
  verify(
    ids?: readonly string[],
    progress?: (done: number, of: number) => void,
  ): Promise<StoreProblem[]>;
  /** What differs between two checkpoints. Rejects with ConfigError, FormatError and HostError. */
  diff(a: string, b: string): Promise<CheckpointDiff>;
}

/** The store. */
export class CheckpointStore implements Checkpoints {
  /** Files of disks. */
  readonly disks: StoreDisks;
  readonly #folder: StoreFolder;
  readonly #claims: Claims;

  /** Makes nothing yet, so that listing a store that does not exist leaves no trace. */
  constructor(host: StoreHost, path: string) {
    this.#folder = new StoreFolder(host, path);
    this.#claims = new Claims(this.#folder);
    this.disks = new StoreDisks(this.#folder);
  }

  /** The folder. */
  get path(): string {
    return this.#folder.path;
  }

  /** Whether there is a checkpoint of this id. Throws HostError. */
  has(id: string): boolean {
    return this.#folder.has(id);
  }

  /** What is known of one checkpoint; undefined when it is not there. Throws HostError. */
  entry(id: string): CheckpointEntry | undefined {
    return this.has(id) ? this.#entry(id) : undefined;
  }

  /** Number of ancestors of a checkpoint. Throws FormatError and HostError. */
  depth(id: string): number {
    let depth = -1;
    for (let next: string | null = id; next !== null; depth++) {
      next = this.#folder.head(next).parent;
    }
    return depth;
  }

  /** All checkpoints, the oldest first, those that cannot be read last. Throws HostError. */
  list(): CheckpointEntry[] {
    const entries = this.#folder.checkpointIds().flatMap((id) => this.#entry(id) ?? []);
    const created = ({ head }: CheckpointEntry) => head?.created ?? Infinity;
    return entries.sort((a, b) => {
      const [first, second] = [created(a), created(b)];
      return first === second ? (a.id < b.id ? -1 : 1) : first - second;
    });
  }

  /** The newest checkpoint that can be read and is what is wanted. Throws HostError. */
  find(wanted: CheckpointWanted): CheckpointHead | undefined {
    const { vm, kind, key } = wanted;
    return this.list().findLast(({ head, problem }) =>
      head !== undefined && problem === undefined && (vm ?? head.vm) === head.vm &&
      (kind ?? head.kind) === head.kind && (key ?? head.key) === head.key
    )?.head;
  }

  /** All checkpoints as trees; one whose parent is not there is a root. Throws HostError. */
  tree(): CheckpointTree[] {
    const entries = this.list();
    const ids = new Set(entries.map(({ id }) => id));
    const childrenOf = (parent: string | null): CheckpointTree[] =>
      entries.filter(({ id, head }) => {
        const has = head?.parent;
        const isRoot = has === undefined || has === null || !ids.has(has) || has === id;
        return parent === null ? isRoot : !isRoot && has === parent;
      }).map((entry) => ({ ...entry, children: childrenOf(entry.id) }));
    return childrenOf(null);
  }

  /**
   * Begins a save. Nothing of the store is deleted until it is committed or given up. Rejects with
   * ConfigError when the parent is not there: then all pages must be saved; with FormatError when it is
   * damaged; and with HostError.
   */
  async beginSave(begin: SaveBegin): Promise<CheckpointSave> {
    const { parent, memoryPages } = begin;
    if (
      !Number.isSafeInteger(memoryPages) || memoryPages < 1 || memoryPages > MEMORY_PAGES_MAXIMUM
    ) {
      throw new ConfigError(`A guest has 1 to ${MEMORY_PAGES_MAXIMUM} pages, not ${memoryPages}`);
    }
    this.#folder.ensureDurable();
    const { CheckpointSave } = await importLate<typeof import("./checkpoint_save.ts")>(
      "./checkpoint_save.ts",
      import.meta.url,
    );
    return await this.#shared((lock) => {
      if (parent !== undefined) {
        this.#require(parent);
        const head = this.#folder.head(parent);
        if (head.memoryPages !== memoryPages) {
          throw new ConfigError(
            `Checkpoint ${parent} has ${head.memoryPages} pages of memory, its child ${memoryPages}`,
          );
        }
      }
      return new CheckpointSave(this.#folder, begin, lock);
    }, true);
  }

  /** Opens a checkpoint to be read. Rejects with ConfigError, FormatError and HostError. */
  open(id: string): Promise<OpenCheckpoint> {
    return this.#shared(() => {
      this.#require(id);
      return OpenCheckpoint.open(this.#folder, id);
    });
  }

  /**
   * Keeps which pages the VM of a checkpoint uses first, in place of what was known of that. Rejects with
   * ConfigError when the checkpoint is gone, with FormatError when the pages cannot be read, with HostError.
   *
   * @param checkpoint open
   * @param pages guest pages in the order of their first use, each once
   */
  async keepWorkingSet(checkpoint: OpenCheckpoint, pages: Uint32Array): Promise<void> {
    const { id } = checkpoint.head;
    const bytes = checkpoint.workingSetOf(pages);
    const lock = await this.#folder.lock(false);
    try {
      this.#require(id);
      await this.#folder.putWorkingSet(id, bytes);
    } finally {
      lock.release();
    }
  }

  /**
   * Claims a suspended state, to run from it: see claims.ts. Rejects with ConfigError and HostError.
   *
   * @param head what is known of it, where it is open already
   */
  claim(id: string, head?: CheckpointHead): Promise<Claim> {
    return this.#withHead(id, head, ({ kind }) => {
      if (kind === "suspended") return this.#claims.claim(id);
      throw new ConfigError(`Checkpoint ${id} is no suspended state: expected a restore or a fork`);
    });
  }

  /**
   * Holds a suspended state for a VM that is restored from it: nobody else is the same VM meanwhile. Nothing is
   * held of other checkpoints. Rejects with ConfigError when a VM runs from it, with FormatError and HostError.
   *
   * @param head what is known of it, where it is open already
   */
  borrow(id: string, head?: CheckpointHead): Promise<HostLock | undefined> {
    return this.#withHead(id, head, ({ kind }) => {
      return kind === "suspended" ? this.#claims.borrow(id) : Promise.resolve(undefined);
    });
  }

  /** Where a suspended state stands. Rejects with HostError. */
  claimState(id: string): Promise<ClaimState> {
    return this.#claims.state(id);
  }

  /**
   * Holds the state that a save with this id is to make for forks: as long as it is held, and its process lives,
   * it is not collected. Rejects with HostError.
   */
  holdForks(id: string): Promise<HostLock> {
    return this.#claims.hold(id);
  }

  /** Changes a label. Rejects with ConfigError, FormatError and HostError. */
  async rename(id: string, label: string): Promise<void> {
    checkAbout({ label });
    await this.#exclusive(async () => {
      this.#require(id);
      this.#folder.ensureDurable();
      (await collecting()).sweepPartials(this.#folder);
      const file = this.#folder.open(id);
      const { codec } = this.#folder.host;
      const bytes = withHead(file, { ...file.head, label }, codec);
      // What could not be read back takes the place of nothing.
      new CheckpointFile(bytes, id, codec);
      await this.#folder.replaceCheckpoint(id, bytes);
    });
  }

  /**
   * Deletes checkpoints and frees what only they had; their children keep all pages. Waits until saves of
   * any process are over. Rejects with ConfigError when one does not exist or a VM runs from it, with
   * FormatError when one that has children is damaged, and with HostError.
   */
  delete(ids: readonly string[]): Promise<Collected> {
    return this.#exclusive(async () => {
      const { collect, deleteCheckpoints } = await collecting();
      await deleteCheckpoints(this.#folder, this.#claims, ids);
      return await collect(this.#folder, this.#claims);
    });
  }

  /** The same if nobody uses the store just now, else undefined. Rejects like `delete`. */
  async tryDelete(ids: readonly string[]): Promise<Collected | undefined> {
    const lock = this.#folder.tryLock(true);
    if (lock === undefined) return undefined;
    try {
      const { collect, deleteCheckpoints } = await collecting();
      await deleteCheckpoints(this.#folder, this.#claims, ids);
      return await collect(this.#folder, this.#claims);
    } finally {
      lock.release();
    }
  }

  /** Frees what nothing refers to: after crashes. Waits as `delete` does. Rejects with HostError. */
  collect(): Promise<Collected> {
    return this.#exclusive(async () => {
      return await (await collecting()).collect(this.#folder, this.#claims);
    });
  }

  /** The same if nobody uses the store just now, else undefined. Rejects with HostError. */
  async tryCollect(): Promise<Collected | undefined> {
    const lock = this.#folder.tryLock(true);
    if (lock === undefined) return undefined;
    try {
      return await (await collecting()).collect(this.#folder, this.#claims);
    } finally {
      lock.release();
    }
  }

  /**
   * Looks over checkpoints, all by default: every checksum, hash and reference. Rejects with HostError when
   * the store itself cannot be read.
   */
  async verify(
    ids?: readonly string[],
    progress?: (done: number, of: number) => void,
  ): Promise<StoreProblem[]> {
    const { verifyStore } = await importLate<typeof import("./store_check.ts")>(
      "./store_check.ts",
      import.meta.url,
    );
    return await this.#shared(() => {
      for (const id of ids ?? []) this.#require(id);
      const store = { folder: this.#folder, claims: this.#claims };
      return verifyStore(store, ids ?? this.#folder.checkpointIds(), progress);
    });
  }

  /**
   * What differs between two checkpoints, page for page and register for register. Rejects with ConfigError
   * when one does not exist or their guests have not as much memory, with FormatError and HostError.
   */
  async diff(a: string, b: string): Promise<CheckpointDiff> {
    const { diffCheckpoints } = await importLate<typeof import("./checkpoint_diff.ts")>(
      "./checkpoint_diff.ts",
      import.meta.url,
    );
    const first = await this.open(a);
    try {
      const second = await this.open(b);
      try {
        return diffCheckpoints(first, second);
      } finally {
        second.close();
      }
    } finally {
      first.close();
    }
  }

  #require(id: string): void {
    if (!isStoreId(id) || !this.#folder.has(id)) {
      throw new ConfigError(`There is no checkpoint ${id} in "${this.path}"`);
    }
  }

  /** A checkpoint in a list; undefined when it has just been deleted. */
  #entry(id: string): CheckpointEntry | undefined {
    try {
      const head = this.#folder.head(id);
      return { id, head, problem: this.#problemOf(head) };
    } catch (error) {
      if (error instanceof FormatError) return { id, head: undefined, problem: error.message };
      if (!this.#folder.has(id)) return undefined;
      throw error;
    }
  }

  #problemOf(head: CheckpointHead): string | undefined {
    try {
      checkMachineVersion(head);
      return undefined;
    } catch (error) {
      return `checkpoint ${head.id}: ${(error as Error).message}`;
    }
  }

  async #shared<T>(act: (lock: HostLock) => T, keeps = false): Promise<T> {
    const lock = await this.#folder.lock(false);
    try {
      const result = act(lock);
      if (!keeps) lock.release();
      return result;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Does something that depends on what a checkpoint is, while it cannot be deleted. */
  async #withHead<T>(
    id: string,
    known: CheckpointHead | undefined,
    act: (head: CheckpointHead) => Promise<T>,
  ): Promise<T> {
    const lock = await this.#folder.lock(false);
    try {
      this.#require(id);
      return await act(known ?? this.#folder.head(id));
    } finally {
      lock.release();
    }
  }

  async #exclusive<T>(act: () => Promise<T>): Promise<T> {
    const lock = await this.#folder.lock(true);
    try {
      return await act();
    } finally {
      lock.release();
    }
  }
}
