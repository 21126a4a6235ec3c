/** Claims about translations that are kept in a folder from one run of a guest to the next. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { type Host, VMKernel, type VmStats } from "../../mod.ts";
import { until } from "../_support/until.ts";
import { writingGuest } from "../_support/writing_guest.ts";
import { withFolder } from "../_support/folder.ts";

const BENCH = new URL("../../guests/bench/bench.elf", import.meta.url);

/** The host, which leaves whoever waits for something so much time that it happens. */
const PATIENT: Host = {
  ...denoHost,
  timers: {
    ...denoHost.timers,
    delay: (milliseconds, signal) =>
      denoHost.timers.delay(milliseconds < 1000 ? milliseconds : milliseconds * 100, signal),
  },
};

/** Runs a guest that waits in its middle until some of its code was made into regions, or is known as kept. */
async function run(
  folder: string | undefined,
  waitsFor: "regions" | "kept" = "regions",
): Promise<{ stats: VmStats; text: string }> {
  const translations = folder === undefined ? {} : { translations: folder };
  await using kernel = await VMKernel.start({ ...translations, host: PATIENT });
  const guest = { kernel: writingGuest(), bios: "none", memory: "16M" } as const;
  const vm = await kernel.powerOn({ ...guest, clock: "virtual" });
  const text = new Response(vm.console.readable as BodyInit).text();
  await until(`there are ${waitsFor}`, async () => {
    const { translator } = await vm.stats();
    return (translator[waitsFor] ?? 0) > 0;
  });
  await vm.console.write("x");
  await vm.waitForExit();
  return { stats: await vm.stats(), text: await text };
}

const withCache = (act: (folder: string) => Promise<void>) =>
  withFolder((folder) => act(`${folder}/translations`));

function onlyFile(folder: string): string {
  const [file, ...others] = [...Deno.readDirSync(folder)]
    .filter(({ name }) => !name.endsWith(".core"));
  assert(file !== undefined && others.length === 0, "one file is kept, and nothing partial");
  return `${folder}/${file.name}`;
}

Deno.test("a second run uses what the first one kept, and does the same", () =>
  withCache(async (folder) => {
    const first = await run(folder);
    assert(first.stats.translator["regions"]! > 0, "the first run makes regions");
    assert(Deno.statSync(onlyFile(folder)).size > 0);
    const second = await run(folder, "kept");
    assert(second.stats.translator["kept"]! > 0, "the second run knows them");
    assert(second.stats.tiers["translator"]! > 0);
    assertEquals(second.text, first.text);
    assertEquals(second.stats.instructions, first.stats.instructions);
  }));

Deno.test("damaged translations are ignored, and replaced", () =>
  withCache(async (folder) => {
    const first = await run(folder);
    const file = onlyFile(folder);
    for (const damage of [new Uint8Array(0), Deno.readFileSync(file).fill(7, 1000, 1100)]) {
      Deno.writeFileSync(file, damage);
      const again = await run(folder);
      assertEquals(again.stats.translator["kept"], 0);
      assertEquals(again.text, first.text);
      assertEquals(again.stats.instructions, first.stats.instructions);
      assert(Deno.statSync(onlyFile(folder)).size > damage.length / 2);
    }
  }));

Deno.test("nothing is kept where no folder was given", async () => {
  const { stats } = await run(undefined);
  assertEquals(stats.translator["kept"], 0);
  assert(stats.translator["regions"]! > 0);
});

Deno.test("a guest goes on without the compile world, and somebody is told", async () => {
  const dead = new URL("data:text/javascript,throw new Error('compiling is over')");
  const host: Host = {
    ...denoHost,
    workers: {
      start: (url, ...others) =>
        denoHost.workers.start(/compile_world/.test(url.href) ? dead : url, ...others),
    },
  };
  const warnings: string[] = [];
  await using kernel = await VMKernel.start({ host, warn: (line) => warnings.push(line) });
  const options = { kernel: BENCH, append: "bench=sort scale=100", memory: "64M" } as const;
  const vm = await kernel.powerOn({ ...options, clock: "virtual" });
  const text = await new Response(vm.console.readable as BodyInit).text();
  assertEquals((await vm.waitForExit()).code, 0);
  assert(text.length > 0);
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0]!, "compiling is over");
});
