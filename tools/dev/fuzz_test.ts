/** Claims about `deno task fuzz`: names, what is printed, exit status. */
import { assertEquals } from "@std/assert";
import { CANARY, FUZZ_TARGETS } from "../../tests/fuzz/mod.ts";
import { chosenTargets, resultLines } from "./fuzz.ts";

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const script = new URL("./fuzz.ts", import.meta.url).pathname;
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", script, ...args] });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("fuzz: without names it means every target but the canary", () => {
  assertEquals(chosenTargets([]), FUZZ_TARGETS);
  assertEquals(chosenTargets(["canary"]), [CANARY]);
  assertEquals(chosenTargets(["elf", "nothing"]), "nothing");
});

Deno.test("fuzz: a failure prints the command that repeats it", () => {
  const lines = resultLines({ name: "elf", steps: 3, failure: { seed: 42, cause: "why" } });
  assertEquals(lines.at(0), "FAILED  elf at seed 42, after 3 steps");
  assertEquals(lines.at(-1)?.trim(), "again: deno task fuzz elf --seed 42 --steps 1");
});

Deno.test("fuzz: status 0 for what holds, 1 for the canary, 2 for a name that is unknown", async () => {
  const good = await run("size", "--seed", "7", "--steps", "5");
  assertEquals([good.code, good.out], [0, "seed 7\nok      size: 5 steps\n"]);
  const bad = await run("canary", "--seed", "1", "--steps", "10000");
  assertEquals([bad.code, bad.out.includes("the canary sang")], [1, true]);
  const unknown = await run("nothing");
  assertEquals([unknown.code, unknown.err.includes("expected one of")], [2, true]);
  assertEquals((await run("--seed", "x")).code, 2);
});
