/**
 * Flow control of what a client sends into a stream (docs/control.md): at most INPUT_WINDOW bytes are
 * under way, and each that was taken is told.
 *
 * Invariants: the kernel holds at most INPUT_WINDOW bytes of a stream; a client never sends more.
 */
import { FormatError } from "../../../mod.ts";
import { INPUT_WINDOW } from "./protocol.ts";

/** The kernel's end: passes bytes on in order. */
export class InputWindow {
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #taken: (count: number) => Promise<void>;
  readonly #fail: (error: unknown) => void;
  #waiting = 0;
  #turn: Promise<void> = Promise.resolve();

  /**
   * `write` passes bytes on, `taken` tells the client that so many were, `fail` is called with what
   * either rejects with.
   */
  constructor(
    write: (bytes: Uint8Array) => Promise<void>,
    taken: (count: number) => Promise<void>,
    fail: (error: unknown) => void,
  ) {
    this.#write = write;
    this.#taken = taken;
    this.#fail = fail;
  }

  /** Bytes arrived. Throws FormatError when they are more than the client may send. */
  push(bytes: Uint8Array): void {
    if (this.#waiting + bytes.length > INPUT_WINDOW) {
      throw new FormatError(`More than ${INPUT_WINDOW} bytes of input were sent ahead`);
    }
    this.#waiting += bytes.length;
    this.then(async () => {
      await this.#write(bytes);
      this.#waiting -= bytes.length;
      await this.#taken(bytes.length);
    });
  }

  /** Does something when all that arrived so far was passed on. */
  then(action: () => Promise<void>): void {
    this.#turn = this.#turn.then(action).catch(this.#fail);
  }
}

/** The client's end: says how much may be sent. */
export class InputCredit {
  #left = INPUT_WINDOW;
  #more: (() => void) | undefined;

  /** Waits until something may be sent; takes up to so many bytes of it. One call at a time. */
  async take(wanted: number): Promise<number> {
    while (this.#left === 0) await new Promise<void>((resolve) => this.#more = resolve);
    const count = Math.min(wanted, this.#left);
    this.#left -= count;
    return count;
  }

  /** The kernel took so many bytes. */
  give(count: number): void {
    this.#left = Math.min(INPUT_WINDOW, this.#left + count);
    this.#more?.();
  }
}
