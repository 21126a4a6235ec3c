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
    device,
    read: (offset: number) => device.read(offset, 4),
    write: (offset: number, value: number) => device.write(offset, 4, value),
    /** Lets time pass, and calls the device if it asked for it. */
    at: (ticks: number) => {
      around.now = ticks;
      if (around.due <= ticks) device.tick!();
    },
    line: (hart: number, line: 3 | 7) => around.lines.get(`hart ${hart} line ${line}`) ?? false,
    /** A load or store of 64 bits: the bus makes two words of it, the low one first. */
    read64: (offset: number) =>
      BigInt(device.read(offset, 4)) | BigInt(device.read(offset + 4, 4)) << 32n,
    write64: (offset: number, value: bigint) => {
      device.write(offset, 4, Number(value & 0xffff_ffffn));
      device.write(offset + 4, 4, Number(value >> 32n));
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

Deno.test("after power-on no timer is due and no software interrupt pending", () => {
  const clint = interruptor();
  assertEquals(clint.read64(MAP.timeCompare), 0xffff_ffff_ffff_ffffn);
  assertEquals([clint.read(MAP.softwareInterrupt), clint.around.due], [0, Infinity]);
  clint.at(2 ** 50);
  assertEquals([clint.line(0, 7), clint.line(0, 3)], [false, false]);
});

Deno.test("mtime and mtimecmp take accesses of 64 bits", () => {
  const clint = interruptor();
  clint.write64(MAP.time, 0x3_0000_0010n);
  clint.write64(MAP.timeCompare + 8, 0x3_0000_0020n);
  assertEquals(clint.read64(MAP.time), 0x3_0000_0010n);
  assertEquals(clint.read64(MAP.timeCompare + 8), 0x3_0000_0020n);
  clint.at(0x3_0000_001f);
  assertEquals(clint.line(1, 7), false);
  clint.at(0x3_0000_0020);
  assertEquals([clint.line(0, 7), clint.line(1, 7)], [false, true]);
});

Deno.test("mtimecmp is compared whole: its high word alone holds an interrupt back", () => {
  const clint = interruptor();
  clint.at(1000);
  clint.write(MAP.timeCompare, 5);
  assertEquals(clint.line(0, 7), false);
  clint.write(MAP.timeCompare + 4, 0);
  assertEquals(clint.line(0, 7), true);
  clint.write(MAP.timeCompare + 4, 1);
  assertEquals(clint.line(0, 7), false);
});

Deno.test("mtime holds 53 bits, and a comparison beyond them is no deadline", () => {
  const clint = interruptor();
  clint.write64(MAP.time, 0xffff_ffff_ffff_fff0n);
  assertEquals(clint.read64(MAP.time), 2n ** 53n - 16n);
  for (const never of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    clint.write64(MAP.timeCompare, never);
    assertEquals([clint.line(0, 7), clint.around.due], [false, Infinity]);
  }
});

Deno.test("a write to mtime raises and lowers timer interrupts at once", () => {
  const clint = interruptor();
  clint.write64(MAP.timeCompare, 5000n);
  clint.write64(MAP.time, 5000n);
  assertEquals(clint.line(0, 7), true);
  clint.write64(MAP.time, 4999n);
  assertEquals([clint.line(0, 7), clint.around.due], [false, 5000]);
});

Deno.test("the timer asks for the earliest of the harts' comparisons that lie ahead", () => {
  const clint = interruptor();
  clint.write64(MAP.timeCompare, 900n);
  clint.write64(MAP.timeCompare + 8, 700n);
  assertEquals(clint.around.due, 700);
  clint.at(700);
  assertEquals([clint.line(1, 7), clint.around.due], [true, 900]);
  clint.at(900);
  assertEquals([clint.line(0, 7), clint.around.due], [true, Infinity]);
});

Deno.test("registers of harts that do not exist, and accesses of other sizes, hold nothing", () => {
  const clint = interruptor();
  clint.write(MAP.softwareInterrupt + 8, 1);
  clint.write(MAP.timeCompare + 16, 7);
  assertEquals([clint.read(MAP.softwareInterrupt + 8), clint.read(MAP.timeCompare + 16)], [0, 0]);
  clint.device.write(MAP.softwareInterrupt, 1, 1);
  assertEquals([clint.read(MAP.softwareInterrupt), clint.line(0, 3)], [0, false]);
});
