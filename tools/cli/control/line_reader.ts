/**
 * Cuts the bytes of a control connection into lines (docs/control.md).
 *
 * Invariant: no more is held than the longest allowed line.
 */
import { FormatError } from "../../../mod.ts";

/** Cuts bytes into lines, holding no more than the longest allowed one. */
export class LineReader {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** Lines of at most so many bytes. */
  constructor(private readonly most: number) {}

  /** Bytes of a line that has not ended yet. */
  get waiting(): number {
    return this.#length;
  }

  /** Lines that these bytes end. Throws FormatError when one is too long or no UTF-8. */
  *push(bytes: Uint8Array): Generator<string, void, undefined> {
    let from = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
      this.#add(bytes.subarray(from, end));
      from = end + 1;
      yield this.#take();
    }
    this.#add(bytes.subarray(from));
  }

  #add(part: Uint8Array): void {
    if (this.#length + part.length > this.most) {
      throw new FormatError(`A line is longer than ${this.most} bytes`);
    }
    if (part.length === 0) return;
    this.#parts.push(part.slice());
    this.#length += part.length;
  }

  #take(): string {
    const line = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      line.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#length = 0;
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(line);
    } catch (cause) {
      throw new FormatError("A line is no UTF-8", { cause });
    }
  }
}
