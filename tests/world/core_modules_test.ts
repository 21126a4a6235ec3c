/** Claims about compiled cores that are shared by VMs and kept in a folder (kernel/world/core_modules.ts). */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { HostError } from "../../kernel/base/errors.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import type { Host } from "../../kernel/host/host.ts";
import { planMemory } from "../../kernel/memory/memory_plan.ts";
import { generateCore } from "../../kernel/cpu/core_code.ts";
import { coreMake, planOptions } from "../../kernel/machine/machine_plan.ts";
import { CORE_SOURCES, CoreModules, type CoreRecipe } from "../../kernel/world/core_modules.ts";
import { decodeCore, encodeCore } from "../../kernel/world/kept_core.ts";
import { VMKernel } from "../../mod.ts";
import { staticGraph } from "../_support/import_graph.ts";
import { withFolder } from "../_support/folder.ts";

const RECIPE = recipe(1);

function recipe(harts: number): CoreRecipe {
  const options = planOptions({ memoryBytes: 1 << 20, harts, clock: "virtual" });
  return { options, make: coreMake({ tier: "translator" }, false) };
}

/** The host, with a count of the workers that were started. */
function countingHost(workers = { started: 0 }): { host: Host; workers: { started: number } } {
  const start: Host["workers"]["start"] = (...how) => {
    workers.started++;
    return denoHost.workers.start(...how);
  };
  return { host: { ...denoHost, workers: { start } }, workers };
}

/** Modules of a process that has just started; gives how many cores had to be made. */
async function get(folder: string | undefined, sources = "these", what = RECIPE): Promise<number> {
  const { host, workers } = countingHost();
  const modules = new CoreModules(host, folder, () => Promise.resolve(sources), new Map());
  const [one, other] = await Promise.all([modules.get(what), modules.get(what)]);
  assert(one === other && WebAssembly.Module.exports(one).some(({ name }) => name === "run"));
  return workers.started;
}

function onlyFile(folder: string): string {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  assertEquals(names.length, 1, names.join());
  return `${folder}/${names[0]}`;
}

Deno.test("a core is made once for all that want it, and once for all runs", () =>
  withFolder(async (folder) => {
    assertEquals(await get(folder), 1);
    assertEquals(await get(folder), 0);
    assertEquals(await get(folder, "these", recipe(2)), 1, "another make has another core");
    assertEquals(await get(folder), 0);
    assertEquals(await get(undefined), 1);
  }));

Deno.test("a core that other sources made is made again, and replaces it", () =>
  withFolder(async (folder) => {
    await get(folder, "old");
    assertEquals(await get(folder, "new"), 1);
    assertEquals(await get(folder, "new"), 0);
    onlyFile(folder);
  }));

Deno.test("a kept core that is damaged is made again", () =>
  withFolder(async (folder) => {
    await get(folder);
    const file = onlyFile(folder);
    const whole = Deno.readFileSync(file);
    const flipped = whole.slice();
    flipped[whole.length >> 1]! ^= 1;
    for (
      const bytes of [new Uint8Array(0), whole.subarray(0, 19), whole.subarray(0, -1), flipped]
    ) {
      Deno.writeFileSync(file, bytes);
      assertEquals(await get(folder), 1);
      assertEquals(Deno.readFileSync(file), whole);
    }
  }));

Deno.test("any bit of a kept core that changes makes it none", () => {
  const file = encodeCore("head", Uint8Array.of(1, 2, 3));
  assertEquals(decodeCore(file, "head"), Uint8Array.of(1, 2, 3));
  assertEquals(decodeCore(file, "Head"), undefined);
  for (let bit = 0; bit < file.length * 8; bit++) {
    const other = file.slice();
    other[bit >> 3]! ^= 1 << (bit & 7);
    assertEquals(decodeCore(other, "head"), undefined, `bit ${bit}`);
  }
  for (let length = 0; length < file.length; length++) {
    assertEquals(decodeCore(file.slice(0, length), "head"), undefined, `${length} bytes`);
  }
});

Deno.test("what is kept is what this process would make", () =>
  withFolder(async (folder) => {
    await get(folder);
    const head = JSON.stringify({ sources: "these", recipe: RECIPE });
    const { options, make } = RECIPE;
    const made = generateCore(planMemory(options), make.heat, make.checks);
    assertEquals(decodeCore(Deno.readFileSync(onlyFile(folder)), head), made);
  }));

Deno.test("a core is had where nothing can be kept", async () => {
  assertEquals(await get("/proc/nowhere"), 1);
  assertEquals(await get("/proc/nowhere", ""), 1, "nor where nobody knows the sources");
});

Deno.test("the sources that a core depends on are those that are hashed", async () => {
  const graph = await staticGraph("kernel/cpu/core_code.ts");
  const others = graph.filter((path) =>
    !CORE_SOURCES.some((place) => path.startsWith(`kernel/${place}`))
  );
  assertEquals(others, []);
});

Deno.test("a VM runs where its core could not be made for it", async () => {
  const dead = new URL("data:text/javascript,throw new Error('no more code')");
  const start: Host["workers"]["start"] = (url, ...how) =>
    denoHost.workers.start(/core_world/.test(url.href) ? dead : url, ...how);
  const host: Host = { ...denoHost, workers: { start } };
  const modules = new CoreModules(host, undefined, () => Promise.resolve(""), new Map());
  await assertRejects(() => modules.get(RECIPE), HostError, "no more code");
  await using kernel = await VMKernel.start({ host });
  // Of a make that no other test has had made.
  const vm = await kernel.powerOn({ guest: "hello", memory: "23M" });
  const text = await new Response(vm.console.readable as BodyInit).text();
  assert(text.includes("good bye"), text);
});
