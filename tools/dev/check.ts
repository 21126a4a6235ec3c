/**
 * `deno task check`: format, lint, types, documentation, floors and style rules. Prints what is wrong
 * and exits with 1 if anything is.
 */
import { checkFloors } from "./floors.ts";
import { checkTidy } from "./tidy.ts";
import { ROOT } from "./sources.ts";

const STEPS: readonly (readonly [string, readonly string[]])[] = [
  ["format", ["fmt", "--check", "--quiet"]],
  ["lint", ["lint", "--quiet"]],
  ["types", ["check", "--quiet", "."]],
  ["documentation", ["doc", "--lint", "--quiet", "mod.ts"]],
];

async function run(name: string, args: readonly string[]): Promise<boolean> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    stdout: name === "documentation" ? "null" : "inherit",
    stderr: "inherit",
  });
  const { success } = await command.output();
  console.log(`${success ? "ok" : "FAILED"}  ${name}`);
  return success;
}

function report(name: string, problems: readonly string[]): boolean {
  for (const problem of problems) console.log(`  ${problem}`);
  console.log(`${problems.length === 0 ? "ok" : "FAILED"}  ${name}`);
  return problems.length === 0;
}

let good = true;
for (const [name, args] of STEPS) good = await run(name, args) && good;
good = report("floors", checkFloors()) && good;
good = report("style", checkTidy()) && good;
if (!good) Deno.exit(1);
