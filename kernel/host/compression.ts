/**
 * Compression and hashing by the host's libraries. In a browser, whoever reads brings its own unpacker.
 *
 * Invariant: the libraries are loaded when they are first used, which takes some 15 ms: most VM worlds, and
 * many commands, never use them.
 */
import type Crypto from "node:crypto";
import type Zlib from "node:zlib";

/** Packs, unpacks and hashes. */
export interface HostCompression {
  /** zstd form of bytes; fast rather than small. */
  pack(bytes: Uint8Array): Uint8Array;
  /** Bytes of a zstd form, of which there must be so many. Throws when there are not. */
  unpack(packed: Uint8Array, bytes: number): Uint8Array;
  /** SHA-256 of parts that come one after another, as hexadecimal digits. */
  sha256(): { add(bytes: Uint8Array): void; hex(): string };
}

const zlib = (): typeof Zlib => process.getBuiltinModule("node:zlib");
const crypto = (): typeof Crypto => process.getBuiltinModule("node:crypto");

/** What the runtime has. */
export const hostCompression: HostCompression = {
  pack: (bytes) => {
    const { constants, zstdCompressSync } = zlib();
    return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  },
  unpack: (packed, bytes) =>
    zlib().zstdDecompressSync(packed, { maxOutputLength: Math.max(1, bytes) }),
  sha256: () => {
    const hash = crypto().createHash("sha256");
    return { add: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
  },
};

/**
 * Unpacks raw deflate (RFC 1951) at the front of bytes, whatever lies behind its end; at most so many
 * bytes. Throws when it is damaged or longer.
 */
export function inflateRaw(packed: Uint8Array, bytes: number): Uint8Array {
  return zlib().inflateRawSync(packed, { maxOutputLength: Math.max(1, bytes) });
}
