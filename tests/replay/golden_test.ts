/**
 * Recordings that were made once and must replay for ever (issue 4, bars): outputs, digests of the state at
 * every epoch, and what the console showed. A change that breaks them is a change of the machine's version.
 */
import { assert, assertEquals } from "@std/assert";
import { checkRecording, VMKernel } from "../../mod.ts";

const FOLDER = decodeURIComponent(new URL("../golden/recordings/", import.meta.url).pathname);

const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort();

Deno.test("there are golden recordings of every clock", () => {
  const clocks = names.map((name) => {
    const manifest = JSON.parse(Deno.readTextFileSync(`${FOLDER}${name}/manifest.json`));
    return manifest.machine.clock;
  });
  assertEquals(clocks.sort(), ["exact", "host", "virtual"]);
});

for (const name of names) {
  Deno.test(`the golden recording ${name} replays`, async () => {
    const folder = `${FOLDER}${name}`;
    assertEquals(await checkRecording(folder), []);
    await using kernel = await VMKernel.start();
    for (const tier of ["interpreter", "auto"] as const) {
      const vm = await kernel.replay(folder, { verify: true, tier });
      const text = new Response(vm.console.readable as BodyInit).text();
      const { replay } = await vm.waitForExit();
      assert(replay?.kind === "end" && replay.epochs > 0, JSON.stringify(replay));
      assertEquals(await text, Deno.readTextFileSync(`${folder}/console.txt`));
    }
  });
}
