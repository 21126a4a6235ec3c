/**
 * A fork that waits: a name, an identity, and the frozen state that it shares with its siblings (issue 5,
 * "Forks and identity"; S16.1, S16.3). It gets a world, memory and time of its own when it first runs.
 *
 * Invariant: it becomes one VM at most.
 */
import { ConfigError } from "./base/errors.ts";
import type { VmIdentity } from "./base/identity.ts";
import type { VM } from "./world/vm.ts";

/** A VM that has not run yet. */
export class ParkedVm {
  readonly #over: PromiseWithResolvers<void> = Promise.withResolvers();
  #vm: Promise<VM> | undefined;
  #discarded = false;

  /**
   * Parks one.
   *
   * @param run makes the VM
   * @param gone is told once when it needs the frozen state no more: it runs, or never will
   */
  constructor(
    /** Its name. */
    readonly name: string,
    /** Who it is. */
    readonly identity: VmIdentity,
    private readonly run: () => Promise<VM>,
    private readonly gone: (started: boolean) => void,
  ) {}

  /** Whether it still waits. */
  get parked(): boolean {
    return this.#vm === undefined && !this.#discarded;
  }

  /** Resolves when it waits no more: it runs, could not, or was discarded. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** Runs it; the same VM each time. Rejects as `Kernel.restore`, and with `ConfigError` when it was discarded. */
  start(): Promise<VM> {
    if (this.#discarded) {
      return Promise.reject(new ConfigError(`Cannot run "${this.name}": it was discarded`));
    }
    return this.#vm ??= this.run().finally(() => this.#gone(true));
  }

  /** Drops it, if it has not run. */
  discard(): void {
    if (!this.parked) return;
    this.#discarded = true;
    this.#gone(false);
  }

  #gone(started: boolean): void {
    this.gone(started);
    this.#over.resolve();
  }
}
