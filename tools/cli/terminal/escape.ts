/**
 * The escape key of a raw terminal, as in QEMU: Ctrl-A x quits, Ctrl-A c opens and closes the monitor,
 * Ctrl-A Ctrl-A (or Ctrl-A a) types Ctrl-A, Ctrl-A h helps. Anything else after Ctrl-A is passed on.
 */

const CTRL_A = 0x01;

/** What typed bytes mean. */
export type Typed =
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "quit" | "monitor" | "help" };

/** Splits typed bytes into data and commands, across chunks. */
export class EscapeParser {
  #escaped = false;

  /** The meaning of the next bytes, in order. */
  push(bytes: Uint8Array): Typed[] {
    const typed: Typed[] = [];
    let data: number[] = [];
    const flush = () => {
      if (data.length > 0) typed.push({ kind: "data", bytes: new Uint8Array(data) });
      data = [];
    };
    for (const byte of bytes) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true;
        else data.push(byte);
        continue;
      }
      this.#escaped = false;
      const command = commandOf(byte);
      if (command === undefined) data.push(...literal(byte));
      else {
        flush();
        typed.push({ kind: command });
      }
    }
    flush();
    return typed;
  }
}

function commandOf(byte: number): "quit" | "monitor" | "help" | undefined {
  switch (String.fromCharCode(byte)) {
    case "x":
      return "quit";
    case "c":
      return "monitor";
    case "h":
    case "?":
      return "help";
    default:
      return undefined;
  }
}

function literal(byte: number): number[] {
  return byte === CTRL_A || byte === 0x61 ? [CTRL_A] : [CTRL_A, byte];
}

/** Text of Ctrl-A h; `quit` says what Ctrl-A x does. */
export function escapeHelp(quit: string): string {
  return `Ctrl-A x  ${quit}\nCtrl-A c  monitor, and back\nCtrl-A h  this help\n` +
    "Ctrl-A Ctrl-A  type Ctrl-A\n";
}
