/** The crash injector's claim on real files: a process is killed while it saves and deletes. */
import { assert, assertEquals } from "@std/assert";
import { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../../kernel/host/entropy.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import { assertMemory, type Memory } from "../../_support/checkpoints.ts";

const SAVER = new URL("endless_saver.ts", import.meta.url).pathname;

interface Said {
  readonly saved?: string;
  readonly memory?: Memory;
  readonly deleting?: string;
  readonly deleted?: string;
}

/** Runs the saver until it has said so many lines, kills it, and gives what it said. */
async function runAndKill(folder: string, seed: number, lines: number): Promise<Said[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", SAVER, folder, `${seed}`],
    stdout: "piped",
  }).spawn();
  let text = "";
  let killed = false;
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (!killed && text.split("\n").length > lines) {
      child.kill("SIGKILL");
      killed = true;
    }
  }
  await child.status;
  assert(killed);
  const whole = text.slice(0, text.lastIndexOf("\n"));
  return whole.split("\n").map((line) => JSON.parse(line) as Said);
}

Deno.test("what a killed process acknowledged is whole, and nothing is half there", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const store = new CheckpointStore({ files: hostFiles, codec, entropy: hostEntropy }, folder);
    for (const [seed, lines] of [[1, 2], [2, 9], [3, 16]]) {
      const said = await runAndKill(folder, seed!, lines!);
      for (const { problem } of store.list()) assertEquals(problem, undefined);
      assertEquals(await store.verify(), []);
      const gone = new Set(said.flatMap(({ deleted }) => deleted ?? []));
      const going = said.findLast(({ deleting }) => deleting !== undefined)?.deleting;
      for (const { saved, memory } of said) {
        if (saved === undefined || (saved === going && !store.has(saved))) continue;
        if (gone.has(saved)) assert(!store.has(saved));
        else await assertMemory(store, saved, memory!);
      }
      await store.delete(store.list().map(({ id }) => id));
      assertEquals([hostFiles.list(`${folder}/packs`), hostFiles.list(`${folder}/checkpoints`)], [
        [],
        [],
      ]);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
