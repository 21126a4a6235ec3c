/** Claims about golden texts: a difference fails, a missing one fails, UPDATE=1 accepts. */
import { assertEquals, assertRejects } from "@std/assert";
import { golden } from "./golden.ts";

Deno.test("golden() fails for a missing or different text and passes once it is accepted", async () => {
  const path = await Deno.makeTempDir();
  const folder = new URL(`file://${path}/`);
  try {
    const compares = { folder, accepts: false };
    const first = () => golden("a/text", "one\n", compares);
    await assertRejects(first, Error, "UPDATE=1 writes it");
    await golden("a/text", "one", { folder, accepts: true });
    assertEquals(await Deno.readTextFile(`${path}/a/text.txt`), "one\n");
    await golden("a/text", "one\n", compares);
    const other = () => golden("a/text", "two\n", compares);
    await assertRejects(other, Error, "UPDATE=1 accepts it");
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("golden() refuses a name that would leave its folder", async () => {
  for (const name of ["../a", "/a", "a/../b", "", "A b"]) {
    await assertRejects(() => golden(name, ""), Error, "names no golden text");
  }
});
