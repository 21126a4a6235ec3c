/** Claims that the lint rule finds each way to the outside, and leaves alone who may take it. */
import { assertEquals } from "@std/assert";
import plugin from "./lint_plugin.ts";

const messages = (file: string, source: string) =>
  Deno.lint.runPlugin(plugin, file, source).map(({ message }) => message);

const CORE = "/x/kernel/cpu/core.ts";

Deno.test("lint: Deno, clocks, chance and timers are found in the core", () => {
  const banned: [string, string][] = [
    ["Deno.cwd();", "Deno"],
    ["globalThis.Deno;", "Deno"],
    ["Date.now();", "time"],
    ["new Date();", "time"],
    ["performance.now();", "time"],
    ["Math.random();", "entropy"],
    ["crypto.getRandomValues(bytes);", "entropy"],
    ["setTimeout(f, 1);", "Timers"],
    ["setInterval(f, 1);", "Timers"],
  ];
  for (const [source, word] of banned) {
    const found = messages(CORE, source);
    assertEquals([source, found.length, found[0]?.includes(word)], [source, 1, true]);
  }
});

Deno.test("lint: what a browser has and what depends on nothing outside may stay", () => {
  for (
    const source of [
      "postMessage(1);",
      "Atomics.wait(words, 0, 0);",
      "Math.max(1, 2);",
      "new Date(0).toISOString();",
      "queue.setTimeout(1);",
    ]
  ) assertEquals(messages(CORE, source), []);
});

Deno.test("lint: drivers obey, kernel/host, tools and tests need not", () => {
  assertEquals(messages("/x/drivers/virtual/plic/device.ts", "Deno.cwd();").length, 1);
  assertEquals(messages("/x/drivers/virtual/plic/device_test.ts", "Deno.cwd();"), []);
  assertEquals(messages("/x/kernel/base/a_test.ts", "Deno.cwd();").length, 1);
  for (
    const file of ["kernel/host/files.ts", "tools/dev/check.ts", "tests/kernel/a_test.ts"]
  ) {
    assertEquals(messages(`/x/${file}`, "Deno.cwd();"), []);
  }
});
