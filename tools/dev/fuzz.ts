/**
 * `deno task fuzz [NAME…] [--seconds N] [--seed N] [--steps N]`: runs fuzz targets in turn, each for so
 * many seconds, from a seed that is printed. Exits with 1 when a target fails or the canary does not.
 */
import { type Command, CommanderError, InvalidArgumentError } from "commander";
import { Command as Program } from "commander";
import { fuzz, type FuzzResult, type FuzzTarget } from "../../tests/fuzz/engine.ts";
import { CANARY, FUZZ_TARGETS } from "../../tests/fuzz/mod.ts";

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly steps?: number;
}

const CANARY_STEPS = 10_000;
/** Seeds are small enough to be typed. */
const SEEDS = 1_000_000_000;

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("expected a number above 0");
}

function whole(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number");
}

/** The targets with these names, all when there are none; the unknown name when there is one. */
export function chosenTargets(names: readonly string[]): readonly FuzzTarget[] | string {
  const known = [...FUZZ_TARGETS, CANARY];
  const unknown = names.find((name) => known.every((target) => target.name !== name));
  if (unknown !== undefined) return unknown;
  return names.length === 0 ? FUZZ_TARGETS : known.filter(({ name }) => names.includes(name));
}

/** What is printed of a result. */
export function resultLines({ name, steps, failure }: FuzzResult): string[] {
  if (failure === undefined) return [`ok      ${name}: ${steps} steps`];
  const { seed, cause } = failure;
  const text = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
  return [
    `FAILED  ${name} at seed ${seed}, after ${steps} steps`,
    ...text.split("\n").map((line) => `        ${line}`),
    `        again: deno task fuzz ${name} --seed ${seed} --steps 1`,
  ];
}

async function canarySings(seed: number): Promise<boolean> {
  return (await fuzz(CANARY, { seed, steps: CANARY_STEPS })).failure !== undefined;
}

/** Runs targets and prints; gives the exit status. */
export async function runFuzz(names: readonly string[], options: Options): Promise<number> {
  const targets = chosenTargets(names);
  if (typeof targets === "string") {
    const known = FUZZ_TARGETS.map(({ name }) => name).join(", ");
    console.error(`There is no fuzz target ${targets}: expected one of ${known}`);
    return 2;
  }
  if (!await canarySings(options.seed)) {
    console.error("The canary did not fail: what the targets say counts for nothing");
    return 1;
  }
  console.log(`seed ${options.seed}`);
  let status = 0;
  for (const target of targets) {
    const result = await fuzz(target, options);
    for (const line of resultLines(result)) console.log(line);
    if (result.failure !== undefined) status = 1;
  }
  return status;
}

function program(): Command {
  return new Program("fuzz")
    .description("Feed hostile bytes to every parser and device")
    .argument("[names...]", "targets; all by default")
    .option("--seconds <number>", "for each target", positive, 5)
    .option("--seed <number>", "of the first step", whole, Math.floor(Math.random() * SEEDS))
    .option("--steps <number>", "most steps of each target", whole)
    .exitOverride();
}

async function main(): Promise<number> {
  const command = program();
  try {
    command.parse(Deno.args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
  return await runFuzz(command.args, command.opts<Options>());
}

if (import.meta.main) Deno.exit(await main());
