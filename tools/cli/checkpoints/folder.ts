/**
 * The folder of this user's checkpoints (docs/checkpoints.md). Every command that makes a kernel knows it, so
 * this file loads nothing.
 */
import { cacheFolder } from "../../guests/cache.ts";

/** Help of `--checkpoints`, an option of all commands that have to do with them. */
export const CHECKPOINTS_HELP =
  "folder of the checkpoints; CHRONOVISOR_CHECKPOINTS, or one in the cache folder, by default";

/** The folder: what was asked for, CHRONOVISOR_CHECKPOINTS, or one in the cache. Throws HostError. */
export function checkpointsFolder(asked: string | undefined): string {
  return asked ?? (Deno.env.get("CHRONOVISOR_CHECKPOINTS") || `${cacheFolder()}/checkpoints`);
}
