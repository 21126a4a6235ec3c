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
    device,
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
    interrupt: () => around.lines.get("irq") ?? false,
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

Deno.test("a pending alarm interrupts as soon as interrupts are enabled, and stays while they are off", () => {
  const rtc = clock();
  rtc.alarm(START + 1_000n);
  rtc.at(10);
  assertEquals([rtc.read(REGISTER.alarmStatus), rtc.interrupt()], [0, false]);
  rtc.write(REGISTER.interruptEnable, 1);
  assertEquals([rtc.read(REGISTER.interruptEnable), rtc.interrupt()], [1, true]);
  rtc.write(REGISTER.interruptEnable, 0);
  assertEquals(rtc.interrupt(), false);
  rtc.write(REGISTER.interruptEnable, 1);
  assertEquals(rtc.interrupt(), true);
  rtc.write(REGISTER.clearInterrupt, 1);
  rtc.write(REGISTER.interruptEnable, 1);
  assertEquals(rtc.interrupt(), false);
});

Deno.test("clearing the alarm leaves an interrupt that is pending alone", () => {
  const rtc = clock();
  rtc.write(REGISTER.interruptEnable, 1);
  rtc.alarm(START);
  rtc.write(REGISTER.clearAlarm, 1);
  assertEquals(rtc.interrupt(), true);
});

Deno.test("the alarm's halves are read back, and the high one is written first", () => {
  const rtc = clock();
  rtc.write(REGISTER.alarmHigh, 0xf000_0001);
  assertEquals(rtc.read(REGISTER.alarmStatus), 0);
  rtc.write(REGISTER.alarmLow, 0xf000_0002);
  assertEquals(rtc.read(REGISTER.alarmHigh), 0xf000_0001);
  assertEquals(rtc.read(REGISTER.alarmLow), 0xf000_0002);
  assertEquals(rtc.read(REGISTER.alarmStatus), 1);
});

Deno.test("a later alarm replaces the one before", () => {
  const rtc = clock();
  rtc.write(REGISTER.interruptEnable, 1);
  rtc.alarm(START + 1_000n);
  rtc.alarm(START + 5_000n);
  rtc.at(10);
  assertEquals([rtc.interrupt(), rtc.around.due], [false, 50]);
  rtc.at(50);
  assertEquals(rtc.interrupt(), true);
});

Deno.test("an alarm follows the time that the guest sets, forwards and backwards", () => {
  const setTo = (time: bigint) => {
    const rtc = clock();
    rtc.write(REGISTER.interruptEnable, 1);
    rtc.alarm(START + 1_000_000n);
    rtc.write(REGISTER.timeHigh, Number(time >> 32n));
    rtc.write(REGISTER.timeLow, Number(time & 0xffff_ffffn));
    return rtc;
  };
  const past = setTo(START + 2_000_000n);
  assertEquals([past.interrupt(), past.read(REGISTER.alarmStatus)], [true, 0]);
  const nearer = setTo(START + 900_000n);
  assertEquals([nearer.interrupt(), nearer.around.due], [false, 1_000]);
  const farther = setTo(START - 1_000_000n);
  assertEquals([farther.interrupt(), farther.around.due], [false, 20_000]);
  farther.at(20_000);
  assertEquals(farther.interrupt(), true);
});

Deno.test("an alarm never rings before its nanosecond, though ticks are coarser", () => {
  const rtc = clock();
  rtc.write(REGISTER.interruptEnable, 1);
  rtc.alarm(START + 150n);
  assertEquals(rtc.around.due, 2);
  rtc.at(2);
  assertEquals(rtc.interrupt(), true);
});

Deno.test("the registers are words: accesses of other sizes hold nothing", () => {
  const rtc = clock();
  assertEquals([rtc.device.read(REGISTER.timeLow, 1), rtc.device.read(REGISTER.timeLow, 2)], [
    0,
    0,
  ]);
  rtc.device.write(REGISTER.interruptEnable, 1, 1);
  assertEquals(rtc.read(REGISTER.interruptEnable), 0);
});

Deno.test("an alarm is a moment of the wall clock, also when that is moved from outside", () => {
  const moved = (by: bigint) => {
    const rtc = clock();
    rtc.write(REGISTER.interruptEnable, 1);
    rtc.alarm(START + 1_000_000n);
    rtc.around.wallStart += by;
    rtc.device.wallMoved!();
    return rtc;
  };
  const past = moved(3_600_000_000_000n);
  assertEquals([past.interrupt(), past.now()], [true, START + 3_600_000_000_000n]);
  const nearer = moved(900_000n);
  assertEquals([nearer.interrupt(), nearer.around.due], [false, 1_000]);
  const back = moved(-1_000_000n);
  assertEquals([back.interrupt(), back.around.due], [false, 20_000]);
  const none = clock();
  none.around.wallStart += 5n;
  none.device.wallMoved!();
  assertEquals([none.interrupt(), none.around.due], [false, Infinity]);
});
