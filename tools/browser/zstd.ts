/**
 * Unpacks zstd (RFC 8878) without the host's library, for recordings that are read in a browser.
 *
 * Invariant: never more bytes than were announced are kept.
 */
import { Decompress } from "fzstd";
import { FormatError } from "../../kernel/base/errors.ts";
import { concatBytes } from "../../kernel/base/bytes.ts";

/** Bytes of a zstd form, of which there must be so many. Throws when there are not. */
export function unpackZstd(packed: Uint8Array, bytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  const wrong = (found: string) =>
    new FormatError(`expected ${bytes} bytes of zstd, found ${found}`);
  const stream = new Decompress((part) => {
    length += part.length;
    if (length > bytes) throw wrong("more");
    parts.push(part);
  });
  stream.push(packed, true);
  if (length < bytes) throw wrong(`${length}`);
  return concatBytes(parts);
}
