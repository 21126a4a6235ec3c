/**
 * Who runs from a suspended state: never two instances of one, without a fork (S19; issue 5, "Suspend and
 * resume"). In the store's folder:
 *
 *     claims/ID.lock      held by the process that runs from the state, as long as it does, also by one that
 *                         has restored it; of a state that forks share, by the process whose forks wait to be
 *                         made of it
 *     claims/ID.consumed  the state has been run from: its guest may have changed the world
 *     claims/mutex        held for a moment by whoever looks at these or changes them
 *
 * TABLE of states: what there is, and what leads on.
 *
 *     available    no lock, no mark         claim → claimed
 *     claimed      lock, no mark            consume → in use; release → available; death → available
 *     in use       lock and mark            takeBack → claimed; release, death → consumed
 *     consumed     mark, no lock            claim is refused; the state can still be restored or forked
 *
 * A restore goes back to a state that may have been run from, and so leaves no mark: it holds the lock alone, because
 * what it makes is the same VM, too.
 *
 * A claimer loads the state, and calls `consume` before the guest executes its first instruction. The mark is
 * durable when `consume` returns, so after any crash: either the guest never ran and the state is available,
 * or there is a mark. A crash before the guest runs may leave one although it never ran: this errs on the side
 * on which there are never two instances, and the user can still restore. A claimer that lives takes it back.
 *
 * The host takes a lock back when its process dies, so there is nothing to clean up and no process id to
 * trust. Deletion needs the store's exclusive lock and refuses a state that is claimed or in use; claiming
 * needs the store's lock, shared, so neither meets the other half way.
 */
import { assert } from "../base/assert.ts";
import { ConfigError } from "../base/errors.ts";
import type { HostLock } from "../host/files.ts";
import type { StoreFolder } from "./store_folder.ts";

/** Where a suspended state stands. */
export type ClaimState = "available" | "in use" | "consumed";

/** Names of the files of claims. */
const LOCK = ".lock";
const MARK = ".consumed";

/** The right to run from a suspended state. */
export interface Claim {
  /** Id of the checkpoint. */
  readonly id: string;
  /**
   * Says durably that the state is run from now on. To be called, and waited for, before the guest executes
   * anything; more than once does nothing. Rejects with HostError, and then the guest must not run.
   */
  consume(): Promise<void>;
  /** Takes that back: the guest has not executed anything, and will not. Throws HostError. */
  takeBack(): void;
  /** Gives the right back: the instance has stopped, or never ran. More than once does nothing. */
  release(): void;
}

/** Claims of one store. */
export class Claims {
  constructor(private readonly folder: StoreFolder) {}

  /** Where a suspended state stands. "claimed" counts as in use. Rejects with HostError. */
  state(id: string): Promise<ClaimState> {
    return this.#alone(() => {
      if (!this.#has(id, LOCK) && !this.#has(id, MARK)) return "available";
      const lock = this.#tryLock(id);
      lock?.release();
      if (lock === undefined) return "in use";
      return this.#has(id, MARK) ? "consumed" : "available";
    });
  }

  /** Whether a suspended state has been run from: its VM writes, or wrote, to the disks that it left. Throws HostError. */
  wasRunFrom(id: string): boolean {
    return this.#has(id, MARK);
  }

  /**
   * Holds a suspended state for a VM that is restored from it, whether it was run from before or not. The store must
   * be locked. Rejects with ConfigError and HostError.
   */
  borrow(id: string): Promise<HostLock> {
    return this.#alone(() => this.#lock(id, "restore"));
  }

  /** Claims a suspended state. The store must be locked. Rejects with ConfigError and HostError. */
  claim(id: string): Promise<Claim> {
    return this.#alone(() => {
      const lock = this.#lock(id, "resume from");
      if (this.#has(id, MARK)) {
        lock.release();
        throw new ConfigError(
          `Cannot resume from checkpoint ${id}: it was resumed before; expected a restore or a fork, which ` +
            "go back to that moment, if its disks were not written to since",
        );
      }
      return this.#claim(id, lock);
    });
  }

  /** Holds what is to be a state that forks share, while its save is under way. Rejects with HostError. */
  hold(id: string): Promise<HostLock> {
    return this.#alone(() => {
      const lock = this.#tryLock(id);
      assert(lock !== undefined, "a new id is nobody's");
      return lock;
    });
  }

  /** Runs an action while nobody runs from a state nor can begin to. Rejects with ConfigError otherwise. */
  unclaimed(ids: readonly string[], act: () => void): Promise<void> {
    return this.#alone(() => {
      const locks: HostLock[] = [];
      try {
        for (const id of ids) {
          if (!this.#has(id, LOCK)) continue;
          const lock = this.#tryLock(id);
          if (lock === undefined) {
            throw new ConfigError(
              `Cannot delete checkpoint ${id}: a VM runs from it, or forks wait for it`,
            );
          }
          locks.push(lock);
        }
        act();
      } finally {
        for (const lock of locks) lock.release();
      }
    });
  }

  /** Removes what is left of claims on checkpoints that are gone. The store must be locked exclusively. */
  sweep(): Promise<void> {
    const { files } = this.folder.host;
    return this.#alone(() => {
      for (const name of files.list(this.folder.claims)) {
        const end = [LOCK, MARK].find((text) => name.endsWith(text));
        if (end === undefined) continue;
        const id = name.slice(0, -end.length);
        if (this.folder.has(id)) continue;
        const lock = end === LOCK ? this.#tryLock(id) : undefined;
        if (end === MARK || lock !== undefined) files.remove(`${this.folder.claims}/${name}`);
        lock?.release();
      }
    });
  }

  #claim(id: string, lock: HostLock): Claim {
    let held = true;
    let consumed: Promise<void> | undefined;
    return {
      id,
      consume: () => {
        assert(held, "the claim is held");
        return consumed ??= this.#mark(id);
      },
      takeBack: () => {
        assert(held, "the claim is held");
        if (this.#has(id, MARK)) this.folder.host.files.remove(this.#path(id, MARK));
        consumed = undefined;
      },
      release: () => {
        held = false;
        lock.release();
      },
    };
  }

  async #mark(id: string): Promise<void> {
    const { files } = this.folder.host;
    this.folder.ensureDurable();
    // A mark that could not be made durable may be there from an earlier try.
    const path = this.#path(id, MARK);
    if (!files.exists(path)) files.create(path).close();
    // Its name alone says all, so that a resume waits for the disk once.
    await files.flushFolder(this.folder.claims);
  }

  #path(id: string, end: string): string {
    return `${this.folder.claims}/${id}${end}`;
  }

  #has(id: string, end: string): boolean {
    return this.folder.host.files.exists(this.#path(id, end));
  }

  #lock(id: string, what: string): HostLock {
    const lock = this.#tryLock(id);
    if (lock !== undefined) return lock;
    throw new ConfigError(
      `Cannot ${what} checkpoint ${id}: a VM runs from it already; expected a fork for another VM, or ` +
        "the end of that one",
    );
  }

  #tryLock(id: string): HostLock | undefined {
    return this.folder.host.files.tryLock(this.#path(id, LOCK), { exclusive: true });
  }

  async #alone<T>(act: () => T): Promise<T> {
    this.folder.ensure();
    const path = `${this.folder.claims}/mutex`;
    const mutex = await this.folder.host.files.lock(path, { exclusive: true });
    try {
      return act();
    } finally {
      mutex.release();
    }
  }
}
