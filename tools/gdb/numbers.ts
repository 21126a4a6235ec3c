/**
 * Numbers as the remote protocol writes them: addresses and lengths with the high digit first, register
 * values and memory byte by byte, so that they are little-endian (GDB manual, "Packets").
 *
 * Invariant: text that is no such number gives undefined, never a wrong value and never a throw.
 */

/** A hexadecimal number of at most 64 bits, or undefined. */
export function parseAddress(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** A hexadecimal number of at most 32 bits, or undefined. */
export function parseCount(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9a-f]{1,8}$/i.test(text) ? parseInt(text, 16) : undefined;
}

const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Bytes as pairs of digits. */
export function hexBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += DIGITS[byte];
  return text;
}

/** Bytes that are written as pairs of digits, or undefined. */
export function parseHexBytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** Text as pairs of digits. */
export function hexText(text: string): string {
  return hexBytes(new TextEncoder().encode(text));
}

/** A 64-bit value, low byte first; one that cannot be had is written as "xx…". */
export function hexValue(value: bigint | undefined): string {
  if (value === undefined) return "x".repeat(16);
  let text = "";
  for (let i = 0n; i < 64n; i += 8n) text += DIGITS[Number(value >> i & 0xffn)];
  return text;
}

/** A value of up to 64 bits, low byte first, or undefined. */
export function parseValue(text: string): bigint | undefined {
  const bytes = text.length <= 16 && text.length > 0 ? parseHexBytes(text) : undefined;
  if (bytes === undefined) return undefined;
  return bytes.reduceRight((value, byte) => value << 8n | BigInt(byte), 0n);
}
