/**
 * The interruptor against the RISC-V ACLINT Specification 1.0.
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { MAP } from "./device.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

/** An interruptor after power-on, with the level of each hart's lines. */
function interruptor() {
  const { device, around } = attachDevice(declaration as unknown as DeviceDeclaration);
  return {
    around,
    read: (offset: number) => device.read(offset, 4),
    write: (offset: number, value: number) => device.write(offset, 4, value),
    /** Lets time pass, and calls the device if it asked for it. */
    at: (ticks: number) => {
      around.now = ticks;
      if (around.due <= ticks) device.tick!();
    },
    line: (hart: number, line: 3 | 7) => {
      const start = `hart ${hart} line ${line} `;
      return around.log.filter((entry) => entry.startsWith(start)).at(-1) === `${start}true`;
    },
  };
}

Deno.test("bit 0 of msip drives the hart's software interrupt, the others are zero", () => {
  const clint = interruptor();
  clint.write(MAP.softwareInterrupt + 4, 0xffff_ffff);
  assertEquals([clint.line(0, 3), clint.line(1, 3)], [false, true]);
  assertEquals(clint.read(MAP.softwareInterrupt + 4), 1);
  clint.write(MAP.softwareInterrupt + 4, 0xffff_fffe);
  assertEquals(clint.line(1, 3), false);
});

Deno.test("a timer interrupt is pending exactly while mtime is at or past mtimecmp", () => {
  const clint = interruptor();
  clint.write(MAP.timeCompare + 12, 0);
  clint.write(MAP.timeCompare + 8, 5000);
  clint.at(4999);
  assertEquals([clint.line(0, 7), clint.line(1, 7)], [false, false]);
  clint.at(5000);
  assertEquals([clint.line(0, 7), clint.line(1, 7)], [false, true]);
  clint.write(MAP.timeCompare + 8, 6000);
  assertEquals(clint.line(1, 7), false);
});

Deno.test("mtime is read and written by halves", () => {
  const clint = interruptor();
  clint.at(2 ** 32 * 3 + 77);
  assertEquals([clint.read(MAP.time), clint.read(MAP.time + 4)], [77, 3]);
  clint.write(MAP.time + 4, 9);
  clint.write(MAP.time, 1234);
  assertEquals(clint.around.now, 2 ** 32 * 9 + 1234);
});

Deno.test("after power-on no timer is due", () => {
  const clint = interruptor();
  assertEquals(clint.read(MAP.timeCompare), 0xffff_ffff);
  clint.at(2 ** 50);
  assertEquals(clint.line(0, 7), false);
});
