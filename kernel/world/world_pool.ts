/**
 * Spare VM worlds: workers that have loaded their modules and started and run a machine once already, so
 * that the start of a VM takes milliseconds (S19). A kernel that does not ask for any has none.
 *
 * Invariants: a spare is given to one VM only; one that died is never given, and another takes its place;
 * spares are made one after another, and not while a VM that has just taken one starts; after `stop` none
 * is left.
 */
import type { HostTimers } from "../host/timers.ts";
import type { HostWorkers } from "../host/workers.ts";
import { EarlyWorld } from "./early_world.ts";
import type { Rehearsal } from "./rehearsal.ts";

/** Milliseconds that the pool leaves the host to a VM that has taken a spare: until its first command is done. */
const REFILL_MILLISECONDS = 250;

/** Spares that died in a row, before they were ready, after which no more are made. */
const DEATHS_MAXIMUM = 3;

/** What a pool needs of its host. */
export interface PoolHost {
  readonly workers: HostWorkers;
  readonly timers: HostTimers;
}

/** Keeps spare worlds. */
export class WorldPool {
  readonly #ready: EarlyWorld[] = [];
  /** The spare that is being made. */
  #coming: EarlyWorld | undefined;
  #wanted = 0;
  #rehearsal: Rehearsal = {};
  #deaths = 0;
  #prepare: (spare: EarlyWorld) => void = () => {};
  #refilling: Promise<void> | undefined;
  readonly #stopped = new AbortController();

  /** @param url module of the VM world */
  constructor(private readonly host: PoolHost, private readonly url: URL) {}

  /** Spares that are ready. */
  get ready(): number {
    this.#dropDead();
    return this.#ready.length;
  }

  /** Has something done to each spare when it is ready. */
  prepareBy(prepare: (spare: EarlyWorld) => void): void {
    this.#prepare = prepare;
    this.prepareAll();
  }

  /** Has it done once more to those that are ready. */
  prepareAll(): void {
    for (const spare of this.#ready) this.#prepare(spare);
  }

  /**
   * From now on so many spares are wanted; fewer ends those that are too many. Resolves when they are ready,
   * or cannot be made.
   *
   * @param rehearsal what later spares rehearse: a machine like those that are to be started
   */
  warm(count: number, rehearsal: Rehearsal = this.#rehearsal): Promise<void> {
    this.#wanted = count;
    this.#rehearsal = rehearsal;
    this.#deaths = 0;
    while (this.#ready.length > count) this.#ready.pop()![Symbol.dispose]();
    return this.#refill();
  }

  /** A world for a VM: a spare if there is one, else one that is coming, else a new one with this name. */
  take(name: string): EarlyWorld {
    this.#dropDead();
    const taken = this.#ready.shift() ?? this.#takeComing() ??
      new EarlyWorld(this.host.workers, this.url, name);
    if (this.#wanted > 0) void this.#refill(REFILL_MILLISECONDS);
    return taken;
  }

  /** Ends all spares; no more are made. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const world of this.#ready.splice(0)) world[Symbol.dispose]();
    this.#takeComing()?.[Symbol.dispose]();
    await this.#refilling;
  }

  #takeComing(): EarlyWorld | undefined {
    const coming = this.#coming?.dead ? undefined : this.#coming;
    this.#coming = undefined;
    return coming;
  }

  #dropDead(): void {
    const alive = this.#ready.filter(({ dead }) => !dead);
    if (alive.length === this.#ready.length) return;
    this.#ready.splice(0, this.#ready.length, ...alive);
    void this.#refill(REFILL_MILLISECONDS);
  }

  #refill(after = 0): Promise<void> {
    return this.#refilling ??= this.#makeSpares(after).finally(() => this.#refilling = undefined);
  }

  async #makeSpares(after: number): Promise<void> {
    const { signal } = this.#stopped;
    if (after > 0) await this.host.timers.delay(after, signal);
    while (!signal.aborted && this.#ready.length < this.#wanted && this.#deaths < DEATHS_MAXIMUM) {
      const spare = new EarlyWorld(this.host.workers, this.url, "spare");
      this.#coming = spare;
      const isReady = await spare.rehearse(this.#rehearsal);
      // Somebody may have taken it meanwhile.
      if (this.#coming !== spare) continue;
      this.#coming = undefined;
      if (isReady && this.#ready.length < this.#wanted) {
        this.#prepare(spare);
        this.#ready.push(spare);
      } else spare[Symbol.dispose]();
      this.#deaths = isReady ? 0 : this.#deaths + 1;
    }
  }
}
