/**
 * What the page store hashes, checks and compresses with: the host's native libraries. It needs no
 * permission, so a worker without any can use it.
 *
 * Invariant: a library is loaded when it is first used: whoever only reads pages never hashes any. To ask the
 * process for them takes less than to import them, but 20 ms for zlib: a VM that goes on in a new process is to
 * run before that, so a few MiB are checked without it.
 */
import { crc32 } from "../base/checksum.ts";
import type Crypto from "node:crypto";
import type Zlib from "node:zlib";

/** Words of a page's hash. */
export const HASH_WORDS = 4;

/** Hashes, checks and compresses. All functions take views of shared memory, too. */
export interface PageCodec {
  /** Puts the first 128 bits of the SHA-256 of bytes into four words. */
  hash(bytes: Uint8Array, into: Uint32Array, at: number): void;
  /** CRC-32 (ISO 3309) of bytes; `from` goes on from an earlier result. */
  crc32(bytes: Uint8Array, from?: number): number;
  /** zstd form of bytes; fast rather than small. */
  pack(bytes: Uint8Array): Uint8Array<ArrayBuffer>;
  /** Bytes of a zstd form. Throws when it is none, or of more bytes than the given number. */
  unpack(packed: Uint8Array, bytes: number): Uint8Array;
}

/** Most bytes that are asked for before it is known that there are so many. */
const MOST_PIECE = 1024 * 1024;

let loadedZlib: typeof Zlib | undefined;
let loadedCrypto: typeof Crypto | undefined;
const zlib = (): typeof Zlib => loadedZlib ??= process.getBuiltinModule("node:zlib");
const crypto = (): typeof Crypto => loadedCrypto ??= process.getBuiltinModule("node:crypto");

/** zlib's ZSTD_c_compressionLevel: 1 is fast. */
const FAST = { params: { 100: 1 } };

/** Bytes that are checked by our own code before it is worth to load zlib: it takes 1 ms for each MiB. */
const CHECKED_WITHOUT = 16 * 1024 * 1024;
let checkedWithout = 0;

function quickCrc32(bytes: Uint8Array, from?: number): number {
  checkedWithout += bytes.length;
  if (loadedZlib === undefined && checkedWithout <= CHECKED_WITHOUT) return crc32(bytes, from);
  return zlib().crc32(bytes, from);
}

/** What the runtime has. */
export const hostPageCodec: PageCodec = {
  hash: (bytes, into, at) => {
    // Of the ways to get a digest out, a string of bytes costs least: no buffer is made.
    const digest = crypto().hash("sha256", bytes, "binary");
    for (let word = 0; word < HASH_WORDS; word++) {
      const i = 4 * word;
      into[at + word] = digest.charCodeAt(i) | digest.charCodeAt(i + 1) << 8 |
        digest.charCodeAt(i + 2) << 16 | digest.charCodeAt(i + 3) << 24;
    }
  },
  crc32: quickCrc32,
  pack: (bytes) => new Uint8Array(zlib().zstdCompressSync(bytes, FAST)),
  unpack: (packed, bytes) => {
    const whole = zlib().zstdDecompressSync(packed, {
      maxOutputLength: Math.max(1, bytes),
      // In one piece, where it is not too large to be believed: pieces are copied together, and left behind.
      chunkSize: Math.min(Math.max(MOST_PIECE / 1024, bytes + 1), MOST_PIECE),
    });
    // Not as node's Buffer, whose slices are no copies.
    return new Uint8Array(whole.buffer, whole.byteOffset, whole.length);
  },
};
