/**
 * A fast 64-bit content hash for state digests: four lanes of 32-bit multiply and rotate. It finds
 * accidents and divergences, not forgeries.
 */

const PRIME_A = 0x9e3779b1;
const PRIME_B = 0x85ebca77;

/** Hashes words into a digest that depends on their order. */
export class Digest {
  #a = 0x243f6a88;
  #b = 0x85a308d3;

  /** Adds 32-bit words. */
  words(words: Uint32Array | Int32Array): void {
    let a = this.#a;
    let b = this.#b;
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      a = Math.imul(a ^ word, PRIME_A);
      a = a << 13 | a >>> 19;
      b = Math.imul(b + word ^ a, PRIME_B);
    }
    this.#a = a;
    this.#b = b;
  }

  /** Adds one number of up to 53 bits. */
  number(value: number): void {
    this.words(Uint32Array.of(value % 2 ** 32, Math.floor(value / 2 ** 32)));
  }

  /** Sixteen hexadecimal digits. */
  hex(): string {
    const part = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return part(Math.imul(this.#a ^ this.#b >>> 15, PRIME_B)) + part(this.#b ^ this.#a >>> 13);
  }
}

/** Whether all words are zero; stops at the first that is not. */
export function isZero(words: Uint32Array | Int32Array): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}
