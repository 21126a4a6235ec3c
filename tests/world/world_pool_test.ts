/** Claims about spare VM worlds (kernel/world/world_pool.ts). */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { denoHost } from "../../kernel/host/deno_host.ts";
import type { Host } from "../../kernel/host/host.ts";
import { WorldPool } from "../../kernel/world/world_pool.ts";
import { ConfigError, VMKernel } from "../../mod.ts";
import { until } from "../_support/until.ts";

const WORLD = new URL("../../drivers/vm_world.ts", import.meta.url);
/** Rehearses, and dies soon after. */
const MORTAL = new URL(
  "data:text/javascript,onmessage = () => { postMessage(''); setTimeout(() => { throw new Error('old') }) }",
);
const BROKEN = new URL("data:text/javascript,throw new Error('never lived')");

/** The host, with the worlds that were started and those that were ended. */
class WatchedHost {
  started = 0;
  ended = 0;
  /** Gives the module for the n-th world, in place of the one that was asked for. */
  instead: (n: number) => URL | undefined = () => undefined;
  readonly host: Host = {
    ...denoHost,
    workers: {
      start: (url, ...how) => {
        const isWorld = url.href === WORLD.href;
        const module = isWorld ? this.instead(this.started++) ?? url : url;
        const worker = denoHost.workers.start(module, ...how);
        const terminate = () => {
          if (isWorld) this.ended++;
          worker.terminate();
        };
        return { ...worker, terminate };
      },
    },
  };
}

/** Runs a guest in a kernel, to its end. */
async function runHello(kernel: VMKernel): Promise<string> {
  const vm = await kernel.powerOn({ guest: "hello", memory: "64M" });
  return await new Response(vm.console.readable as BodyInit).text();
}

Deno.test("a kernel that asks for no spare world has none", async () => {
  const watched = new WatchedHost();
  await using kernel = await VMKernel.start({ host: watched.host });
  assertEquals(watched.started, 0);
  assert((await runHello(kernel)).includes("good bye"));
  assertEquals(watched.started, 1);
});

Deno.test("VMs run in spare worlds, others take their places, and the end leaves none", async () => {
  const watched = new WatchedHost();
  {
    await using kernel = await VMKernel.start({ host: watched.host });
    await kernel.keepSpareWorlds(2, { memory: "64M", clock: "exact" });
    assertEquals(watched.started, 2);
    assert((await runHello(kernel)).includes("good bye"));
    await until("another takes its place", () => watched.started === 3);
    const texts = await Promise.all([runHello(kernel), runHello(kernel), runHello(kernel)]);
    for (const text of texts) assert(text.includes("good bye"), text);
  }
  assertEquals(watched.ended, watched.started);
});

Deno.test("a machine that could not be made is no example for spare worlds", async () => {
  await using kernel = await VMKernel.start();
  await assertRejects(() => kernel.keepSpareWorlds(1, { memory: "9T" }), ConfigError);
  await kernel.stop();
  await assertRejects(() => kernel.keepSpareWorlds(1), ConfigError);
});

Deno.test("a spare world that dies is never given, and another takes its place", async () => {
  const watched = new WatchedHost();
  watched.instead = (n) => n === 0 ? MORTAL : undefined;
  const pool = new WorldPool(watched.host, WORLD);
  await pool.warm(1);
  await until("another takes its place", () => pool.ready === 1 && watched.started === 2);
  assertEquals(watched.started, 2);
  using world = pool.take("taken");
  assert(!world.dead);
  await pool.stop();
});

Deno.test("a world that cannot live is not tried for ever, and asking again tries again", async () => {
  const watched = new WatchedHost();
  watched.instead = () => BROKEN;
  const pool = new WorldPool(watched.host, WORLD);
  await pool.warm(4);
  assertEquals([pool.ready, watched.started], [0, 3]);
  watched.instead = () => undefined;
  await pool.warm(1);
  assertEquals([pool.ready, watched.started], [1, 4]);
  await pool.stop();
});

Deno.test("fewer spare worlds end those that are too many; none are made behind the stop", async () => {
  const watched = new WatchedHost();
  const pool = new WorldPool(watched.host, WORLD);
  await pool.warm(2);
  await pool.warm(1);
  assertEquals([pool.ready, watched.started, watched.ended], [1, 2, 1]);
  const warming = pool.warm(3);
  await pool.stop();
  await warming;
  assertEquals([pool.ready, watched.ended], [0, watched.started]);
  const { started } = watched;
  pool.take("after")[Symbol.dispose]();
  await denoHost.timers.delay(100);
  assertEquals(watched.started, started + 1, "only what was taken");
});
