/**
 * A list of 32-bit words that grows, without an object for each.
 */
import { assert } from "../base/assert.ts";

const FIRST_WORDS = 1024;

/** The list. */
export class WordList {
  #words = new Uint32Array(FIRST_WORDS);
  #length = 0;

  /** How many words there are. */
  get length(): number {
    return this.#length;
  }

  /** A word. */
  at(index: number): number {
    assert(index >= 0 && index < this.#length, "a word of the list");
    return this.#words[index]!;
  }

  /** Adds a word. */
  push(word: number): void {
    if (this.#length === this.#words.length) this.#grow(1);
    this.#words[this.#length++] = word;
  }

  /** Adds words. */
  append(words: Uint32Array): void {
    if (this.#length + words.length > this.#words.length) this.#grow(words.length);
    this.#words.set(words, this.#length);
    this.#length += words.length;
  }

  /** The words, as a copy of their own. */
  take(): Uint32Array<ArrayBuffer> {
    return this.#words.slice(0, this.#length);
  }

  /** The words, until the list changes. */
  view(): Uint32Array<ArrayBuffer> {
    return this.#words.subarray(0, this.#length);
  }

  /** Forgets all words. */
  clear(): void {
    this.#length = 0;
  }

  #grow(more: number): void {
    const words = new Uint32Array(Math.max(2 * this.#words.length, this.#length + more));
    words.set(this.view());
    this.#words = words;
  }
}
