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
