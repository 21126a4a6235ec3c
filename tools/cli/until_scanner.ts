/**
 * Looks for a text in a stream of bytes that comes in chunks.
 *
 * Invariant: a text is found wherever chunks are cut; memory is bounded by the text's length.
 */

/** Finds one text. */
export class UntilScanner {
  readonly #wanted: string;
  #tail = "";
  #found = false;

  /** Looks for the UTF-8 bytes of the text. */
  constructor(text: string) {
    this.#wanted = oneCharacterEach(new TextEncoder().encode(text));
  }

  /** Whether it was seen. */
  get found(): boolean {
    return this.#found;
  }

  /** Takes the next bytes; says whether the text was seen by now. */
  push(bytes: Uint8Array): boolean {
    if (this.#found) return true;
    const all = this.#tail + oneCharacterEach(bytes);
    this.#found = all.includes(this.#wanted);
    this.#tail = this.#wanted.length > 1 ? all.slice(1 - this.#wanted.length) : "";
    return this.#found;
  }
}

/** A string with one character for each byte, so that strings' fast search can be used. */
function oneCharacterEach(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}
