/**
 * A distribution in buckets that double: small, of fixed size, good enough for latencies.
 *
 * Invariant: bucket `i` counts values v with 2^(i-1) <= v < 2^i (bucket 0: v < 1); the last takes
 * all that is larger.
 */
import type { MetricInfo } from "./counter.ts";

const BUCKETS = 48;

/** Counts values by their power of two. */
export class Histogram {
  /** Always "histogram". */
  readonly type = "histogram";
  readonly #buckets = new Float64Array(BUCKETS);
  #count = 0;
  #sum = 0;

  /** Makes an empty histogram. */
  constructor(readonly info: MetricInfo) {}

  /** Number of values seen. */
  get count(): number {
    return this.#count;
  }

  /** Sum of values seen. */
  get sum(): number {
    return this.#sum;
  }

  /** Adds a value; values below 1 fall into the first bucket. */
  record(value: number): void {
    const bucket = value < 1 ? 0 : Math.min(BUCKETS - 1, Math.floor(Math.log2(value)) + 1);
    this.#buckets[bucket]! += 1;
    this.#count += 1;
    this.#sum += value;
  }

  /** The upper bound of the bucket that holds the given share (0 to 1) of values; 0 when empty. */
  quantile(share: number): number {
    let left = Math.ceil(this.#count * share);
    if (left === 0) return 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#buckets[bucket]!;
      if (left <= 0) return 2 ** bucket;
    }
    return Infinity;
  }

  /** Buckets that are not empty, as [upper bound, count]. */
  buckets(): [bound: number, count: number][] {
    return [...this.#buckets.entries()].filter(([, n]) => n > 0).map(([i, n]) => [2 ** i, n]);
  }

  /** Forgets all values. */
  reset(): void {
    this.#buckets.fill(0);
    this.#count = 0;
    this.#sum = 0;
  }
}
