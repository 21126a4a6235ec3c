/**
 * Standard streams of this process.
 *
 * Invariant: bytes pass unchanged and in order; a reader that went away (`| head`) is an end, not an
 * error message.
 */
import { CliExit } from "./errors.ts";

/** Exit status of a program whose output nobody reads any more, as a shell shows it (SIGPIPE). */
const BROKEN_PIPE = 141;

/** Writes all bytes to standard output. */
export function writeOut(bytes: Uint8Array | string): void {
  writeAll(Deno.stdout, bytes);
}

/** Writes all bytes to standard error. */
export function writeError(bytes: Uint8Array | string): void {
  writeAll(Deno.stderr, bytes);
}

/** Writes all of a stream. */
export async function copyTo(
  from: ReadableStream<Uint8Array>,
  write: (bytes: Uint8Array) => void,
): Promise<void> {
  for await (const bytes of from) write(bytes);
}

function writeAll(to: { writeSync(bytes: Uint8Array): number }, data: Uint8Array | string): void {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  try {
    for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new CliExit(BROKEN_PIPE);
    throw error;
  }
}
