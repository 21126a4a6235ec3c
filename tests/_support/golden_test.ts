/** Claims about golden texts: a difference fails, a missing one fails, UPDATE=1 accepts. */
import { assertEquals, assertRejects } from "@std/assert";
import { golden } from "./golden.ts";

async function withUpdate<T>(value: string | undefined, body: () => Promise<T>): Promise<T> {
  const before = Deno.env.get("UPDATE");
  const set = (text: string | undefined) =>
    text === undefined ? Deno.env.delete("UPDATE") : Deno.env.set("UPDATE", text);
  set(value);
  try {
    return await body();
  } finally {
    set(before);
  }
}

Deno.test("golden() fails for a missing or different text and passes once it is accepted", async () => {
  const path = await Deno.makeTempDir();
  const folder = new URL(`file://${path}/`);
  try {
    await withUpdate(undefined, async () => {
      await assertRejects(() => golden("a/text", "one\n", folder), Error, "UPDATE=1 writes it");
    });
    await withUpdate("1", () => golden("a/text", "one", folder));
    assertEquals(await Deno.readTextFile(`${path}/a/text.txt`), "one\n");
    await withUpdate(undefined, async () => {
      await golden("a/text", "one\n", folder);
      await assertRejects(() => golden("a/text", "two\n", folder), Error, "UPDATE=1 accepts it");
    });
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test("golden() refuses a name that would leave its folder", async () => {
  for (const name of ["../a", "/a", "a/../b", "", "A b"]) {
    await assertRejects(() => golden(name, ""), Error, "names no golden text");
  }
});
