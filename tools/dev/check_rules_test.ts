/** Claims about the checks' finer points: limits, dynamic imports, long functions, machine paths. */
import { assertEquals } from "@std/assert";
import { importsOf, unitOf, violation } from "./floors.ts";
import { tidy } from "./tidy.ts";

Deno.test("floors: kernel/limits.ts stands on floor 1, below who imports it", () => {
  assertEquals(unitOf("kernel/limits.ts"), "kernel/limits.ts");
  const use = (from: string, to: string) => violation({ from, to });
  assertEquals(use("kernel/memory/memory_plan.ts", "kernel/limits.ts"), undefined);
  assertEquals(use("kernel/limits.ts", "kernel/base/units.ts"), undefined);
  assertEquals(
    use("kernel/limits.ts", "kernel/memory/memory_plan.ts"),
    "kernel/limits.ts climbs to kernel/memory/memory_plan.ts",
  );
});

Deno.test("floors: a dynamic import counts like a static one", () => {
  const found = importsOf("kernel/cpu/c.ts", 'const { a } = await import("../machine/a.ts");\n');
  assertEquals(found.map(violation), ["kernel/cpu/c.ts climbs to kernel/machine/a.ts"]);
});

Deno.test("floors: the kernel never imports drivers, guests import only the assembler", () => {
  const kernel = { from: "kernel/kernel.ts", to: "drivers/mod.ts" };
  assertEquals(violation(kernel), "kernel/kernel.ts climbs out to drivers/mod.ts");
  const guest = { from: "guests/isa/a.ts", to: "kernel/base/bytes.ts" };
  assertEquals(violation(guest), "guests/isa/a.ts imports kernel/base/bytes.ts");
  assertEquals(violation({ from: "guests/isa/a.ts", to: "tools/asm/encode.ts" }), undefined);
});

Deno.test("floors: a folder that has no floor is a violation", () => {
  const stray = { from: "kernel/attic/a.ts", to: "kernel/base/bytes.ts" };
  assertEquals(violation(stray)?.includes("has no floor"), true);
});

Deno.test("style: a long function is found, a table may be long", () => {
  const body = "  work();\n".repeat(90);
  assertEquals(tidy("a.ts", `/** A. */\nfunction long() {\n${body}}\n`).length, 1);
  assertEquals(tidy("a.ts", `/** TABLE: A. */\nfunction long() {\n${body}}\n`), []);
});

Deno.test("style: a machine's path is found, an ordinary one is not", () => {
  const line = (path: string) => tidy("a.ts", `/** A. */\nconst a = "${path}";\n`).length;
  assertEquals(["wo" + "rk", "ro" + "ot"].map((name) => line(`/${name}/a`)), [1, 1]);
  assertEquals(line("/usr/share/a"), 0);
});
