/**
 * Whether a file is still what it was (S17.10: an image that is part of a checkpoint; S19: the images of a VM
 * that is suspended).
 *
 * Invariant: a change by somebody else since a file was described is found by its size, its time of change or
 * its first bytes; these find accidents, not forgeries.
 */
import { crc32 } from "../base/checksum.ts";
import { ConfigError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";

/** First bytes of a file that are looked at. */
const DIGEST_BYTES = 1024 * 1024;

/** What a file was. */
export interface FileIdentity {
  readonly path: string;
  /** Size in bytes. */
  readonly bytes: number;
  /** Milliseconds since 1970; null where the time says nothing. */
  readonly modified: number | null;
  /** CRC-32 of its first MiB. */
  readonly digest: number;
}

/** What a file is now. Throws `HostError`. */
export function identityOf(files: HostFiles, path: string): FileIdentity {
  const { bytes, modified } = files.facts(path);
  return { path, bytes, modified, digest: digestOf(files, path) };
}

/** Throws `ConfigError` that names the file when it is not what it was, and `HostError`. */
export function checkIdentity(files: HostFiles, was: FileIdentity): void {
  const { path } = was;
  if (!files.exists(path)) throw new ConfigError(`"${path}" is missing`);
  const { bytes, modified } = files.facts(path);
  const what = bytes !== was.bytes
    ? `it has ${bytes} bytes, and had ${was.bytes}`
    : was.modified !== null && modified !== was.modified
    ? "it was written to"
    : digestOf(files, path) !== was.digest
    ? "its first bytes are others"
    : undefined;
  if (what !== undefined) throw new ConfigError(`"${path}" has changed since: ${what}`);
}

function digestOf(files: HostFiles, path: string): number {
  const file = files.open(path);
  try {
    const start = new Uint8Array(Math.min(DIGEST_BYTES, file.size));
    return crc32(start.subarray(0, file.read(0, start)));
  } finally {
    file.close();
  }
}
