/**
 * SHA-256 (FIPS 180-4) of bytes that come in parts: a browser has it for whole buffers only, and disks
 * are longer than those.
 */

/** First 32 bits of the fractional parts of a root of the first 64 primes (FIPS 180-4, 4.2.2, 5.3.3). */
function primeRoots(count: number, root: (prime: number) => number): Int32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
  return Int32Array.from(primes, (prime) => root(prime) % 1 * 2 ** 32 | 0);
}

const K = primeRoots(64, Math.cbrt);
const START = primeRoots(8, Math.sqrt);
const BLOCK_BYTES = 64;

/** A hash under way. */
export class Sha256 {
  readonly #state = START.slice();
  readonly #schedule = new Int32Array(64);
  readonly #block = new Uint8Array(BLOCK_BYTES);
  readonly #view = new DataView(this.#block.buffer);
  #length = 0;

  /** Adds bytes. */
  add(bytes: Uint8Array): void {
    let at = 0;
    const held = this.#length % BLOCK_BYTES;
    this.#length += bytes.length;
    if (held > 0) {
      at = Math.min(bytes.length, BLOCK_BYTES - held);
      this.#block.set(bytes.subarray(0, at), held);
      if (held + at < BLOCK_BYTES) return;
      this.#compress(this.#view, 0);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) this.#compress(view, at);
    this.#block.set(bytes.subarray(at));
  }

  /** Ends it: 64 hexadecimal digits. */
  hex(): string {
    const bits = this.#length * 8;
    const zeros = (BLOCK_BYTES * 2 - 9 - this.#length % BLOCK_BYTES) % BLOCK_BYTES;
    const padding = new Uint8Array(1 + zeros + 8);
    const view = new DataView(padding.buffer);
    padding[0] = 0x80;
    view.setUint32(1 + zeros, Math.floor(bits / 2 ** 32));
    view.setUint32(5 + zeros, bits >>> 0);
    this.add(padding);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  /** FIPS 180-4, 6.2.2. */
  #compress(view: DataView, at: number): void {
    const w = this.#schedule;
    for (let t = 0; t < 16; t++) w[t] = view.getInt32(at + 4 * t);
    for (let t = 16; t < 64; t++) {
      const [x, y] = [w[t - 15]!, w[t - 2]!];
      const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
      const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
      w[t] = w[t - 16]! + s0 + w[t - 7]! + s1 | 0;
    }
    const state = this.#state;
    let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
    let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
    for (let t = 0; t < 64; t++) {
      const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
      const first = h + s1 + (e & f ^ ~e & g) + K[t]! + w[t]! | 0;
      const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
      const second = s0 + (a & b ^ a & c ^ b & c) | 0;
      h = g, g = f, f = e, e = d + first | 0;
      d = c, c = b, b = a, a = first + second | 0;
    }
    state[0]! += a, state[1]! += b, state[2]! += c, state[3]! += d;
    state[4]! += e, state[5]! += f, state[6]! += g, state[7]! += h;
  }
}
