/**
 * `deno task bench SUITE [--json] [--against REV]`: runs a suite of tests/bench and prints its figures, as
 * a table or with --json as one object for each figure and line. With --against, a revision of this
 * repository is measured in turn with this tree. Exits with 1 when a figure misses its bar, with 2 when
 * there is no such suite or revision.
 */
import { type BenchContext, type Figure, figureOf, isSuite, type Suite } from "./bench_suite.ts";
import { type CheckedOut, checkOut, NoRevision } from "./revision.ts";

const SUITES = new URL("../../tests/bench/", import.meta.url);

/** Where lines go, so that a test can read them. */
export interface Printer {
  line(text: string): void;
  error(text: string): void;
}

/** What the command works on; tests put others in their place. */
export interface BenchSurroundings {
  /** Folder of the suites. */
  readonly folder: URL;
  /** Checks a revision out. */
  readonly checkOut: (name: string) => Promise<CheckedOut>;
}

/** What the user asks for. */
interface Wanted {
  readonly name: string;
  readonly json: boolean;
  readonly against?: string;
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
  return `${name.padEnd(44)} ${number.padStart(12)} ${unit.padEnd(10)} ${judged}`.trimEnd();
}

/** What the arguments ask for, or what is wrong with them. */
function parseArguments(args: readonly string[], suites: readonly string[]): Wanted | string {
  const names: string[] = [];
  let json = false;
  let against: string | undefined;
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--json") json = true;
    else if (word === "--against") {
      if (against !== undefined) return "--against is given twice";
      against = words.shift();
      if (against === undefined || /^(-|$)/.test(against)) return "--against needs a revision";
    } else if (word.startsWith("-")) return `there is no option ${word}`;
    else names.push(word);
  }
  const [name, extra] = names;
  if (name === undefined) return "there is no suite named";
  if (!suites.includes(name)) return `there is no suite "${name}"`;
  if (extra !== undefined) return `"${extra}" is too much: one suite at a time`;
  return { name, json, ...(against !== undefined && { against }) };
}

function usage(wrong: string, suites: readonly string[]): string {
  const known = suites.length === 0 ? "none yet" : suites.join(", ");
  return `${wrong}\nUsage: deno task bench SUITE [--json] [--against REV]; suites: ${known}`;
}

/** Runs `deno task bench` with its arguments; gives the exit status. */
export async function bench(
  args: readonly string[],
  printer: Printer = { line: console.log, error: console.error },
  { folder, checkOut: checkOutRevision }: BenchSurroundings = { folder: SUITES, checkOut },
): Promise<number> {
  const names = suiteNames(folder);
  const wanted = parseArguments(args, names);
  if (typeof wanted === "string") {
    printer.error(usage(wanted, names));
    return 2;
  }
  const suite = await loadSuite(wanted.name, folder);
  try {
    await using against = wanted.against === undefined
      ? undefined
      : await checkOutRevision(wanted.against);
    const note = (text: string) => printer.error(`${wanted.name}: ${text}`);
    return await runSuite(suite, wanted, { note, ...(against && { against }) }, printer);
  } catch (error) {
    if (!(error instanceof NoRevision)) throw error;
    printer.error(error.message);
    return 2;
  }
}

/** Prints the figures as they come; gives the exit status. */
async function runSuite(
  suite: Suite,
  { name, json, against }: Wanted,
  context: BenchContext,
  printer: Printer,
): Promise<number> {
  if (!json) printer.line(`${name}: ${suite.description}`);
  let status = 0;
  for await (const measured of suite.run(context)) {
    const figure = figureOf(name, measured, against);
    printer.line(json ? JSON.stringify(figure) : tableRow(figure));
    if (!figure.ok) status = 1;
  }
  return status;
}

if (import.meta.main) Deno.exit(await bench(Deno.args));
