/**
 * A process that saves, deletes and relabels checkpoints until it is killed, and says what is acknowledged:
 * a part of killed_process_test.ts. Arguments: the store's folder, a seed.
 */
import { Prng } from "../../../kernel/base/prng.ts";
import { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../../kernel/host/entropy.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import { saveMemory } from "../../_support/checkpoints.ts";

const [folder, seed] = Deno.args as [string, string];
const random = new Prng(Number(seed));
const store = new CheckpointStore({ files: hostFiles, codec, entropy: hostEntropy }, folder);
const say = (value: unknown) =>
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(value)}\n`));

let memory = Array.from({ length: 200 }, (_, i) => 3000 + i);
let last = await saveMemory(store, memory);
say({ saved: last, memory });
const ids = [last];
for (;;) {
  if (ids.length > 4) {
    const id = ids.splice(random.below(ids.length - 1), 1)[0]!;
    say({ deleting: id });
    await store.delete([id]);
    say({ deleted: id });
  }
  await store.rename(last, `label ${random.u32()}`);
  const before = memory;
  memory = before.map((n) => random.below(3) === 0 ? random.below(5000) : n);
  last = await saveMemory(store, memory, { parent: last, before, active: [1, 2, 3] });
  ids.push(last);
  say({ saved: last, memory });
}
