/**
 * Guest time that follows the host's monotonic clock (design.md, Time: `--clock host`).
 *
 * Invariants: it never goes back; it stands still while the VM is paused, so a guest does not see a
 * long pause as a stall.
 */
import type { HostClock } from "../host/clock.ts";

/** Ticks of guest time (100 ns) in a millisecond. */
export const TICKS_PER_MILLISECOND = 10_000;

/** Host time in guest ticks, less the time that the VM was paused. */
export class HostTime {
  readonly #clock: HostClock;
  #start: number;
  #stoppedAt: number | undefined;

  /** Guest time 0 is now. */
  constructor(clock: HostClock) {
    this.#clock = clock;
    this.#start = clock.monotonicMilliseconds();
  }

  /** Guest time in ticks. */
  ticks(): number {
    const now = this.#stoppedAt ?? this.#clock.monotonicMilliseconds();
    return Math.floor((now - this.#start) * TICKS_PER_MILLISECOND);
  }

  /** Stops time. */
  stop(): void {
    this.#stoppedAt ??= this.#clock.monotonicMilliseconds();
  }

  /** Lets time go on from where it stopped. */
  go(): void {
    if (this.#stoppedAt === undefined) return;
    this.#start += this.#clock.monotonicMilliseconds() - this.#stoppedAt;
    this.#stoppedAt = undefined;
  }
}
