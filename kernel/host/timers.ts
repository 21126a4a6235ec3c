/**
 * Waiting for host time. Each wait can be given up, so no timer outlives what it was set for.
 */

/** Ways to wait. */
export interface HostTimers {
  /**
   * Resolves after `milliseconds`, or at once when the signal is aborted. Resolves to true when the
   * time passed, to false when the wait was given up.
   */
  delay(milliseconds: number, signal?: AbortSignal): Promise<boolean>;
  /** Resolves after other work that waits on the event loop had its turn. */
  yieldToOthers(): Promise<void>;
}

/** Timers of the computer this code runs on. */
export const hostTimers: HostTimers = {
  delay: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve(false);
      const giveUp = () => {
        clearTimeout(timer);
        resolve(false);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", giveUp);
        resolve(true);
      }, milliseconds);
      signal?.addEventListener("abort", giveUp, { once: true });
    }),
  yieldToOthers: () => new Promise((resolve) => void setImmediate(() => resolve())),
};
