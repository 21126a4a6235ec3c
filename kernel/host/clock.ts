/**
 * Clocks of the host, behind an interface, so that nothing above floor 1 reads time by itself
 * (style.md habit 2: one door for the outside world).
 *
 * Invariant: uses web APIs only, so it also runs in a VM world (no permissions) and in a browser.
 */

/** The clocks of the host. */
export interface HostClock {
  /** Milliseconds since an arbitrary start, with fractions; never goes back. */
  monotonicMilliseconds(): number;
  /** Milliseconds since 1970 with fractions, by which all worlds of a process agree; never goes back. */
  commonMilliseconds(): number;
  /** Nanoseconds since 1970-01-01 UTC; may jump when the host's clock is set. */
  wallNanoseconds(): bigint;
}

/** The clocks of the computer this code runs on. */
export const hostClock: HostClock = {
  monotonicMilliseconds: () => performance.now(),
  commonMilliseconds: () => performance.timeOrigin + performance.now(),
  wallNanoseconds: () => BigInt(Date.now()) * 1_000_000n,
};
