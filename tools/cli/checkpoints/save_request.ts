/** What `checkpoint create` and `suspend` share: their options, and a line that says how far a save is. */
import { InvalidArgumentError } from "commander";
import type { SaveProgress } from "../../../mod.ts";
import { LABEL_MAXIMUM } from "../control/limits.ts";
import { wholeNumber } from "../machine_options.ts";
import { Progress } from "../progress.ts";

/** Checks a label. Throws InvalidArgumentError. */
export function checkLabel(text: string): string {
  // deno-lint-ignore no-control-regex
  if (text.length <= LABEL_MAXIMUM && !/[\x00-\x1f\x7f-\x9f]/.test(text)) return text;
  throw new InvalidArgumentError(`Expected at most ${LABEL_MAXIMUM} characters on one line.`);
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
