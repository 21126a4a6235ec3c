/**
 * A VM world whose worker loads its modules while the kernel world still reads images.
 *
 * Invariant: a worker that no VM claims is ended.
 */
import type { HostWorkers, WorldDeath, WorldWorker } from "../host/workers.ts";

/** A worker that waits for its VM. */
export class EarlyWorld {
  readonly #worker: WorldWorker;
  #watch: ((death: WorldDeath) => void) | undefined;
  #death: WorldDeath | undefined;
  #posted: (message: unknown) => void = () => {};

  /** Starts the module at `url`. */
  constructor(workers: HostWorkers, url: URL, name: string) {
    this.#worker = workers.start(url, name, (death) => {
      this.#death = death;
      this.#watch?.(death);
    }, (message) => this.#posted(message));
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
    if (this.#watch === undefined) this.#worker.terminate();
  }
}
