/**
 * The power controller as the SiFive test device of QEMU's virt board.
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { COMMAND } from "./device.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

/** What a write to the register does. */
function written(value: number, offset = 0, size = 4): string[] {
  const { device, around } = attachDevice(declaration as unknown as DeviceDeclaration);
  device.write(offset, size, value);
  return around.log;
}

Deno.test("its commands power off, fail with a code, and reset", () => {
  assertEquals(written(COMMAND.pass), ["power off 0"]);
  assertEquals(written((42 << 16 | COMMAND.fail) >>> 0), ["power off 42"]);
  assertEquals(written((0xffff << 16 | COMMAND.fail) >>> 0), ["power off 65535"]);
  assertEquals(written(COMMAND.reset), ["power reset 0"]);
});

Deno.test("other values and other offsets do nothing", () => {
  assertEquals([written(0), written(0x1234), written(COMMAND.pass, 4)], [[], [], []]);
});

Deno.test("the exit code is the high half, and passing has none", () => {
  assertEquals(written((7 << 16 | COMMAND.pass) >>> 0), ["power off 0"]);
  assertEquals(written(COMMAND.fail), ["power off 0"]);
  assertEquals(written((1 << 16 | COMMAND.fail) >>> 0), ["power off 1"]);
});

Deno.test("a halfword is enough for a command, a byte is not; the register reads as zero", () => {
  assertEquals(written(COMMAND.reset, 0, 2), ["power reset 0"]);
  assertEquals(written(COMMAND.pass & 0xff, 0, 1), []);
  const { device } = attachDevice(declaration as unknown as DeviceDeclaration);
  device.write(0, 4, COMMAND.pass);
  assertEquals(device.read(0, 4), 0);
});
