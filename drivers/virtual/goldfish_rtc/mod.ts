/** The goldfish real-time clock: device.ts (behaviour). */
import { bool, defineDevice, layout, u32, u64 } from "../../../kernel/driver/mod.ts";
import { attachRtc } from "./device.ts";

export default defineDevice({
  name: "goldfish_rtc",
  compatible: ["google,goldfish-rtc"],
  window: 0x1000,
  state: layout("goldfish_rtc", 1, {
    latchedHigh: u32,
    alarmHigh: u32,
    alarm: u64,
    alarmRunning: bool,
    interruptPending: bool,
    interruptEnable: bool,
    offset: u64,
  }),
  needs: ["irq", "clock", "timer"],
  attach: (state, env) => attachRtc(state, env),
});
