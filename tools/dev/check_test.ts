/** Claims about the checks themselves: each catches what it is there for. */
import { assertEquals } from "@std/assert";
import { checkFloors, importsOf, violation } from "./floors.ts";
import { isFree } from "./lint_plugin.ts";
import { checkTidy, tidy } from "./tidy.ts";

Deno.test("floors: an import that climbs is a violation, one that goes down is not", () => {
  const down = { from: "kernel/cpu/core.ts", to: "kernel/memory/page_flags.ts" };
  const up = { from: "kernel/memory/page_flags.ts", to: "kernel/cpu/core.ts" };
  assertEquals(violation(down), undefined);
  assertEquals(violation(up), `${up.from} climbs to ${up.to}`);
});

Deno.test("floors: siblings on one floor and drivers of each other are violations", () => {
  const sideways = { from: "kernel/mmu/walk.ts", to: "kernel/driver/mod.ts" };
  assertEquals(violation(sideways), `${sideways.from} reaches sideways to ${sideways.to}`);
  const driver = { from: "drivers/virtual/plic/device.ts", to: "drivers/virtual/aclint/mod.ts" };
  assertEquals(violation(driver), `${driver.from} imports ${driver.to}`);
});

Deno.test("floors: imports and re-exports are both found", () => {
  const text = 'import { a } from "../base/a.ts";\nexport * from "./b.ts";\nimport "npm:x";\n';
  const targets = importsOf("kernel/cpu/c.ts", text).map(({ to }) => to);
  assertEquals(targets, ["kernel/base/a.ts", "kernel/cpu/b.ts"]);
});

Deno.test("floors and style hold in the whole tree", () => {
  assertEquals(checkFloors(), []);
  assertEquals(checkTidy(), []);
});

Deno.test("style: a missing head comment, a long file and an unnumbered to-do are found", () => {
  assertEquals(tidy("a.ts", "const a = 1;\n").length, 1);
  assertEquals(tidy("a.ts", `/** A. */\n${"//\n".repeat(600)}`).length, 1);
  assertEquals(tidy("a.ts", "/** A. */\n// TO" + "DO: later\n").length, 1);
});

Deno.test("lint: kernel/host, tools and tests may touch the host, the core may not", () => {
  assertEquals(isFree("/x/kernel/host/files.ts"), true);
  assertEquals(isFree("/x/kernel/cpu/core.ts"), false);
  assertEquals(isFree("/x/drivers/virtual/plic/device.ts"), false);
});
