/**
 * What may end a command from outside the VM: `--timeout` and signals.
 *
 * Invariant: `dispose` leaves no timer and no listener.
 */
import { CliExit, EXIT } from "./errors.ts";

/** Signals that end a command, with the exit status a shell gives them. */
const SIGNALS: readonly [Deno.Signal, number][] = [["SIGINT", 130], ["SIGTERM", 143]];

/** A promise that rejects with the status to end with. */
export class Ending {
  /** Never resolves; rejects with `CliExit`. */
  readonly happens: Promise<never>;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners: [Deno.Signal, () => void][] = [];
  readonly #reject: (reason: unknown) => void;

  /** Watches signals, and the time if there is a limit in seconds. */
  constructor(timeout: number | undefined) {
    const { promise, reject } = Promise.withResolvers<never>();
    // Whoever races against it sees the rejection; it is no error when nobody does any more.
    promise.catch(() => {});
    this.happens = promise;
    this.#reject = reject;
    if (timeout !== undefined) {
      const message = `gave up after ${timeout} s`;
      this.#timer = setTimeout(() => reject(new CliExit(EXIT.timeout, message)), timeout * 1000);
    }
    for (const [signal, status] of SIGNALS) {
      const listener = () => reject(new CliExit(status));
      Deno.addSignalListener(signal, listener);
      this.#listeners.push([signal, listener]);
    }
  }

  /** Ends the command with a status. */
  end(status: number): void {
    this.#reject(new CliExit(status));
  }

  /** Ends the command with an error. */
  fail(error: unknown): void {
    this.#reject(error);
  }

  /** Stops watching. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const [signal, listener] of this.#listeners) Deno.removeSignalListener(signal, listener);
  }
}
