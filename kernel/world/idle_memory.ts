/**
 * What a VM that does nothing need not keep, in its world: decoded instructions and cache elements, which are made
 * again when they are wanted, and take more than the pages of an idle guest (issue 5: forks that are idle). They are
 * forgotten, and their memory goes back to the host, which the kernel world alone can do (vm_posted.ts).
 *
 * Invariants: nothing of it is machine state, so no guest and no replay can tell; nobody uses the memory until the
 * kernel world has answered, because this world waits for that.
 */
import type { HostClock } from "../host/clock.ts";
import type { Core } from "../cpu/core.ts";

/** Milliseconds of the first look at what a guest does. */
const LOOK_MILLISECONDS = 3000;
/** Of the longest: a guest that wants it all back now and then is to lose it ever more seldom. */
const LONGEST_MILLISECONDS = 300_000;
/** Instructions that an idle guest executes in a millisecond, for its timers. */
const IDLE_INSTRUCTIONS = 5000;
/** Decoded pages that are worth it: they take some 13 KiB each, and those of an idle Linux are 120. */
const WORTH_PAGES = 200;

/** What the kernel world says. */
export const IDLE_ANSWER = { none: 0, zero: 1, kept: 2 } as const;

/** What a VM world posts when its memory is idle. */
export interface IdleMemory {
  readonly kind: "idle memory";
  readonly buffer: SharedArrayBuffer;
  /** First byte and bytes of each range. */
  readonly ranges: readonly (readonly [number, number])[];
  /** One word, for one of IDLE_ANSWER. */
  readonly answer: SharedArrayBuffer;
}

/** Looks at what a guest does. */
export class IdleLook {
  #at: number;
  #icount = 0;
  /** Milliseconds of the look that is under way. */
  #span = LOOK_MILLISECONDS;

  /**
   * @param core of its machine
   * @param post tells the kernel world; the worker's own way by default
   */
  constructor(
    private readonly core: Core,
    private readonly clock: HostClock,
    private readonly post: (memory: IdleMemory) => void = (memory) =>
      globalThis.postMessage(memory),
  ) {
    this.#at = clock.monotonicMilliseconds();
  }

  /**
   * The machine waits. Gives its memory back if it has done next to nothing for a while.
   *
   * @param icount instructions that were executed
   * @returns milliseconds after which it is worth to look again, if nothing happens
   */
  look(icount: number): number {
    if (this.core.decodedPages.pages < WORTH_PAGES) return Infinity;
    const now = this.clock.monotonicMilliseconds();
    const left = this.#at + this.#span - now;
    if (left > 0) return left;
    const isIdle = icount - this.#icount < IDLE_INSTRUCTIONS * (now - this.#at);
    [this.#at, this.#icount] = [now, icount];
    if (!isIdle) return this.#span = LOOK_MILLISECONDS;
    giveIdleMemory(this.core, this.post);
    this.#span = Math.min(2 * this.#span, LONGEST_MILLISECONDS);
    return Infinity;
  }
}

/** Forgets what an idle machine need not keep, and waits until its memory is given back, or is not. */
export function giveIdleMemory(core: Core, post: (memory: IdleMemory) => void): void {
  const { buffer, decodedPages } = core;
  const { from, bytes } = decodedPages.leave();
  const answer = new SharedArrayBuffer(4);
  const word = new Int32Array(answer);
  post({ kind: "idle memory", buffer, ranges: [[from, bytes], ...otherElements(core)], answer });
  Atomics.wait(word, 0, IDLE_ANSWER.none);
  if (Atomics.load(word, 0) === IDLE_ANSWER.zero) decodedPages.wasGivenBack();
}

/** Cache elements, but for the current one: all are empty, and filled when they are used again. */
function otherElements(core: Core): [number, number][] {
  const { elements, elementBytes, cacheElements } = core.plan;
  const current = core.controlWord("elementIndex");
  const ranges: [number, number][] = [
    [elements, current * elementBytes],
    [elements + (current + 1) * elementBytes, (cacheElements - 1 - current) * elementBytes],
  ];
  return ranges.filter(([, bytes]) => bytes > 0);
}
