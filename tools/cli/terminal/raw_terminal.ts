/**
 * The user's terminal while a VM owns it: raw mode, its size, and both given back at the end.
 *
 * Invariant: `close` restores the terminal whatever happened, and leaves no signal listener.
 */
import { writeOut } from "../streams.ts";

/** A terminal in raw mode. */
export class RawTerminal {
  readonly #onSize: (columns: number, rows: number) => void;
  readonly #sizeChanged = () => this.#reportSize();

  /** Takes the terminal over; `onSize` is called now and whenever its size changes. */
  constructor(onSize: (columns: number, rows: number) => void) {
    this.#onSize = onSize;
    Deno.stdin.setRaw(true);
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGWINCH", this.#sizeChanged);
    this.#reportSize();
  }

  /** Gives the terminal back. */
  close(): void {
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGWINCH", this.#sizeChanged);
    Deno.stdin.setRaw(false);
    // The shell's prompt does not start in the middle of the guest's last line.
    if (Deno.stdout.isTerminal()) writeOut("\n");
  }

  #reportSize(): void {
    try {
      const { columns, rows } = Deno.consoleSize();
      if (columns > 0 && rows > 0) this.#onSize(columns, rows);
    } catch {
      // Standard input is a terminal but no output is: there is no size to report.
    }
  }
}
