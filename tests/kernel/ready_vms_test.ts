/** Claims about which checkpoint a ready VM is made from (kernel/ready_vms.ts). */
import { assertEquals, assertRejects } from "@std/assert";
import { HostError } from "../../kernel/base/errors.ts";
import type { CheckpointStore } from "../../kernel/checkpoint/checkpoint_store.ts";
import { parsePowerOn } from "../../kernel/config.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { ReadyIndex } from "../../kernel/ready_index.ts";
import { ReadyVms } from "../../kernel/ready_vms.ts";
import type { SavedVms } from "../../kernel/saved_vms.ts";
import type { EarlyWorld } from "../../kernel/world/early_world.ts";
import { saveMemory, testStore } from "../_support/checkpoints.ts";

const OPTIONS = { kernel: new Uint8Array(4) };
const SPEC = parsePowerOn(OPTIONS, {}, "vm");

/** What a kernel does for a VM that is to be ready: clones a checkpoint, or boots. */
async function madeFrom(
  store: CheckpointStore,
): Promise<{ from: string; warnings: string[] }> {
  let from = "";
  const made = (what: string) => {
    from = what;
    return Promise.reject(new HostError("this is all"));
  };
  const warnings: string[] = [];
  const ready = new ReadyVms({
    host: denoHost,
    saved: { store, clone: made } as unknown as SavedVms,
    powerOn: () => from === "" ? made("boot") : Promise.reject(new HostError("this is all")),
    specOf: () => Promise.resolve(SPEC),
    warn: (line) => warnings.push(line),
    progress: () => {},
    warm: { add: () => {} },
  });
  await assertRejects(() => ready.make(OPTIONS, {} as EarlyWorld), HostError, "this is all");
  return { from, warnings };
}

Deno.test("an index that names another checkpoint than the ready one of a key is not believed", async () => {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-test-" });
  try {
    const store = testStore(denoHost.files, 1, `${folder}/store`);
    await store.collect();
    const key = await (await ReadyIndex.open(denoHost, store.path)).keyOf(SPEC);
    const point = async (id: string) => {
      const index = await ReadyIndex.open(denoHost, store.path);
      index.note(key, id);
      index.write();
    };
    const save = (kind: "ready" | "checkpoint", of: string) =>
      saveMemory(store, [1, 2], { about: { kind, key: of } });
    const mine = await save("checkpoint", key);
    const other = await save("ready", "of other images");
    const damaged = await save("ready", key);
    const path = `${store.path}/checkpoints/${damaged}.checkpoint`;
    Deno.truncateSync(path, 100);
    for (const wrong of [mine, other, "../checkpoints/x"]) {
      await point(wrong);
      assertEquals(await madeFrom(store), { from: "boot", warnings: [] });
    }
    await point(damaged);
    const { from, warnings } = await madeFrom(store);
    assertEquals([from, warnings.length], ["boot", 1]);
    assertEquals(store.has(damaged), true);
    const good = await save("ready", key);
    await point(mine);
    assertEquals((await madeFrom(store)).from, good);
    await point(good);
    assertEquals((await madeFrom(store)).from, good);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
