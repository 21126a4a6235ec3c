/** Claims about claims: never two instances of one suspended state, whoever dies when. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { ConfigError } from "../../../kernel/base/errors.ts";
import type { Claim } from "../../../kernel/checkpoint/claims.ts";
import { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../../kernel/host/entropy.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import { hostPageCodec as codec } from "../../../kernel/host/page_codec.ts";
import {
  aboutOf,
  assertStore,
  encodePages,
  saveMemory,
  stateOf,
  STORE,
  testStore,
} from "../../_support/checkpoints.ts";
import { CrashFiles, PowerCut } from "../../_support/crash_files.ts";

async function suspended(): Promise<{ files: CrashFiles; id: string }> {
  const files = new CrashFiles();
  const id = await saveMemory(testStore(files), [1, 2, 3], { about: { kind: "suspended" } });
  return { files, id };
}

Deno.test("a state goes through all states of the table", async () => {
  const { files, id } = await suspended();
  const [store, other] = [testStore(files), testStore(files.otherProcess())];
  assertEquals(await store.claimState(id), "available");
  const first = await store.claim(id);
  assertEquals(await other.claimState(id), "in use");
  await assertRejects(() => other.claim(id), ConfigError, "a VM runs from it already");
  await assertRejects(() => other.delete([id]), ConfigError, "a VM runs from it");
  first.release();
  first.release();
  assertEquals(await store.claimState(id), "available");

  const second = await other.claim(id);
  await second.consume();
  await second.consume();
  assertEquals(await store.claimState(id), "in use");
  await assertRejects(() => store.claim(id), ConfigError, "a VM runs from it already");
  second.release();
  assertEquals(await store.claimState(id), "consumed");
  await assertRejects(() => store.claim(id), ConfigError, "it was resumed before");
  const open = await store.open(id);
  open.close();
  await store.delete([id]);
  assertEquals(files.list(`${STORE}/claims`), ["mutex"]);
});

Deno.test("a claimer that dies leaves the state available until it has consumed it", async () => {
  const { files, id } = await suspended();
  const store = testStore(files);
  const first = files.otherProcess();
  await testStore(first).claim(id);
  assertEquals(await store.claimState(id), "in use");
  first.kill();
  assertEquals(await store.claimState(id), "available");
  const second = files.otherProcess();
  await (await testStore(second).claim(id)).consume();
  second.kill();
  assertEquals(await store.claimState(id), "consumed");
});

Deno.test("after a crash at any operation the guest never ran, or the state is consumed", async () => {
  const { files: base, id } = await suspended();
  const run = async (files: CrashFiles) => {
    let ran = false;
    const claim = await testStore(files).claim(id).catch(PowerCut.expected);
    try {
      await claim?.consume();
      ran = claim !== undefined;
    } catch (error) {
      PowerCut.expected(error);
    }
    return ran;
  };
  const whole = base.afterKill();
  assert(await run(whole));
  let [available, consumed] = [0, 0];
  for (let operation = 0; operation <= whole.operations; operation++) {
    for (let seed = 0; seed < 30; seed++) {
      const files = base.afterKill();
      files.crashAt(operation, seed);
      const ran = await run(files);
      for (const after of [files.afterKill(), files.afterPowerCut(seed)]) {
        const state = await testStore(after).claimState(id);
        assert(!ran || state === "consumed", `operation ${operation}: it ran and is ${state}`);
        if (state === "available") available++;
        else consumed++;
        // Whatever it is, the store goes on, and a state that is available can be run.
        if (state === "available") assert(await run(after));
      }
    }
  }
  assert(available > 0 && consumed > 0);
});

Deno.test("of many processes that claim, die, consume and stop at random, one at most runs", async () => {
  const step = fc.record({
    process: fc.nat(3),
    what: fc.constantFrom("claim", "consume", "release", "die"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const { files, id } = await suspended();
      let runs = 0;
      let mayRun = true;
      const processes = [0, 1, 2, 3].map(() => ({
        files: files.otherProcess(),
        claim: undefined as Claim | undefined,
      }));
      for (const { process, what } of steps) {
        const one = processes[process]!;
        const held = processes.some(({ claim }) => claim !== undefined);
        if (what === "claim" && one.claim === undefined) {
          one.claim = await testStore(one.files).claim(id).catch((error) => {
            assert(error instanceof ConfigError);
            return undefined;
          });
          assertEquals(one.claim !== undefined, !held && mayRun);
        } else if (what === "consume" && one.claim !== undefined) {
          await one.claim.consume();
          if (mayRun) runs++;
          mayRun = false;
        } else if (what === "release") {
          one.claim?.release();
          one.claim = undefined;
        } else if (what === "die") {
          one.files.kill();
          one.files = files.otherProcess();
          one.claim = undefined;
        }
      }
      assert(runs <= 1);
    }),
    { numRuns: 60 },
  );
});

Deno.test("a real process that is killed gives its claim back", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const store = new CheckpointStore({ files: hostFiles, codec, entropy: hostEntropy }, folder);
    const id = await saveMemory(store, [1, 2], { about: { kind: "suspended" } });
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        new URL("claimer.ts", import.meta.url).pathname,
        folder,
        id,
      ],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    assertEquals(new TextDecoder().decode((await reader.read()).value), "claimed\n");
    assertEquals(await store.claimState(id), "in use");
    await assertRejects(() => store.claim(id), ConfigError, "a VM runs from it already");
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    assertEquals(await store.claimState(id), "available");
    (await store.claim(id)).release();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a suspended state is run from by one VM at a time, resumed or restored, in any process", async () => {
  const { files, id } = await suspended();
  const [store, other] = [testStore(files), testStore(files.otherProcess())];
  const restored = await other.borrow(id);
  await assertRejects(() => store.claim(id), ConfigError, `Cannot resume from checkpoint ${id}`);
  await assertRejects(() => store.borrow(id), ConfigError, `Cannot restore checkpoint ${id}`);
  await assertRejects(() => store.delete([id]), ConfigError, "a VM runs from it");
  restored!.release();
  // A restore uses nothing up.
  assertEquals(await store.claimState(id), "available");
  const claim = await store.claim(id);
  await claim.consume();
  await assertRejects(() => other.borrow(id), ConfigError, `Cannot restore checkpoint ${id}`);
  claim.release();
  (await other.borrow(id))!.release();
  assertEquals(await store.claimState(id), "consumed");
  const plain = await saveMemory(testStore(files, 2), [1]);
  assertEquals(await store.borrow(plain), undefined);
  await assertRejects(() => store.borrow("../mutex"), ConfigError, "There is no checkpoint");
});

Deno.test("a state that forks share goes with the process that holds it, and children keep its pages", async () => {
  const files = new CrashFiles();
  const [maker, other] = [files.otherProcess(), testStore(files, 3)];
  const forking = testStore(maker);
  const memory = [1, 2, 1003];
  const save = await forking.beginSave({ memoryPages: memory.length });
  await forking.holdForks(save.id);
  const pages = encodePages(save, memory, {});
  await save.commit(aboutOf({ kind: "fork" }), stateOf(memory), pages);
  const changed = [1, 4, 1003];
  const child = await saveMemory(testStore(files, 4), changed, { parent: save.id, before: memory });
  await other.collect();
  await assertRejects(() => other.delete([save.id]), ConfigError, "forks wait for it");
  assertEquals(other.has(save.id), true);
  maker.kill();
  await other.collect();
  await assertStore(other, new Map([[child, changed]]));
  assertEquals(files.list(`${STORE}/claims`), ["mutex"]);
});

Deno.test("what may be the child of a state that forks share keeps it, and is named", async () => {
  const files = new CrashFiles();
  const store = testStore(files);
  const left = await saveMemory(store, [1, 2], { about: { kind: "fork" } });
  const bad = await saveMemory(store, [3]);
  const file = files.open(`${STORE}/checkpoints/${bad}.checkpoint`, { write: true });
  file.truncate(file.size - 1);
  const { problems } = await store.collect();
  assert(problems[0]!.includes(bad), problems[0]);
  assertEquals(store.has(left), true);
  await store.delete([bad]);
  assertEquals(store.has(left), false);
});
