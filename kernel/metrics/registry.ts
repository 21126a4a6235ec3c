/** All metrics of one owner (a kernel, a VM) by name. */
import { assert } from "../base/assert.ts";
import { Counter, Gauge } from "./counter.ts";
import { Histogram } from "./histogram.ts";

/** Any metric. */
export type Metric = Counter | Gauge | Histogram;

/** Makes metrics and lists them. */
export class MetricRegistry {
  readonly #metrics = new Map<string, Metric>();

  /** Makes a counter; the name must be new. */
  counter(name: string, help: string): Counter {
    return this.#add(new Counter({ name, help }));
  }

  /** Makes a gauge; the name must be new. */
  gauge(name: string, help: string): Gauge {
    return this.#add(new Gauge({ name, help }));
  }

  /** Makes a histogram; the name must be new. */
  histogram(name: string, help: string): Histogram {
    return this.#add(new Histogram({ name, help }));
  }

  /** All metrics, in order of name. */
  list(): Metric[] {
    return [...this.#metrics.values()].sort((a, b) => a.info.name < b.info.name ? -1 : 1);
  }

  /** Values of counters and gauges, and counts of histograms, by name. */
  snapshot(): Record<string, number> {
    return Object.fromEntries(
      this.list().map((m) => [m.info.name, m.type === "histogram" ? m.count : m.value]),
    );
  }

  /** Sets all metrics back. */
  reset(): void {
    for (const metric of this.#metrics.values()) metric.reset();
  }

  #add<M extends Metric>(metric: M): M {
    assert(!this.#metrics.has(metric.info.name), `two metrics are named ${metric.info.name}`);
    this.#metrics.set(metric.info.name, metric);
    return metric;
  }
}
