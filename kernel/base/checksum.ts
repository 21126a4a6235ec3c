/**
 * A fast 64-bit content hash for state digests: two lanes of 32-bit multiply and rotate. It finds
 * accidents and divergences, not forgeries. And the checksum of stored frames.
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

  /** Adds 64 bits. */
  long(value: bigint): void {
    this.words(new Uint32Array(BigUint64Array.of(value).buffer));
  }

  /** Sixteen hexadecimal digits. */
  hex(): string {
    const part = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return part(Math.imul(this.#a ^ this.#b >>> 15, PRIME_B)) + part(this.#b ^ this.#a >>> 13);
  }
}

/**
 * Eight tables, so that eight bytes are taken at once: table n is for a byte with n bytes behind it. Signed, because
 * V8 keeps numbers of 32 bits with a sign without allocating any memory for them, also before it compiles this.
 */
let crcTables: Int32Array | undefined;

function makeCrcTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ 0xedb88320 : crc >>> 1;
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!;
    tables[at] = before >>> 8 ^ tables[before & 255]!;
  }
  return tables;
}

/**
 * Bytes that are taken by one call: V8 leaves a loop for faster code when its function is called the next time, long
 * before it replaces the code of a loop that runs.
 */
const CRC_BYTES = 2048;

/** CRC-32 (ISO 3309, as zlib and PNG use it) of bytes; `from` goes on from an earlier result. */
export function crc32(bytes: Uint8Array, from = 0): number {
  // Most worlds check nothing.
  const tables = crcTables ??= makeCrcTables();
  let crc = ~from;
  for (let at = 0; at < bytes.length; at += CRC_BYTES) {
    crc = crcOf(tables, bytes, crc, at, Math.min(at + CRC_BYTES, bytes.length));
  }
  return ~crc >>> 0;
}

function crcOf(
  tables: Int32Array,
  bytes: Uint8Array,
  before: number,
  first: number,
  end: number,
): number {
  let crc = before;
  let at = first;
  for (; at < end - 7; at += 8) {
    const low = crc ^
      (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24);
    crc = tables[1792 + (low & 255)]! ^ tables[1536 + (low >>> 8 & 255)]! ^
      tables[1280 + (low >>> 16 & 255)]! ^ tables[1024 + (low >>> 24)]! ^
      tables[768 + bytes[at + 4]!]! ^ tables[512 + bytes[at + 5]!]! ^
      tables[256 + bytes[at + 6]!]! ^ tables[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = crc >>> 8 ^ tables[(crc ^ bytes[at]!) & 255]!;
  return crc;
}
