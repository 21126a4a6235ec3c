/** Claims about bundles of worlds that several processes look after. */
import { assertEquals } from "@std/assert";
import { removeOld } from "../../tools/worlds/bundle_worlds.ts";

Deno.test("old bundles are removed by several processes at a time, and newer ones by none", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (let i = 0; i < 20; i++) {
      await Deno.mkdir(`${folder}/old${i}`);
      for (const name of ["a.js", "b.js"]) {
        await Deno.writeTextFile(`${folder}/old${i}/${name}`, "");
      }
      await Deno.utime(`${folder}/old${i}`, 1, 1);
    }
    for (const name of ["current", "new"]) await Deno.mkdir(`${folder}/${name}`);
    await Deno.utime(`${folder}/current`, 1, 1);
    await Promise.all(Array.from({ length: 4 }, () => removeOld(folder, "current")));
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assertEquals(left, ["current", "new"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
