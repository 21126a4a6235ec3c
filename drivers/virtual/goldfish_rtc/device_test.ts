/**
 * The clock against the goldfish platform documentation, "Goldfish RTC".
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { REGISTER } from "./device.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

/** 2026-01-01 in nanoseconds since 1970: what the surroundings start with. */
const START = 1_767_225_600_000_000_000n;

/** A clock after power-on. */
function clock() {
  const { device, around } = attachDevice(declaration as unknown as DeviceDeclaration);
  const read = (offset: number) => device.read(offset, 4);
  const write = (offset: number, value: number) => device.write(offset, 4, value);
  return {
    around,
    read,
    write,
    now: () => BigInt(read(REGISTER.timeLow)) | BigInt(read(REGISTER.timeHigh)) << 32n,
    alarm: (time: bigint) => {
      write(REGISTER.alarmHigh, Number(time >> 32n));
      write(REGISTER.alarmLow, Number(time & 0xffff_ffffn));
    },
    at: (ticks: number) => {
      around.now = ticks;
      if (around.due <= ticks) device.tick!();
    },
    interrupt: () => around.log.filter((line) => line.startsWith("irq")).at(-1) === "irq true",
  };
}

Deno.test("the time is nanoseconds since 1970, and the low half latches the high one", () => {
  const rtc = clock();
  assertEquals(rtc.now(), START);
  const high = Number(START >> 32n);
  rtc.read(REGISTER.timeLow);
  rtc.around.now = 10_000_000_000;
  assertEquals(rtc.read(REGISTER.timeHigh), high);
  assertEquals(rtc.now(), START + 1_000_000_000_000n);
});

Deno.test("the guest may set the time", () => {
  const rtc = clock();
  rtc.write(REGISTER.timeHigh, 0x1234);
  rtc.write(REGISTER.timeLow, 0x5678);
  assertEquals(rtc.now(), 0x1234_0000_5678n);
  rtc.around.now = 10;
  assertEquals(rtc.now(), 0x1234_0000_5678n + 1000n);
});

Deno.test("an alarm interrupts when its time has come, if interrupts are enabled", () => {
  const rtc = clock();
  rtc.write(REGISTER.interruptEnable, 1);
  rtc.alarm(START + 1_000_000n);
  assertEquals([rtc.read(REGISTER.alarmStatus), rtc.interrupt()], [1, false]);
  rtc.at(9_999);
  assertEquals(rtc.interrupt(), false);
  rtc.at(10_000);
  assertEquals([rtc.read(REGISTER.alarmStatus), rtc.interrupt()], [0, true]);
  rtc.write(REGISTER.clearInterrupt, 1);
  assertEquals(rtc.interrupt(), false);
});

Deno.test("an alarm in the past is due at once, a cleared one never", () => {
  const rtc = clock();
  rtc.alarm(START - 1n);
  assertEquals(rtc.interrupt(), false);
  rtc.write(REGISTER.interruptEnable, 1);
  assertEquals(rtc.interrupt(), true);
  rtc.write(REGISTER.clearInterrupt, 1);
  rtc.alarm(START + 1_000n);
  rtc.write(REGISTER.clearAlarm, 1);
  rtc.at(1_000_000);
  assertEquals(rtc.interrupt(), false);
});
