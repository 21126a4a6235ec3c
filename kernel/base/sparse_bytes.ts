/**
 * Bytes of which most are zero, without their runs of zeros: what a machine's state is, as a checkpoint keeps it.
 * Libraries make smaller forms, but have to be loaded before these can be read.
 *
 *     part     u16 zero bytes | u16 other bytes | those bytes      little-endian
 *
 * Invariant: what does not decode to as many bytes as it should is refused, and nothing is reserved for it beyond.
 */
import { FormatError } from "./errors.ts";

const PART_BYTES = 4;
const MOST = 0xffff;
/** Zeros between others that are worth a part of their own. */
const WORTH = 2 * PART_BYTES;

/** The form without zeros. */
export function encodeSparse(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const into = new Uint8Array(bytes.length + PART_BYTES * (2 + Math.ceil(bytes.length / WORTH)));
  const view = new DataView(into.buffer);
  let length = 0;
  for (let at = 0; at < bytes.length;) {
    const first = zerosEnd(bytes, at);
    const end = othersEnd(bytes, first);
    view.setUint16(length, first - at, true);
    view.setUint16(length + 2, end - first, true);
    into.set(bytes.subarray(first, end), length + PART_BYTES);
    length += PART_BYTES + end - first;
    at = end;
  }
  return into.slice(0, length);
}

/** Where zeros end that begin here, or as many as a part has. */
function zerosEnd(bytes: Uint8Array, from: number): number {
  const most = Math.min(from + MOST, bytes.length);
  let end = from;
  while (end < most && bytes[end] === 0) end++;
  return end;
}

/**
 * Where bytes end that begin here, with so few zeros between them that they are not worth a part, or as many as a
 * part has: no byte is looked at again for the next part.
 */
function othersEnd(bytes: Uint8Array, from: number): number {
  const most = Math.min(from + MOST, bytes.length);
  let zeros = 0;
  for (let at = from; at < most; at++) {
    zeros = bytes[at] === 0 ? zeros + 1 : 0;
    if (zeros === WORTH) return at + 1 - WORTH;
  }
  return most - zeros;
}

/** The bytes, of which there must be so many. Throws FormatError. */
export function decodeSparse(sparse: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const view = new DataView(sparse.buffer, sparse.byteOffset, sparse.byteLength);
  let [from, at] = [0, 0];
  while (from < sparse.length) {
    if (from + PART_BYTES > sparse.length) throw new FormatError("a part is cut");
    at += view.getUint16(from, true);
    const others = view.getUint16(from + 2, true);
    from += PART_BYTES;
    if (from + others > sparse.length || at + others > length) {
      throw new FormatError("a part is longer than what it is a part of");
    }
    bytes.set(sparse.subarray(from, from + others), at);
    from += others;
    at += others;
  }
  if (at !== length) throw new FormatError(`its parts make ${at} of ${length} bytes`);
  return bytes;
}
