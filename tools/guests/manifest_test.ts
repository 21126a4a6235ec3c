/** Claims of guest descriptions: what is wrong is named, and the committed schema is the current one. */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { ConfigError } from "../../kernel/base/errors.ts";
import { manifestJsonSchema, parseManifest, SCHEMA_FILE } from "./manifest.ts";

const GOOD = { name: "mine", description: "a guest", provider: "committed", kernel: "mine.elf" };

function refusal(change: Record<string, unknown>): string {
  const text = JSON.stringify({ ...GOOD, ...change });
  return assertThrows(() => parseManifest(text, "guests/mine/guest.json"), ConfigError).message;
}

Deno.test("a description that is right is read as it stands", () => {
  assertEquals(parseManifest(JSON.stringify(GOOD), "guest.json"), {
    name: "mine",
    description: "a guest",
    provider: "committed",
    kernel: "mine.elf",
  });
});

Deno.test("a wrong description is refused with its file, the field and what was expected", () => {
  for (
    const [change, field] of [
      [{ harts: 9 }, "harts"],
      [{ bios: "uefi" }, "bios"],
      [{ provider: "cloud" }, "provider"],
      [{ name: "My Guest" }, "name"],
      [{ drives: [{ file: "disk.img" }] }, "drives"],
      [{ kernal: "mine.elf" }, "kernal"],
    ] as const
  ) {
    const message = refusal(change);
    assertStringIncludes(message, "guests/mine/guest.json");
    assertStringIncludes(message, field);
  }
});

Deno.test("a description that is no JSON is refused with its file", () => {
  const refused = () => parseManifest("{ name: mine }", "guests/mine/guest.json");
  assertThrows(refused, ConfigError, "guests/mine/guest.json is not JSON");
});

Deno.test("guests/guest.schema.json is what `guests build` writes", async () => {
  assertEquals(await Deno.readTextFile(SCHEMA_FILE), manifestJsonSchema());
});
