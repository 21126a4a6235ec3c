/** A process that claims a suspended state and waits to be killed: a part of claims_test.ts. */
import { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../../kernel/host/entropy.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";

const [folder, id] = Deno.args as [string, string];
const store = new CheckpointStore({ files: hostFiles, codec, entropy: hostEntropy }, folder);
await store.claim(id);
console.log("claimed");
await new Promise((resolve) => setTimeout(resolve, 3_600_000));
