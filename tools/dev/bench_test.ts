/** Claims about `deno task bench`: the shape of figures, bars, status, and suites that are unknown. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { bench, suiteNames, tableRow } from "./bench.ts";
import { figureOf } from "./bench_suite.ts";

const SUITE_TEXT = `export default {
  description: "two figures",
  async *run() {
    yield { name: "fast", value: 419.5, unit: "MIPS", bar: { atLeast: 200 } };
    yield { name: "size", value: 12, unit: "MiB" };
    if (Deno.env.get("BENCH_TEST_SLOW")) yield { name: "slow", value: 16, unit: "s", bar: { atMost: 15 } };
  },
};
`;

async function withSuites(body: (folder: URL) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${path}/sample.ts`, SUITE_TEXT);
    await Deno.writeTextFile(`${path}/broken.ts`, "export default 1;\n");
    await Deno.writeTextFile(`${path}/sample_test.ts`, "");
    await body(new URL(`file://${path}/`));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function printed(): { lines: string[]; errors: string[]; printer: Parameters<typeof bench>[1] } {
  const lines: string[] = [];
  const errors: string[] = [];
  const printer = {
    line: (s: string) => void lines.push(s),
    error: (s: string) => void errors.push(s),
  };
  return { lines, errors, printer };
}

Deno.test("bench: a figure has its seven members and its bar judged, either way round", () => {
  assertEquals(figureOf("interp", { name: "a", value: 1, unit: "s", bar: { atMost: 1 } }), {
    suite: "interp",
    name: "a",
    value: 1,
    unit: "s",
    bar: "<= 1",
    ok: true,
    command: "deno task bench interp",
  });
  const slow = figureOf("interp", { name: "a", value: 199.9, unit: "MIPS", bar: { atLeast: 200 } });
  assertEquals([slow.bar, slow.ok], [">= 200", false]);
  const free = figureOf("interp", { name: "a", value: 1, unit: "s" });
  assertEquals([free.bar, free.ok], [null, true]);
  assertThrows(() => figureOf("interp", { name: "a", value: NaN, unit: "s" }), Error, "expected");
});

Deno.test("bench: --json prints one object for each figure and line", async () => {
  await withSuites(async (folder) => {
    const { lines, printer } = printed();
    assertEquals(await bench(["sample", "--json"], printer, folder), 0);
    const figures = lines.map((line) => JSON.parse(line));
    assertEquals(figures.map(({ name, value, ok }) => [name, value, ok]), [
      ["fast", 419.5, true],
      ["size", 12, true],
    ]);
  });
});

Deno.test("bench: a bar that is missed gives status 1 and says so in the table", async () => {
  await withSuites(async (folder) => {
    const { lines, printer } = printed();
    Deno.env.set("BENCH_TEST_SLOW", "1");
    try {
      assertEquals(await bench(["sample"], printer, folder), 1);
    } finally {
      Deno.env.delete("BENCH_TEST_SLOW");
    }
    assertEquals(lines.length, 4);
    assertEquals(lines[3]!.endsWith("MISSED (<= 15)"), true);
  });
  const row = tableRow(figureOf("x", { name: "a", value: 1234.5, unit: "ms" }));
  assertEquals(row.split(/\s+/), ["a", "1235", "ms"]);
});

Deno.test("bench: an unknown suite gives status 2 and the names that are known", async () => {
  await withSuites(async (folder) => {
    assertEquals(suiteNames(folder), ["broken", "sample"]);
    for (const args of [[], ["nothing"], ["../sample"], ["sample", "extra"]]) {
      const { errors, printer } = printed();
      assertEquals(await bench(args, printer, folder), 2);
      assertEquals(errors[0]!.includes("suites: broken, sample"), true);
    }
    await assertRejects(() => bench(["broken"], printed().printer, folder), Error, "defineSuite");
  });
  assertEquals(suiteNames(new URL("file:///no/such/folder/")), []);
});
