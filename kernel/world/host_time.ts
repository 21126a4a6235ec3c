/**
 * Guest time that follows the host's monotonic clock (design.md, Time: `--clock host` and `exact`), and
 * what instructions read of the host under an exact clock.
 *
 * Invariants: it never goes back; it stands still while the VM is paused, so a guest does not see a
 * long pause as a stall; anchors and exact reads come from one clock.
 */
import type { HostClock } from "../host/clock.ts";
import type { HostEntropy } from "../host/entropy.ts";
import type { HostSource } from "../machine/nondeterminism.ts";

/** Ticks of guest time (100 ns) in a millisecond. */
export const TICKS_PER_MILLISECOND = 10_000;

/** Host time in guest ticks, less the time that the VM was paused. */
export class HostTime {
  readonly #clock: HostClock;
  #start: number;
  #stoppedAt: number | undefined;

  /** Guest time is so many ticks, and stands still until `go`. */
  constructor(clock: HostClock, ticks = 0) {
    this.#clock = clock;
    this.#stoppedAt = clock.monotonicMilliseconds();
    this.#start = this.#stoppedAt - ticks / TICKS_PER_MILLISECOND;
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

/** Bytes of entropy asked of the host at once. */
const ENTROPY_BYTES = 512;

/** What instructions read of the host: time from the clock that anchors follow, and entropy. */
export function hostSource(time: HostTime, entropy: HostEntropy): HostSource {
  const bytes = new Uint8Array(ENTROPY_BYTES);
  let left = 0;
  return {
    ticks: () => time.ticks(),
    entropy16() {
      if (left === 0) {
        entropy.fill(bytes);
        left = ENTROPY_BYTES;
      }
      left -= 2;
      return bytes[left]! << 8 | bytes[left + 1]!;
    },
  };
}
