/**
 * How many instructions a slice gets, so that it takes about as long as wanted: the VM world looks at
 * its mailbox between slices.
 *
 * Invariant: the machine's own course does not depend on slices; only the moment at which outside
 * input reaches it does.
 */

/** Milliseconds a slice should take: a compromise between the cost of looking and the delay. */
const TARGET_MILLISECONDS = 3;
const LEAST = 1_000;
const MOST = 100_000_000;

/** Sizes slices by how long earlier ones took. */
export class SliceSizer {
  #budget = 50_000;

  /** Instructions for the next slice. */
  get budget(): number {
    return this.#budget;
  }

  /** Notes that a slice executed so many instructions in so much time. */
  record(instructions: number, milliseconds: number): void {
    // A slice cut short by an idle or halted machine says too little about speed.
    if (instructions < this.#budget / 2) return;
    const factor = milliseconds <= 0 ? 2 : TARGET_MILLISECONDS / milliseconds;
    // One slow slice (the host was busy) must not throw the size off by orders of magnitude.
    const next = this.#budget * Math.min(2, Math.max(0.5, factor));
    this.#budget = Math.round(Math.min(MOST, Math.max(LEAST, next)));
  }
}
