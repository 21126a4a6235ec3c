/**
 * A VM world whose worker loads its modules while the kernel world still reads images, or long before there
 * is a VM for it (world_pool.ts).
 *
 * Invariant: a worker that no VM claims is ended.
 */
import type { HostWorkers, WorldDeath, WorldWorker } from "../host/workers.ts";
import { createMailbox } from "./mailbox.ts";
import type { Rehearsal } from "./rehearsal.ts";
import type { SpareMachineFacts } from "./spare_memory.ts";
import type { Rehearsed } from "./vm_world.ts";

/** A worker that waits for its VM. */
export class EarlyWorld {
  /** Memory of its mailbox. */
  readonly mailbox: SharedArrayBuffer = createMailbox();
  readonly #worker: WorldWorker;
  readonly #rehearsed: PromiseWithResolvers<boolean> = Promise.withResolvers();
  /** The first thing that it posts says that it has rehearsed, also when a VM has claimed it meanwhile. */
  #rehearsal: Rehearsal | undefined;
  #spare: SpareMachineFacts | undefined;
  #watch: ((death: WorldDeath) => void) | undefined;
  #death: WorldDeath | undefined;
  #posted: (message: unknown) => void = () => {};

  /** Starts the module at `url`. */
  constructor(workers: HostWorkers, url: URL, name: string) {
    this.#worker = workers.start(url, name, (death) => {
      this.#death = death;
      this.#rehearsed.resolve(false);
      this.#watch?.(death);
    }, (message) => {
      if (this.#rehearsal === undefined) return this.#posted(message);
      this.#hasRehearsed(this.#rehearsal, message as Rehearsed);
    });
  }

  /**
   * Lets it do once what a start does, so that a start finds warm code. Resolves to whether it has, and is
   * ready; a start that comes before it has waits for it.
   */
  rehearse(rehearsal: Rehearsal): Promise<boolean> {
    this.#rehearsal = rehearsal;
    this.#worker.post({ rehearsal });
    return this.#rehearsed.promise;
  }

  /** The machine that it has made ahead, for a VM that goes on. */
  get spare(): SpareMachineFacts | undefined {
    return this.#spare;
  }

  #hasRehearsed({ config, goesOn }: Rehearsal, { memory }: Rehearsed): void {
    this.#rehearsal = undefined;
    if (config && goesOn && memory) this.#spare = { config, keeps: goesOn.keeps, memory };
    this.#rehearsed.resolve(true);
  }

  /** Whether its worker has died. */
  get dead(): boolean {
    return this.#death !== undefined;
  }

  /**
   * The worker for a VM; `onDeath` is called when it fails by itself, also when it already has, `posted` with
   * what it posts.
   */
  claim(
    onDeath: (death: WorldDeath) => void,
    posted: (message: unknown) => void = () => {},
  ): WorldWorker {
    this.#watch = onDeath;
    this.#posted = posted;
    const death = this.#death;
    if (death !== undefined) queueMicrotask(() => onDeath(death));
    return this.#worker;
  }

  /** Ends the worker if no VM has claimed it. */
  [Symbol.dispose](): void {
    if (this.#watch !== undefined) return;
    this.#worker.terminate();
    this.#rehearsed.resolve(false);
  }
}
