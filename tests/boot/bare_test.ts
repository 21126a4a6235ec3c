/** Machine-mode guests of ours: ends through tohost, and four harts that share a counter. */
import { assertEquals } from "@std/assert";
import { readImage } from "../../kernel/machine/image.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";

async function run(name: string, harts: number): Promise<unknown> {
  const file = new URL(`../../guests/bare/${name}.elf`, import.meta.url);
  const kernel = await readImage(await Deno.readFile(file));
  return runToEnd(testMachine({ kernel, harts, bios: "none" }), { most: 10_000_000 }).stop;
}

Deno.test("a store of 1 to tohost is success", async () => {
  assertEquals(await run("pass", 1), { kind: "off", code: 0 });
});

Deno.test("a store of another odd value v to tohost is failure with code v >> 1", async () => {
  assertEquals(await run("fail", 2), { kind: "off", code: 7 });
});

Deno.test("four harts count with AMO and LR/SC and wake each other through the CLINT", async () => {
  assertEquals(await run("smp", 4), { kind: "off", code: 0 });
});
