/**
 * Learns from a VM that goes on from a checkpoint which pages that uses first, and keeps them as the
 * checkpoint's working set (S19.8; N6).
 *
 * Invariants: what a VM's world says is checked; a working set that cannot be kept is a warning.
 */
import { assert } from "../base/assert.ts";
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import type { OpenCheckpoint } from "../checkpoint/open_checkpoint.ts";
import type { HostTimers } from "../host/timers.ts";
import type { Received } from "./mailbox.ts";

/** Milliseconds for which pages are noted: what a resumed guest does first (N6). */
export const LEARN_MILLISECONDS = 1_000;

/** Learns of one VM. */
export class WorkingSetLearner {
  readonly #seen: Uint8Array;
  readonly #pages: Uint32Array;
  #count = 0;
  #kept: Promise<void> | undefined;

  /** @param checkpoint open until `close` has resolved */
  constructor(
    private readonly store: CheckpointStore,
    private readonly checkpoint: OpenCheckpoint,
    private readonly timers: HostTimers,
    private readonly warn: (line: string) => void,
    readonly milliseconds = LEARN_MILLISECONDS,
  ) {
    const { memoryPages } = checkpoint.head;
    this.#seen = new Uint8Array(memoryPages);
    this.#pages = new Uint32Array(memoryPages);
  }

  /** A part of the list of pages arrived. */
  arrived({ numbers: [more = 0], bytes }: Received): void {
    assert(this.#kept === undefined && bytes.length % 4 === 0, "a list of pages");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += 4) {
      const page = view.getUint32(at, true);
      assert(page < this.#seen.length && this.#seen[page] === 0, "a page of the VM, named once");
      this.#seen[page] = 1;
      this.#pages[this.#count++] = page;
    }
    if (more === 0) this.#kept = this.#keep();
  }

  /** Resolves when what was learned is kept. */
  async close(): Promise<void> {
    await this.#kept;
  }

  async #keep(): Promise<void> {
    // What arrived with it comes first.
    await this.timers.yieldToOthers();
    try {
      await this.store.keepWorkingSet(this.checkpoint, this.#pages.subarray(0, this.#count));
    } catch (error) {
      const isKnown = error instanceof HostError || error instanceof FormatError ||
        error instanceof ConfigError;
      if (!isKnown) throw error;
      this.warn(`Cannot keep which pages a resume uses first: ${error.message}`);
    }
  }
}
