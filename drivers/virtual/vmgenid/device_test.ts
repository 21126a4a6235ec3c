/** The generation ID by its binding (rng/microsoft,vmgenid): sixteen bytes, and an interrupt for others. */
import { assertEquals } from "@std/assert";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const MAC = new Uint8Array(6);
const idOf = (first: number) => Uint8Array.from({ length: 16 }, (_, i) => first + i);

function attached() {
  const { device, around } = attachDevice(declaration as unknown as DeviceDeclaration);
  return {
    become: (first: number) => device.identify!({ generation: idOf(first), mac: MAC }),
    byte: (offset: number) => device.read(offset, 1),
    word: (offset: number) => device.read(offset, 4),
    /** The whole ID, as Linux copies it. */
    id: () =>
      [0, 4, 8, 12].flatMap((offset) => {
        const word = device.read(offset, 4);
        return [0, 8, 16, 24].map((shift) => word >>> shift & 255);
      }),
    write: (offset: number, value: number) => device.write(offset, 4, value),
    high: () => around.lines.get("irq") ?? false,
  };
}

Deno.test("the ID of a VM that begins is there without an interrupt", () => {
  const device = attached();
  device.become(1);
  assertEquals(device.high(), false);
  assertEquals(device.id(), [...idOf(1)]);
});

Deno.test("bytes, halfwords and words of it can be read; nothing is behind it, and writes do nothing", () => {
  const device = attached();
  device.become(1);
  assertEquals(device.byte(15), 16);
  assertEquals(device.word(14), 0x100f);
  assertEquals([device.byte(16), device.word(0xffc)], [0, 0]);
  device.write(0, 0xffff_ffff);
  assertEquals(device.id(), [...idOf(1)]);
});

Deno.test("another ID raises the line until all of it was read", () => {
  const device = attached();
  device.become(1);
  device.id();
  device.become(2);
  assertEquals(device.high(), true);
  for (let i = 15; i > 0; i--) device.byte(i);
  assertEquals(device.high(), true);
  device.byte(0);
  assertEquals(device.high(), false);
});

Deno.test("the same ID again is no news", () => {
  const device = attached();
  device.become(1);
  device.id();
  device.become(1);
  assertEquals(device.high(), false);
});

Deno.test("who has not read the old ID is not told; who has read a part of it is", () => {
  const device = attached();
  device.become(1);
  device.become(2);
  assertEquals(device.high(), false);
  device.byte(3);
  device.become(3);
  assertEquals(device.high(), true);
});

Deno.test("an ID that changes while it is read keeps the line high", () => {
  const device = attached();
  device.become(1);
  device.id();
  device.become(2);
  device.word(0);
  device.word(4);
  device.become(3);
  device.word(8);
  device.word(12);
  assertEquals(device.high(), true);
  assertEquals(device.id(), [...idOf(3)]);
  assertEquals(device.high(), false);
});
