/**
 * The state that this kernel suspended last, open for a while: who resumes it soon waits for less (S19). The host
 * has found the memory of the pages that will be loaded first, too, where a machine was made ahead.
 *
 * Invariants: at most one is open; what is open is the state, whatever becomes of its files; that it can be
 * resumed is for its claim to say (checkpoint/claims.ts); of a machine that was made ahead nothing changes.
 */
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { OpenCheckpoint } from "../checkpoint/open_checkpoint.ts";
import type { HostTimers } from "../host/timers.ts";
import { planOptions } from "../machine/machine_plan.ts";
import { planMemory } from "../memory/memory_plan.ts";
import { type OpenVm, openVm } from "./restoring.ts";
import type { SpareMachineFacts } from "./spare_memory.ts";

/** Milliseconds for which it stays open. */
const OPEN_MILLISECONDS = 30_000;

/** Keeps it. */
export class LastSuspended {
  #open: OpenVm | undefined;
  #ending = new AbortController();

  constructor(private readonly timers: HostTimers) {}

  /**
   * Opens a state; the one before is closed.
   *
   * @param spare gives the machine that was made ahead and is taken next, if there is one
   */
  async open(
    store: CheckpointStore,
    id: string,
    spare: () => SpareMachineFacts | undefined,
  ): Promise<void> {
    this.close();
    const { signal } = this.#ending;
    // Whoever wants it, and cannot open it, will say why.
    const open = await openVm(store, id).catch(() => undefined);
    if (signal.aborted) return open?.checkpoint.close();
    this.#open = open;
    if (open !== undefined) touchActive(open.checkpoint, spare());
    if (await this.timers.delay(OPEN_MILLISECONDS, signal)) this.close();
  }

  /** The state, if it is this one: the caller's to close. */
  take(id: string): OpenVm | undefined {
    const open = this.#open;
    if (open?.checkpoint.head.id !== id) return undefined;
    this.#open = undefined;
    this.close();
    return open;
  }

  /** Closes what is open. */
  close(): void {
    this.#ending.abort();
    this.#ending = new AbortController();
    this.#open?.checkpoint.close();
    this.#open = undefined;
  }
}

/**
 * Has the host find the memory of active pages: it takes 1 to 10 µs for each. Nobody else may use that memory
 * meanwhile, and its RAM is zero.
 */
function touchActive({ active, map }: OpenCheckpoint, spare: SpareMachineFacts | undefined): void {
  if (spare === undefined) return;
  const plan = planMemory(planOptions(spare.config));
  if (plan.ramPages !== map.packOf.length) return;
  const ram = new Uint8Array(spare.memory.buffer, plan.ram, plan.ramBytes);
  for (let i = 0; i < active.length; i += 2) {
    const end = active[i]! + active[i + 1]!;
    for (let page = active[i]!; page < end; page++) ram[page * PAGE_BYTES] = 0;
  }
}
