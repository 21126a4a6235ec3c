/** When places become regions. Generated code has the heat baked in, so it is known without the translator. */

/** When places become regions; for tests that want many. */
export interface TranslatorOptions {
  /** Heat that makes a place hot, at least 1: lookups, and eighths of instructions interpreted behind them. */
  readonly heat: number;
  /** Places that make a batch. A place that is hot a second time is made at once. */
  readonly batch: number;
}

/** What is best for guests of all kinds (docs/performance.md). */
export const TRANSLATOR_DEFAULTS: TranslatorOptions = { heat: 20_000, batch: 8 };

/** For the tier `check`: what is to be checked is to be seen early. */
export const CHECK_DEFAULTS: TranslatorOptions = { heat: 1000, batch: 8 };

/** Heat at which a place is looked for among the regions of earlier runs. */
const FIRST_LOOK = 50;

/** Heat at which the run asks first; `keeps` tells whether regions of earlier runs are to be expected. */
export function firstLook({ heat }: TranslatorOptions, keeps: boolean): number {
  return keeps ? Math.min(FIRST_LOOK, heat) : heat;
}
