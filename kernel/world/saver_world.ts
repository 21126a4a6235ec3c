/**
 * The saver: a worker without permissions that serves the VMs of a kernel, one save after another (S17.6,
 * S19.2). It reads frozen pages beside the VM, finds those that are stored already, and compresses the rest.
 *
 * Invariants: it changes nothing of a VM; pages that a VM has copied aside are read first, because the VM
 * may wait for their room; clusters leave in the order in which they were made, and no more are under way
 * than BATCHES_UNDER_WAY.
 */
import { assert } from "../base/assert.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { ClusterBatcher } from "../datastore/cluster_batch.ts";
import { DedupIndex } from "../datastore/dedup_index.ts";
import type { EncodedCluster } from "../datastore/pack_format.ts";
import { PageEncoder } from "../datastore/page_encoder.ts";
import { hostClock } from "../host/clock.ts";
import { hostPageCodec } from "../host/page_codec.ts";
import { hostTimers } from "../host/timers.ts";
import { FrozenPages, NO_PAGE } from "../memory/frozen_pages.ts";
import {
  BATCHES_UNDER_WAY,
  type FromSaver,
  type SavePass,
  type SaveProgress,
  type ToSaver,
} from "./saver_protocol.ts";

/** Milliseconds that are waited for a VM that is copying a page aside. */
const LATER_MILLISECONDS = 1;
/** Milliseconds between two looks at what was said, while a save is held back. */
const LOOK_MILLISECONDS = 50;
/** Pages between two looks at the rate. */
const RATE_PAGES = 64;

class Save {
  readonly #index: DedupIndex;
  readonly #encoder: PageEncoder;
  readonly #batcher = new ClusterBatcher();
  readonly #page = new Uint8Array(PAGE_BYTES);
  #underWay = 0;
  #written: (() => void) | undefined;
  #pages = 0;
  #isAborted = false;
  #hurries = false;

  constructor(private readonly id: number, { pack, dedup }: ToSaver & { kind: "begin" }) {
    this.#index = new DedupIndex(dedup);
    this.#encoder = new PageEncoder({ codec: hostPageCodec, index: this.#index, pack });
  }

  abort(): void {
    this.#isAborted = true;
    this.#written?.();
  }

  /** The VM has ended: nothing is gained by sparing it. */
  hurry(): void {
    this.#hurries = true;
  }

  /** The kernel world has written a batch, whose buffer comes back. */
  written(buffer: ArrayBuffer): void {
    this.#batcher.giveBack(buffer);
    this.#underWay--;
    this.#written?.();
  }

  async pass(pass: SavePass): Promise<void> {
    assert(pass.isLast || pass.active === undefined, "active pages are of a VM that stands still");
    const frozen = new FrozenPages(pass);
    // What is used first is laid together behind all else.
    const isActive = pass.active && flagsOf(pass.active);
    if (!await this.#readAll(pass, frozen, isActive)) {
      frozen.abort();
      return say({ kind: "aborted", id: this.id });
    }
    if (pass.active !== undefined) await this.#addActive(pass, pass.active);
    const progress = { share: 1, pages: this.#pages };
    if (!pass.isLast) return say({ kind: "passed", id: this.id, progress });
    const pages = this.#encoder.finish();
    await this.#collect(progress);
    if (!this.#batcher.isEmpty) await this.#send(progress);
    say({ kind: "saved", id: this.id, pages, dedup: this.#index.take() });
  }

  /** Reads the pages of a pass; false when the save was given up. */
  async #readAll(
    { rate }: SavePass,
    frozen: FrozenPages,
    isActive: Uint8Array | undefined,
  ): Promise<boolean> {
    const started = hostClock.monotonicMilliseconds();
    for (let count = 0;; count++) {
      const page = frozen.next(this.#page);
      if (page === NO_PAGE.finished) return true;
      if (page === NO_PAGE.aborted || this.#isAborted) return false;
      if (page === NO_PAGE.later) {
        frozen.wait(LATER_MILLISECONDS);
        continue;
      }
      this.#pages++;
      if (isActive?.[page] !== 1) this.#encoder.add(page, this.#page);
      await this.#collect({ share: frozen.progress, pages: this.#pages });
      if (rate === Infinity || count % RATE_PAGES !== 0) continue;
      await this.#holdBack(started + count / rate * 1000);
    }
  }

  /** Waits until a time, unless the save is over or nobody is spared by that any more. */
  async #holdBack(until: number): Promise<void> {
    for (;;) {
      const early = until - hostClock.monotonicMilliseconds();
      if (early <= 0 || this.#isAborted || this.#hurries) return;
      await hostTimers.delay(Math.min(early, LOOK_MILLISECONDS));
    }
  }

  /** Adds the active pages as they are now: the VM stands still. */
  async #addActive({ memory, ram }: SavePass, active: Uint32Array): Promise<void> {
    for (const page of active.toSorted()) {
      const contents = new Uint8Array(memory, ram + page * PAGE_BYTES, PAGE_BYTES);
      this.#encoder.addActive(page, contents);
      await this.#collect({ share: 1, pages: this.#pages });
    }
  }

  /** Collects the clusters that are ready, and sends those that there is no room for beside them. */
  #collect(progress: SaveProgress): Promise<void> | undefined {
    const clusters = this.#encoder.takeClusters();
    return clusters.length === 0 ? undefined : this.#add(clusters, progress);
  }

  async #add(clusters: readonly EncodedCluster[], progress: SaveProgress): Promise<void> {
    for (const cluster of clusters) {
      if (!this.#batcher.hasRoomFor(cluster)) await this.#send(progress);
      this.#batcher.add(cluster);
    }
  }

  /** Sends a batch, when there is room for it on the way. */
  async #send(progress: SaveProgress): Promise<void> {
    while (this.#underWay >= BATCHES_UNDER_WAY && !this.#isAborted) {
      await new Promise<void>((resolve) => this.#written = resolve);
    }
    this.#underWay++;
    const batch = this.#batcher.take();
    const moved = [batch.bytes.buffer, batch.directory.buffer, batch.hashes.buffer];
    say({ kind: "clusters", id: this.id, batch, progress }, moved);
  }
}

/** 1 for each page of a list. */
function flagsOf(pages: Uint32Array): Uint8Array {
  const flags = new Uint8Array(pages.reduce((most, page) => Math.max(most, page + 1), 0));
  for (const page of pages) flags[page] = 1;
  return flags;
}

function say(what: FromSaver, transfer: Transferable[] = []): void {
  globalThis.postMessage(what, { transfer });
}

let save: { readonly id: number; readonly save: Save } | undefined;

globalThis.addEventListener("message", ({ data }: MessageEvent<ToSaver>) => {
  if (data.kind === "begin") {
    save = { id: data.id, save: new Save(data.id, data) };
    return;
  }
  const id = data.kind === "pass" ? data.pass.id : data.id;
  // What is said of a save that is over comes too late.
  if (save?.id !== id) return assert(data.kind !== "pass", "a pass of a save that never began");
  if (data.kind === "pass") void save.save.pass(data.pass);
  else if (data.kind === "written") save.save.written(data.buffer);
  else if (data.kind === "hurry") save.save.hurry();
  else save.save.abort();
});
