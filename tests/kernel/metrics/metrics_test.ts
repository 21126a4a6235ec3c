/** Claims about metrics. */
import { assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { MetricRegistry } from "../../../kernel/metrics/registry.ts";

Deno.test("snapshot() gives each metric's value in order of name", () => {
  const registry = new MetricRegistry();
  registry.gauge("zeta", "").set(5);
  const counter = registry.counter("alpha", "");
  counter.add();
  counter.add(2);
  assertEquals(Object.entries(registry.snapshot()), [["alpha", 3], ["zeta", 5]]);
  registry.reset();
  assertEquals(registry.snapshot(), { alpha: 0, zeta: 0 });
});

Deno.test("a registry refuses two metrics of one name", () => {
  const registry = new MetricRegistry();
  registry.counter("a", "");
  assertThrows(() => registry.histogram("a", ""), Broken);
});

Deno.test("a histogram's quantile is its bucket's upper bound", () => {
  const histogram = new MetricRegistry().histogram("h", "");
  assertEquals(histogram.quantile(0.5), 0);
  for (const value of [0, 1, 3, 3, 100]) histogram.record(value);
  assertEquals(histogram.quantile(0.5), 4);
  assertEquals(histogram.quantile(1), 128);
  assertEquals(histogram.buckets(), [[1, 1], [2, 1], [4, 2], [128, 1]]);
  assertEquals(histogram.sum, 107);
});
