/**
 * What a benchmark suite is, and the one shape that every figure is printed in. A suite is a file
 * tests/bench/NAME.ts whose default export is made by `defineSuite`.
 */

/** What a figure has to reach: at least or at most this value. */
export type Bar = { readonly atLeast: number } | { readonly atMost: number };

/** A measured value. */
export interface Measurement {
  /** What was measured, unique in its suite: "sieve", "debian boot". */
  readonly name: string;
  /** A finite number. */
  readonly value: number;
  /** Unit of the value: "MIPS", "s", "MiB". */
  readonly unit: string;
  /** What it has to reach; without one the figure is only reported. */
  readonly bar?: Bar;
  /** Command that repeats this figure; by default the one that runs the suite. */
  readonly command?: string;
}

/** Another revision of ours, checked out to be measured beside this tree. */
export interface Revision {
  /** As the user names it. */
  readonly name: string;
  /** Path of its command line's main module. */
  readonly cli: string;
}

/** What a suite is given. */
export interface BenchContext {
  /** Revision to compare with. */
  readonly against?: Revision;
  /** Tells the user in one line what is left out, and why. */
  readonly note: (text: string) => void;
}

/** A benchmark suite. */
export interface Suite {
  /** One line for the list of suites. */
  readonly description: string;
  /** Measures; each figure is printed as it comes. */
  run(context: BenchContext): AsyncIterable<Measurement>;
}

/** A figure as it is printed: one JSON object on one line. */
export interface Figure {
  readonly suite: string;
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** ">= 200" or "<= 15", or null where there is none. */
  readonly bar: string | null;
  /** Whether the bar is reached; true where there is none. */
  readonly ok: boolean;
  readonly command: string;
}

/** Declares a suite: the default export of its file. */
export function defineSuite(suite: Suite): Suite {
  return suite;
}

/** Whether a module's default export is a suite. */
export function isSuite(candidate: unknown): candidate is Suite {
  const suite = candidate as Partial<Suite> | undefined | null;
  return typeof suite?.description === "string" && typeof suite.run === "function";
}

/** A measurement with its bar judged. Throws for a value that is not finite or a name that is empty. */
export function figureOf(suite: string, measured: Measurement, against?: string): Figure {
  const again = `deno task bench ${suite}${against === undefined ? "" : ` --against ${against}`}`;
  const { name, value, unit, bar, command = again } = measured;
  if (name === "" || !Number.isFinite(value)) {
    throw new Error(`suite ${suite} measured "${name}" as ${value}: expected a name and a number`);
  }
  return { suite, name, value, unit, bar: barText(bar), ok: reaches(value, bar), command };
}

function barText(bar: Bar | undefined): string | null {
  if (bar === undefined) return null;
  return "atLeast" in bar ? `>= ${bar.atLeast}` : `<= ${bar.atMost}`;
}

function reaches(value: number, bar: Bar | undefined): boolean {
  if (bar === undefined) return true;
  return "atLeast" in bar ? value >= bar.atLeast : value <= bar.atMost;
}
