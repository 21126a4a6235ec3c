/**
 * All built-in devices together: each passes the suite in its own folder, and the bytes of their states
 * change only on purpose.
 *
 * Invariant: the image of a machine is read by names, versions and offsets; whoever changes the accepted
 * text below raises the version of that layout.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { type DeviceDeclaration, DeviceRegistry } from "../kernel/driver/mod.ts";
import { golden } from "../tests/_support/golden.ts";
import { BUILTIN_DEVICES } from "./mod.ts";

const DECLARATIONS = BUILTIN_DEVICES as readonly DeviceDeclaration[];

/** A layout as text: name, version, size; then offset, size and name of each field. */
function described({ state }: DeviceDeclaration): string {
  const fields = Object.entries(state.fields).map(([name, { byteLength }]) =>
    `  ${state.offsets[name]} +${byteLength} ${name}`
  );
  return [`${state.name} ${state.version}: ${state.byteLength} bytes`, ...fields].join("\n");
}

Deno.test("every built-in device passes the conformance suite of its kind", async () => {
  for (const { name } of DECLARATIONS) {
    const test = new URL(`./virtual/${name}/device_test.ts`, import.meta.url);
    assertMatch(await Deno.readTextFile(test), /^deviceConformance\(declaration\);$/m, name);
  }
});

Deno.test("every built-in device is registered under its folder's name, once", () => {
  const registry = new DeviceRegistry(BUILTIN_DEVICES);
  for (const declaration of DECLARATIONS) {
    assertEquals(registry.get(declaration.name), declaration);
  }
  const folders = [...Deno.readDirSync(new URL("./virtual/", import.meta.url))]
    .map(({ name }) => name).filter((name) => name !== "virtio");
  assertEquals(DECLARATIONS.map(({ name }) => name).sort(), folders.sort());
});

Deno.test("the bytes of every device's state are the accepted ones", () =>
  golden("devices/layouts", DECLARATIONS.map(described).join("\n")));
