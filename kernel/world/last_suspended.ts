/**
 * The state that this kernel suspended last, open for a while: who resumes it soon waits for less (S19).
 *
 * Invariants: at most one is open; what is open is the state, whatever becomes of its files; that it can be
 * resumed is for its claim to say (checkpoint/claims.ts).
 */
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import type { OpenCheckpoint } from "../checkpoint/open_checkpoint.ts";
import type { HostTimers } from "../host/timers.ts";

/** Milliseconds for which it stays open. */
const OPEN_MILLISECONDS = 30_000;

/** Keeps it. */
export class LastSuspended {
  #checkpoint: OpenCheckpoint | undefined;
  #ending = new AbortController();

  constructor(private readonly timers: HostTimers) {}

  /** Opens a state; the one before is closed. */
  async open(store: CheckpointStore, id: string): Promise<void> {
    this.close();
    const { signal } = this.#ending;
    // Whoever wants it, and cannot open it, will say why.
    const checkpoint = await store.open(id).catch(() => undefined);
    if (signal.aborted) return checkpoint?.close();
    this.#checkpoint = checkpoint;
    if (await this.timers.delay(OPEN_MILLISECONDS, signal)) this.close();
  }

  /** The state, if it is this one: the caller's to close. */
  take(id: string): OpenCheckpoint | undefined {
    const checkpoint = this.#checkpoint;
    if (checkpoint?.head.id !== id) return undefined;
    this.#checkpoint = undefined;
    this.close();
    return checkpoint;
  }

  /** Closes what is open. */
  close(): void {
    this.#ending.abort();
    this.#ending = new AbortController();
    this.#checkpoint?.close();
    this.#checkpoint = undefined;
  }
}
