/**
 * Unpacks compressed clusters: raw deflate or one frame of zstd (RFC 8878), followed by whatever lies
 * behind it in the file.
 *
 * Invariant: no more than a cluster is ever unpacked, whatever the bytes claim.
 */
import { FormatError } from "../../base/errors.ts";
import { hostCompression, inflateRaw } from "../../host/compression.ts";
import type { CompressionType } from "./header.ts";

const ZSTD_MAGIC = 0xfd2f_b528;

/** The cluster that the bytes at the front unpack to. Throws `FormatError` naming the image. */
export function unpackCluster(
  path: string,
  type: CompressionType,
  packed: Uint8Array,
  clusterBytes: number,
): Uint8Array {
  let bytes: Uint8Array | undefined;
  let cause: unknown;
  try {
    bytes = type === "deflate"
      ? inflateRaw(packed, clusterBytes)
      : hostCompression.unpack(packed.subarray(0, zstdFrameBytes(packed)), clusterBytes);
  } catch (error) {
    cause = error;
  }
  if (bytes?.length === clusterBytes) return bytes;
  throw new FormatError(`"${path}" has a compressed cluster that is damaged`, { cause });
}

/** Length of the zstd frame at the front of bytes. Throws `FormatError` when there is none. */
function zstdFrameBytes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cut = () => new FormatError("expected a whole frame of zstd");
  if (bytes.length < 6 || view.getUint32(0, true) !== ZSTD_MAGIC) throw cut();
  const descriptor = bytes[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  let at = 5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + sizeBytes;
  for (let isLast = false; !isLast;) {
    if (at + 3 > bytes.length) throw cut();
    const block = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16;
    isLast = (block & 1) !== 0;
    // A block of the type "run length" is one byte.
    at += 3 + ((block >>> 1 & 3) === 1 ? 1 : block >>> 3);
  }
  at += (descriptor & 4) !== 0 ? 4 : 0;
  if (at > bytes.length) throw cut();
  return at;
}
