/**
 * Learns from a VM that goes on from a checkpoint which pages that uses first, and keeps them as the
 * checkpoint's working set (S19.8; N6).
 *
 * Invariants: what a VM's world says is checked; a working set that cannot be kept is a warning.
 */
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import type { OpenCheckpoint } from "../checkpoint/open_checkpoint.ts";
import type { HostTimers } from "../host/timers.ts";
import type { Received } from "./mailbox.ts";
import { TouchedPages } from "./touched_pages.ts";

/** Milliseconds for which pages are noted: what a resumed guest does first (N6). */
export const LEARN_MILLISECONDS = 1_000;

/** Learns of one VM. */
export class WorkingSetLearner {
  readonly #touched: TouchedPages;
  #kept: Promise<void> | undefined;

  /** @param checkpoint open until `close` has resolved */
  constructor(
    private readonly store: CheckpointStore,
    private readonly checkpoint: OpenCheckpoint,
    private readonly timers: HostTimers,
    private readonly warn: (line: string) => void,
    readonly milliseconds = LEARN_MILLISECONDS,
  ) {
    this.#touched = new TouchedPages(checkpoint.head.memoryPages);
  }

  /** A part of the list of pages arrived. */
  received(got: Received): void {
    if (this.#touched.arrived(got)) this.#kept = this.#keep();
  }

  /** Resolves when what was learned is kept. */
  async close(): Promise<void> {
    await this.#kept;
  }

  async #keep(): Promise<void> {
    // What arrived with it comes first.
    await this.timers.yieldToOthers();
    try {
      await this.store.keepWorkingSet(this.checkpoint, this.#touched.pages);
    } catch (error) {
      const isKnown = error instanceof HostError || error instanceof FormatError ||
        error instanceof ConfigError;
      if (!isKnown) throw error;
      this.warn(`Cannot keep which pages a resume uses first: ${error.message}`);
    }
  }
}
