/** Shows long work on standard error, on one line that replaces itself; only on a terminal. */
import { writeError } from "./streams.ts";

/** A progress line. */
export class Progress {
  readonly #shown = Deno.stderr.isTerminal();
  #dirty = false;

  /** Shows a line in place of the last. */
  readonly show = (line: string): void => {
    if (!this.#shown) return;
    writeError(`\r\x1b[K${line}`);
    this.#dirty = true;
  };

  /** Takes the line away. */
  clear(): void {
    if (this.#dirty) writeError("\r\x1b[K");
    this.#dirty = false;
  }
}
