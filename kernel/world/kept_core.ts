/**
 * A core's code as it is kept in a file: who made it of what, the module's bytes, and a checksum over both.
 *
 *     0   magic, version          u32 each, little-endian like all that follows
 *     8   bytes of the head, bytes of the module, CRC-32 of both     u32 each
 *     20  head: JSON of what it was made of; the module
 *
 * Invariant: a file that is damaged, or that other sources made, or of something else, counts as none.
 */
import { crc32 } from "../base/checksum.ts";

const MAGIC = 0x65726f63;
const VERSION = 1;
const HEAD_AT = 20;

/** The file for a module. @param head who made it of what */
export function encodeCore(head: string, module: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(head);
  const file = new Uint8Array(HEAD_AT + text.length + module.length);
  file.set(text, HEAD_AT);
  file.set(module, HEAD_AT + text.length);
  const numbers = [MAGIC, VERSION, text.length, module.length, crc32(file.subarray(HEAD_AT))];
  const view = new DataView(file.buffer);
  numbers.forEach((number, i) => view.setUint32(4 * i, number, true));
  return file;
}

/** The module in a file; undefined when it is not that of this head, whole. */
export function decodeCore(
  file: Uint8Array<ArrayBuffer>,
  head: string,
): Uint8Array<ArrayBuffer> | undefined {
  if (file.length < HEAD_AT) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const number = (index: number) => view.getUint32(4 * index, true);
  if (number(0) !== MAGIC || number(1) !== VERSION) return undefined;
  const moduleAt = HEAD_AT + number(2);
  if (file.length !== moduleAt + number(3)) return undefined;
  if (new TextDecoder().decode(file.subarray(HEAD_AT, moduleAt)) !== head) return undefined;
  if (crc32(file.subarray(HEAD_AT)) !== number(4)) return undefined;
  return file.subarray(moduleAt);
}
