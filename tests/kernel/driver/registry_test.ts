/** The registry refuses what is no driver of this kernel before anything is attached. */
import { assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../../kernel/base/errors.ts";
import { defineDevice, DeviceRegistry, DRIVER_ABI, layout } from "../../../kernel/driver/mod.ts";

function example(name: string) {
  return defineDevice({
    name,
    compatible: ["example"],
    window: 16,
    state: layout(name, 1, {}),
    needs: [],
    attach: () => ({ read: () => 0, write() {} }),
  });
}

Deno.test("a declaration is found by its name; an unknown name is answered with the known ones", () => {
  const [lamp, bell] = [example("lamp"), example("bell")];
  const registry = new DeviceRegistry([lamp, bell]);
  assertEquals(registry.get("bell").name, "bell");
  assertThrows(() => registry.get("horn"), ConfigError, "horn; known: lamp, bell");
});

Deno.test("two drivers of one name are refused, also when the second one comes later", () => {
  assertThrows(() => new DeviceRegistry([example("lamp"), example("lamp")]), ConfigError, "lamp");
  const registry = new DeviceRegistry([example("lamp")]);
  assertThrows(() => registry.register(example("lamp")), ConfigError, "two drivers");
});

Deno.test("a driver for another ABI is refused, with both versions", () => {
  const future = { ...example("lamp"), abi: DRIVER_ABI + 1 };
  const told = `ABI ${DRIVER_ABI + 1}, this kernel has ${DRIVER_ABI}`;
  assertThrows(() => new DeviceRegistry([future]), ConfigError, told);
});

Deno.test("what is no declaration is refused", () => {
  const wrong = [
    undefined,
    null,
    7,
    "lamp",
    {},
    () => {},
    { kind: "device" },
    {
      ...example("lamp"),
      kind: "nic",
    },
    { ...example("lamp"), state: undefined },
    { ...example("lamp"), name: 3 },
  ];
  for (const candidate of wrong) {
    assertThrows(() => new DeviceRegistry([candidate]), ConfigError, "defineDevice");
  }
});
