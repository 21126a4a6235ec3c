/**
 * Random numbers of the host. They reach a VM only as the seed in its configuration, so that a run
 * with the same seed is the same run; with an exact clock also as what its instructions read, which a
 * recording keeps.
 */

/** Source of unpredictable bytes. */
export interface HostEntropy {
  /** Fills the buffer (at most 65536 bytes) with random bytes. */
  fill(into: Uint8Array<ArrayBuffer>): void;
  /** A random seed: an integer from 0 to 2^53 - 1. */
  seed(): number;
}

/** The random source of the computer this code runs on. */
export const hostEntropy: HostEntropy = {
  fill: (into) => void crypto.getRandomValues(into),
  seed: () => {
    const [low, high] = crypto.getRandomValues(new Uint32Array(2));
    return (high! & 0x1f_ffff) * 0x1_0000_0000 + low!;
  },
};
