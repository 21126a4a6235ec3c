/** What `checkpoint create` and `suspend` share: their options, and a line that says how far a save is. */
import { ConfigError } from "../../../kernel/base/errors.ts";
import { hasUnseen, quoted } from "../../../kernel/base/quoted.ts";
import type { SaveProgress } from "../../../mod.ts";
import { LABEL_MAXIMUM } from "../control/limits.ts";
import { wholeNumber } from "../machine_options.ts";
import { Progress } from "../progress.ts";

/** Most characters of a refused label that are shown. */
const SHOWN_MAXIMUM = 80;

/** Checks a label; an empty one is none. Throws ConfigError, because commander would show the text as it is. */
export function checkLabel(text: string): string {
  const isBlank = text !== "" && text.trim() === "";
  if (text.length <= LABEL_MAXIMUM && !isBlank && !hasUnseen(text)) return text;
  throw new ConfigError(
    `The label ${quoted(text.slice(0, SHOWN_MAXIMUM))} cannot be used: expected at most ` +
      `${LABEL_MAXIMUM} characters on one line, not only blanks, without control characters`,
  );
}

/** Checks a number of pages in a second. Throws InvalidArgumentError. */
export const checkRate: (text: string) => number = wholeNumber(1, Number.MAX_SAFE_INTEGER);

/** How far a save is, on a terminal. */
export class SaveLine implements Disposable {
  readonly #progress = new Progress();

  /** Of a VM's save. */
  constructor(private readonly vm: string) {}

  /** Shows it. */
  readonly show = ({ share, pages }: SaveProgress): void => {
    this.#progress.show(`saving ${this.vm}: ${Math.floor(share * 100)} %, ${pages} pages`);
  };

  /** Takes it away. */
  clear(): void {
    this.#progress.clear();
  }

  /** The same as `clear`. */
  [Symbol.dispose](): void {
    this.clear();
  }
}
