/**
 * The states of a VM as its users see them, and which may follow which.
 *
 *     starting ──► running ◄──► paused
 *         │           │           │
 *         └───────────┴───────────┴──► stopped | failed
 *
 * Invariant: "stopped" and "failed" are final.
 */

/** What a VM is doing. */
export type VmState = "starting" | "running" | "paused" | "stopped" | "failed";

/** Something that happens to a VM. */
export type VmHappening = "runs" | "pauses" | "ends" | "fails";

/** TABLE of the next state; a happening that is not listed changes nothing. */
const NEXT: Readonly<Record<VmState, Partial<Record<VmHappening, VmState>>>> = {
  starting: { runs: "running", pauses: "paused", ends: "stopped", fails: "failed" },
  running: { pauses: "paused", ends: "stopped", fails: "failed" },
  paused: { runs: "running", ends: "stopped", fails: "failed" },
  stopped: {},
  failed: {},
};

/** The state after a happening. */
export function nextState(state: VmState, happening: VmHappening): VmState {
  return NEXT[state][happening] ?? state;
}

/** Whether a VM in this state is over. */
export function isFinal(state: VmState): boolean {
  return state === "stopped" || state === "failed";
}

/** The state of one VM, and who waits for it to change. */
export class VmPhase {
  /** The state now. */
  state: VmState = "starting";
  readonly #watchers = new Set<() => void>();

  /** Something happened: whoever waits looks again. */
  happened(happening: VmHappening): void {
    this.state = nextState(this.state, happening);
    for (const look of [...this.#watchers]) look();
  }

  /** Resolves when the VM is in one of the states, or is over. */
  until(...wanted: readonly VmState[]): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!wanted.includes(this.state) && !isFinal(this.state)) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }
}
