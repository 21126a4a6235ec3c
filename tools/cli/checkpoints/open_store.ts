/** The store of this user's checkpoints, without a kernel. Listing one that does not exist makes nothing. */
import { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../../kernel/host/entropy.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostPageCodec } from "../../../kernel/host/page_codec.ts";
import { checkpointsFolder } from "./folder.ts";

/** The store in the folder that was asked for, or in the user's own. Throws HostError. */
export function openStore(asked: string | undefined): CheckpointStore {
  const host = { files: hostFiles, entropy: hostEntropy, codec: hostPageCodec };
  return new CheckpointStore(host, checkpointsFolder(asked));
}
