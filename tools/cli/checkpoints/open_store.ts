/**
 * The folder of checkpoints of this user, and the store in it (issue 5, section 6; docs/checkpoints.md).
 * Listing a store that does not exist makes nothing.
 */
import type { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { cacheFolder } from "../../guests/cache.ts";

/** Help of `--checkpoints`, an option of all commands that have to do with them. */
export const CHECKPOINTS_HELP = "folder of the checkpoints; by default CHRONOVISOR_CHECKPOINTS, or " +
  "checkpoints in the cache folder";

/** The folder: what was asked for, CHRONOVISOR_CHECKPOINTS, or one in the cache. Throws HostError. */
export function checkpointsFolder(asked: string | undefined): string {
  return asked ?? (Deno.env.get("CHRONOVISOR_CHECKPOINTS") || `${cacheFolder()}/checkpoints`);
}

/** The store. Throws HostError. */
export async function openStore(asked: string | undefined): Promise<CheckpointStore> {
  const folder = checkpointsFolder(asked);
  const [{ CheckpointStore }, { hostFiles: files }, { hostEntropy: entropy }, { hostPageCodec }] =
    await Promise.all([
      import("../../../kernel/checkpoint/checkpoint_store.ts"),
      import("../../../kernel/host/files.ts"),
      import("../../../kernel/host/entropy.ts"),
      import("../../../kernel/host/page_codec.ts"),
    ]);
  return new CheckpointStore({ files, entropy, codec: hostPageCodec }, folder);
}
