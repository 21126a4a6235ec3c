/**
 * `deno task bench SUITE [--json]`: runs a suite of tests/bench and prints its figures, as a table or
 * with --json as one object for each figure and line. Exits with 1 when a figure misses its bar, with 2
 * when there is no such suite.
 */
import { type Figure, figureOf, isSuite, type Suite } from "./bench_suite.ts";

const SUITES = new URL("../../tests/bench/", import.meta.url);

/** Where lines go, so that a test can read them. */
export interface Printer {
  line(text: string): void;
  error(text: string): void;
}

/** Names of the suites in a folder, sorted. */
export function suiteNames(folder: URL = SUITES): string[] {
  try {
    return Array.from(Deno.readDirSync(folder))
      .filter(({ isFile, name }) => isFile && name.endsWith(".ts") && !name.endsWith("_test.ts"))
      .map(({ name }) => name.slice(0, -3))
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function loadSuite(name: string, folder: URL): Promise<Suite> {
  const module = await import(new URL(`${name}.ts`, folder).href);
  if (isSuite(module.default)) return module.default;
  throw new Error(`tests/bench/${name}.ts: expected a default export made by defineSuite`);
}

/** A row of the table. */
export function tableRow({ name, value, unit, bar, ok }: Figure): string {
  const number = Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
  const judged = bar === null ? "" : `${ok ? "ok" : "MISSED"} (${bar})`;
  return `${name.padEnd(36)} ${number.padStart(12)} ${unit.padEnd(10)} ${judged}`.trimEnd();
}

/** Runs `deno task bench` with its arguments; gives the exit status. */
export async function bench(
  args: readonly string[],
  printer: Printer = { line: console.log, error: console.error },
  folder: URL = SUITES,
): Promise<number> {
  const json = args.includes("--json");
  const [name, ...rest] = args.filter((arg) => arg !== "--json");
  const names = suiteNames(folder);
  if (name === undefined || rest.length > 0 || !names.includes(name)) {
    const known = names.length === 0 ? "none yet" : names.join(", ");
    printer.error(`Usage: deno task bench SUITE [--json]; suites: ${known}`);
    return 2;
  }
  const suite = await loadSuite(name, folder);
  if (!json) printer.line(`${name}: ${suite.description}`);
  let status = 0;
  for await (const measured of suite.run()) {
    const figure = figureOf(name, measured);
    printer.line(json ? JSON.stringify(figure) : tableRow(figure));
    if (!figure.ok) status = 1;
  }
  return status;
}

if (import.meta.main) Deno.exit(await bench(Deno.args));
