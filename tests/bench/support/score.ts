/**
 * Our time beside the times of others that did the same work in turn with us: medians, ratios (theirs
 * divided by ours, above 1: we are faster) and the ratios' geometric means.
 */
import type { Measurement } from "../../../tools/dev/bench_suite.ts";

/** How often each side runs. */
export const ROUNDS = 5;

/** Whom we are compared with, by what its figures are called behind the name of a measure. */
export interface Rival {
  readonly time: string;
  readonly ratio: string;
  readonly geomean: string;
}

/** The reference, which bars are about. */
export const QEMU_RIVAL: Rival = { time: "time under QEMU", ratio: "ratio", geomean: "geomean" };
/** The host itself, which does the same work without any machine. */
export const NATIVE_RIVAL: Rival = {
  time: "time native",
  ratio: "ratio to native",
  geomean: "geomean to native",
};

/** Another revision of ours. */
export function revisionRival(name: string): Rival {
  return { time: `time at ${name}`, ratio: `ratio to ${name}`, geomean: `geomean to ${name}` };
}

/** Seconds of a rival in each round. */
export interface RivalTimes {
  readonly rival: Rival;
  readonly seconds: readonly number[];
}

/** Least ratios to QEMU. */
export interface Bars {
  readonly leastEach?: number;
  readonly leastMean?: number;
}

/** Turns times into figures, and remembers the ratios for the means. */
export class Score {
  readonly #bars: Bars;
  readonly #ratios = new Map<string, number[]>();

  /** With these bars. */
  constructor(bars: Bars = {}) {
    this.#bars = bars;
  }

  /** The figures of a measure; one that is `apart` has no bar and is left out of the means. */
  *measure(
    name: string,
    ours: readonly number[],
    theirs: readonly RivalTimes[],
    apart = false,
  ): Generator<Measurement> {
    yield { name: `${name} time`, value: median(ours), unit: "s" };
    for (const { rival, seconds } of theirs) {
      yield* this.compare(name, ours, { rival, seconds }, apart);
    }
  }

  /** The figures of a measure that are about one rival. */
  *compare(
    name: string,
    ours: readonly number[],
    { rival, seconds }: RivalTimes,
    apart = false,
  ): Generator<Measurement> {
    const ratio = median(seconds) / median(ours);
    yield { name: `${name} ${rival.time}`, value: median(seconds), unit: "s" };
    const least = apart || rival !== QEMU_RIVAL ? undefined : this.#bars.leastEach;
    yield { name: `${name} ${rival.ratio}`, value: ratio, unit: "x", ...atLeast(least) };
    if (!apart) this.#ratios.set(rival.geomean, [...this.#ratiosOf(rival.geomean), ratio]);
  }

  /** The geometric mean of the ratios to each rival. */
  *means(): Generator<Measurement> {
    for (const [name, ratios] of this.#ratios) {
      const least = name === QEMU_RIVAL.geomean ? this.#bars.leastMean : undefined;
      yield { name, value: geomean(ratios), unit: "x", ...atLeast(least) };
    }
  }

  #ratiosOf(name: string): readonly number[] {
    return this.#ratios.get(name) ?? [];
  }
}

function atLeast(least: number | undefined): Pick<Measurement, "bar"> {
  return least === undefined ? {} : { bar: { atLeast: least } };
}

/** Lets all sides run in turn, so that what else the host does meets all alike; gives each its results. */
export async function inTurn<T>(
  rounds: number,
  sides: readonly (() => Promise<T>)[],
): Promise<T[][]> {
  const results: T[][] = sides.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, side] of sides.entries()) results[i]!.push(await side());
  }
  return results;
}

/** Geometric mean. */
export function geomean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Middle value. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
