/** A named number that only grows, or (a gauge) follows a value. Prometheus' terms are used. */

/** What is said about every metric. */
export interface MetricInfo {
  /** Name in snake case, with its unit at the end, as Prometheus wants it. */
  readonly name: string;
  /** One line for people. */
  readonly help: string;
}

/** A number that only grows. */
export class Counter {
  /** Always "counter". */
  readonly type = "counter";
  #value = 0;

  /** Makes a counter at zero. */
  constructor(readonly info: MetricInfo) {}

  /** The sum of all additions since the start or the last reset. */
  get value(): number {
    return this.#value;
  }

  /** Adds a number that is not negative. */
  add(amount = 1): void {
    this.#value += amount;
  }

  /** Goes back to zero. */
  reset(): void {
    this.#value = 0;
  }
}

/** A number that goes up and down. */
export class Gauge {
  /** Always "gauge". */
  readonly type = "gauge";
  #value = 0;

  /** Makes a gauge at zero. */
  constructor(readonly info: MetricInfo) {}

  /** The value that was set last. */
  get value(): number {
    return this.#value;
  }

  /** Sets the value. */
  set(value: number): void {
    this.#value = value;
  }

  /** Goes back to zero. */
  reset(): void {
    this.#value = 0;
  }
}
