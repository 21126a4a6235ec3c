/**
 * The saver as the kernel world holds it: started with the first save, one save at a time (S17.6).
 *
 * Invariant: a saver that dies ends the save that it was doing with an error, and the next save starts
 * another one.
 */
import { assert } from "../base/assert.ts";
import { HostError } from "../base/errors.ts";
import { clustersOf } from "../datastore/cluster_batch.ts";
import type { DedupState } from "../datastore/dedup_index.ts";
import type { EncodedCluster } from "../datastore/pack_format.ts";
import type { EncodedPages } from "../datastore/page_encoder.ts";
import type { HostWorkers, WorldWorker } from "../host/workers.ts";
import type { FromSaver, SavePass, SaveProgress, ToSaver } from "./saver_protocol.ts";

const WORLD = new URL("./saver_world.ts", import.meta.url);

/** A save's pages are stored. */
export interface SavedPages {
  readonly pages: EncodedPages;
  /** The dedup index with the pages of the save. */
  readonly dedup: DedupState;
}

/** Who is told of a save. */
export interface SaverEvents {
  /** Writes clusters. What it throws ends the save. */
  clusters(clusters: readonly EncodedCluster[]): void;
  progress(progress: SaveProgress): void;
}

/** The VM gave a save up: it ended, or its guest reset itself at a bad moment. */
export class SaveAborted extends HostError {}

interface Running extends PromiseWithResolvers<SavedPages | undefined> {
  readonly id: number;
  readonly events: SaverEvents;
}

/** Reads the pages of frozen VMs in a worker of its own. */
export class Saver {
  #worker: WorldWorker | undefined;
  #running: Running | undefined;
  #count = 0;
  /** The save that the worker knows; a worker that came later knows nothing of it. */
  #begun: number | undefined;
  #isStopped = false;

  constructor(private readonly workers: HostWorkers) {}

  /** Starts the worker, so that the first save need not wait for it. */
  start(): void {
    if (this.#isStopped) throw new HostError("Cannot save a VM: the kernel is stopped");
    this.#worker ??= this.workers.start(
      WORLD,
      "saver",
      ({ message, place }) => this.#died(`${message} ${place}`),
      (got) => this.#received(got as FromSaver),
      { givesWay: true },
    );
  }

  /** Begins a save; its passes follow. */
  begin(pack: string, dedup: DedupState): number {
    assert(this.#running === undefined, "one save at a time");
    this.start();
    const id = this.#begun = ++this.#count;
    this.#say({ kind: "begin", id, pack, dedup }, [dedup.words.buffer]);
    return id;
  }

  /**
   * Reads the pages of a pass; gives the save's pages when it was the last one. Rejects with HostError when
   * the save cannot go on: it is over then.
   */
  async pass(pass: SavePass, events: SaverEvents): Promise<SavedPages | undefined> {
    if (this.#begun !== pass.id) throw new HostError("The save failed: its worker died");
    const running = this.#running = { ...Promise.withResolvers(), id: pass.id, events } as Running;
    this.#say({ kind: "pass", pass });
    try {
      return await running.promise;
    } finally {
      this.#running = undefined;
    }
  }

  /** Lets a save go as fast as it can: its VM has ended. */
  hurry(id: number): void {
    this.#say({ kind: "hurry", id });
  }

  /** Gives a save up. */
  abort(id: number): void {
    this.#say({ kind: "abort", id });
  }

  /** Ends the worker. */
  stop(): void {
    this.#isStopped = true;
    this.#died("it was stopped");
  }

  #received(got: FromSaver): void {
    const running = this.#running;
    // A save that was given up says more until it hears of it.
    if (running === undefined || running.id !== got.id) return;
    switch (got.kind) {
      case "clusters":
        return this.#write(running, got);
      case "passed":
        running.events.progress(got.progress);
        return running.resolve(undefined);
      case "saved":
        return running.resolve({ pages: got.pages, dedup: got.dedup });
      case "aborted":
        return running.reject(new SaveAborted("The save was given up: its VM has ended"));
    }
  }

  #write(running: Running, { batch, progress }: FromSaver & { kind: "clusters" }): void {
    try {
      running.events.clusters(clustersOf(batch));
    } catch (error) {
      this.abort(running.id);
      return running.reject(error);
    }
    const { buffer } = batch.bytes;
    this.#say({ kind: "written", id: running.id, buffer }, [buffer]);
    running.events.progress(progress);
  }

  #died(why: string): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#begun = undefined;
    this.#running?.reject(new HostError(`The save failed: its worker died: ${why}`));
  }

  #say(what: ToSaver, transfer: Transferable[] = []): void {
    this.#worker?.post(what, transfer);
  }
}
