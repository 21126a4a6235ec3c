/**
 * The folder where fetched and assembled guests are kept: CHRONOVISOR_CACHE, or chronovisor/ in the
 * user's cache folder. Invariant: a file appears under its final name only when it is complete.
 */
import { HostError } from "../../kernel/base/errors.ts";

/** The cache folder. Throws HostError when the user has no home. */
export function cacheFolder(): string {
  const chosen = Deno.env.get("CHRONOVISOR_CACHE");
  if (chosen) return chosen;
  const caches = Deno.env.get("XDG_CACHE_HOME");
  if (caches) return `${caches}/chronovisor`;
  const home = Deno.env.get("HOME");
  if (home) return `${home}/.cache/chronovisor`;
  throw new HostError("there is no cache folder: set CHRONOVISOR_CACHE, XDG_CACHE_HOME or HOME");
}

/** Whether a file or folder is there. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Writes a file under a temporary name, flushes it, and renames it. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.part`;
  const file = await Deno.open(temporary, { write: true, createNew: true });
  try {
    let at = 0;
    while (at < bytes.length) at += await file.write(bytes.subarray(at));
    await file.syncData();
  } finally {
    file.close();
  }
  await Deno.rename(temporary, path);
}

/** A short name for content: the first 16 hexadecimal digits of its SHA-256. */
export async function contentKey(parts: readonly (string | Uint8Array)[]): Promise<string> {
  const bytes = parts.map((part) =>
    typeof part === "string" ? new TextEncoder().encode(part) : part
  );
  const whole = new Uint8Array(bytes.reduce((sum, part) => sum + part.length + 1, 0));
  let at = 0;
  for (const part of bytes) {
    whole.set(part, at);
    at += part.length + 1;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  return Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
