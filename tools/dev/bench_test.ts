/**
 * Claims about `deno task bench`: the shape of figures, bars, status, suites that are unknown, and the
 * comparison with another revision.
 */
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { bench, type BenchSurroundings, suiteNames, tableRow } from "./bench.ts";
import { figureOf } from "./bench_suite.ts";
import { type CheckedOut, NoRevision } from "./revision.ts";

const SUITE_TEXT = `export default {
  description: "two figures",
  async *run({ against, note }) {
    note("nothing is left out");
    yield { name: "fast", value: 419.5, unit: "MIPS", bar: { atLeast: 200 } };
    yield { name: "size", value: 12, unit: "MiB" };
    if (against) yield { name: "fast time at " + against.name, value: against.cli.length, unit: "s" };
    if (Deno.env.get("BENCH_TEST_FAIL")) throw new Error("a kernel lost its way");
    if (Deno.env.get("BENCH_TEST_SLOW")) yield { name: "slow", value: 16, unit: "s", bar: { atMost: 15 } };
  },
};
`;

/** Revisions that were checked out and are not gone yet. */
const open = new Set<string>();

function pretendToCheckOut(name: string): Promise<CheckedOut> {
  if (name === "nowhere") return Promise.reject(new NoRevision(`There is no revision "${name}"`));
  open.add(name);
  const dispose = () => Promise.resolve(void open.delete(name));
  return Promise.resolve({ name, cli: "main.ts", [Symbol.asyncDispose]: dispose });
}

async function withSuites(body: (suites: BenchSurroundings) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${path}/sample.ts`, SUITE_TEXT);
    await Deno.writeTextFile(`${path}/broken.ts`, "export default 1;\n");
    await Deno.writeTextFile(`${path}/sample_test.ts`, "");
    await body({ folder: new URL(`file://${path}/`), checkOut: pretendToCheckOut });
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function withEnvironment(name: string, body: () => Promise<void>): Promise<void> {
  Deno.env.set(name, "1");
  try {
    await body();
  } finally {
    Deno.env.delete(name);
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
  await withSuites(async (suites) => {
    const { lines, printer } = printed();
    assertEquals(await bench(["sample", "--json"], printer, suites), 0);
    const figures = lines.map((line) => JSON.parse(line));
    assertEquals(figures.map(({ name, value, ok }) => [name, value, ok]), [
      ["fast", 419.5, true],
      ["size", 12, true],
    ]);
  });
});

Deno.test("bench: a bar that is missed gives status 1 and says so in the table", async () => {
  await withSuites(async (suites) => {
    const { lines, printer } = printed();
    await withEnvironment("BENCH_TEST_SLOW", async () => {
      assertEquals(await bench(["sample"], printer, suites), 1);
    });
    assertEquals(lines.length, 4);
    assertEquals(lines[3]!.endsWith("MISSED (<= 15)"), true);
  });
  const row = tableRow(figureOf("x", { name: "a", value: 1234.5, unit: "ms" }));
  assertEquals(row.split(/\s+/), ["a", "1235", "ms"]);
});

Deno.test("bench: an unknown suite gives status 2 and the names that are known", async () => {
  await withSuites(async (suites) => {
    assertEquals(suiteNames(suites.folder), ["broken", "sample"]);
    for (const args of [[], ["nothing"], ["../sample"], ["sample", "extra"]]) {
      const { errors, printer } = printed();
      assertEquals(await bench(args, printer, suites), 2);
      assertEquals(errors[0]!.includes("suites: broken, sample"), true);
    }
    await assertRejects(() => bench(["broken"], printed().printer, suites), Error, "defineSuite");
  });
  assertEquals(suiteNames(new URL("file:///no/such/folder/")), []);
});

Deno.test("bench: what is left out is told apart from the figures", async () => {
  await withSuites(async (suites) => {
    const { lines, errors, printer } = printed();
    await bench(["sample", "--json"], printer, suites);
    assertEquals(errors, ["sample: nothing is left out"]);
    assertEquals(lines.length, 2);
  });
});

Deno.test("bench: --against gives the suite a revision, which is gone at the end", async () => {
  await withSuites(async (suites) => {
    const { lines, printer } = printed();
    assertEquals(await bench(["--against", "HEAD~2", "sample", "--json"], printer, suites), 0);
    const figures = lines.map((line) => JSON.parse(line));
    const there = figures.find(({ name }) => name === "fast time at HEAD~2");
    assertEquals(there.value, "main.ts".length);
    assertEquals(there.command, "deno task bench sample --against HEAD~2");
    assertEquals(open.size, 0);
    await withEnvironment("BENCH_TEST_FAIL", async () => {
      const run = () => bench(["sample", "--against", "main"], printed().printer, suites);
      await assertRejects(run, Error, "lost its way");
    });
    assertEquals(open.size, 0);
  });
});

Deno.test("bench: --against without a revision, twice or with an unknown one gives status 2", async () => {
  const cases: [string[], string][] = [
    [["sample", "--against"], "--against needs a revision"],
    [["sample", "--against", ""], "--against needs a revision"],
    [["sample", "--against", "--json"], "--against needs a revision"],
    [["sample", "--against", "a", "--against", "b"], "--against is given twice"],
    [["sample", "--againts", "a"], "there is no option --againts"],
    [["sample", "--against", "nowhere"], 'There is no revision "nowhere"'],
  ];
  await withSuites(async (suites) => {
    for (const [args, message] of cases) {
      const { lines, errors, printer } = printed();
      assertEquals(await bench(args, printer, suites), 2, args.join(" "));
      assertStringIncludes(errors.join("\n"), message);
      assertEquals(lines, []);
    }
  });
});
