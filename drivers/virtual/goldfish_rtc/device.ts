/**
 * Behaviour of the goldfish real-time clock: nanoseconds since 1970 and one alarm (Android goldfish
 * platform documentation, "Goldfish RTC").
 */
import type { Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";

/** Register offsets. */
export const REGISTER = {
  timeLow: 0x00,
  timeHigh: 0x04,
  alarmLow: 0x08,
  alarmHigh: 0x0c,
  interruptEnable: 0x10,
  clearAlarm: 0x14,
  alarmStatus: 0x18,
  clearInterrupt: 0x1c,
} as const;

const NANOSECONDS_PER_TICK = 100n;

/** The state of the clock. */
export interface RtcState {
  /** High word latched by a read of the low one. */
  latchedHigh: number;
  alarmHigh: number;
  alarm: bigint;
  alarmRunning: boolean;
  interruptPending: boolean;
  interruptEnable: boolean;
  /** What the guest set the clock to, relative to the machine's wall clock. */
  offset: bigint;
}

/** Makes the behaviour of the clock. */
export function attachRtc(state: RtcState, env: DeviceEnvironment): Device {
  const now = () => BigInt.asUintN(64, env.wallNanoseconds() + state.offset);
  const update = () => env.irq(state.interruptPending && state.interruptEnable);

  const arm = () => {
    const wait = state.alarm - now();
    if (wait <= 0n) {
      fire();
    } else {
      state.alarmRunning = true;
      env.timer(env.ticks() + Number((wait + NANOSECONDS_PER_TICK - 1n) / NANOSECONDS_PER_TICK));
    }
  };

  const fire = () => {
    state.alarmRunning = false;
    state.interruptPending = true;
    env.timer(Infinity);
    update();
  };

  const read = (offset: number): number => {
    switch (offset) {
      case REGISTER.timeLow: {
        const time = now();
        state.latchedHigh = Number(time >> 32n);
        return Number(time & 0xffff_ffffn);
      }
      case REGISTER.timeHigh:
        return state.latchedHigh;
      case REGISTER.alarmLow:
        return Number(state.alarm & 0xffff_ffffn);
      case REGISTER.alarmHigh:
        return Number(state.alarm >> 32n);
      case REGISTER.interruptEnable:
        return state.interruptEnable ? 1 : 0;
      case REGISTER.alarmStatus:
        return state.alarmRunning ? 1 : 0;
      default:
        return 0;
    }
  };

  const setTime = (time: bigint) => {
    state.offset = BigInt.asUintN(64, time - env.wallNanoseconds());
    // An alarm is a moment of this clock, so its distance has changed.
    if (state.alarmRunning) arm();
  };

  const write = (offset: number, value: number): void => {
    const low = BigInt(value);
    switch (offset) {
      case REGISTER.timeLow:
        return setTime(now() >> 32n << 32n | low);
      case REGISTER.timeHigh:
        return setTime(now() & 0xffff_ffffn | low << 32n);
      case REGISTER.alarmHigh:
        state.alarmHigh = value;
        return;
      case REGISTER.alarmLow:
        state.alarm = BigInt(state.alarmHigh) << 32n | low;
        return arm();
      case REGISTER.interruptEnable:
        state.interruptEnable = (value & 1) !== 0;
        return update();
      case REGISTER.clearAlarm:
        state.alarmRunning = false;
        env.timer(Infinity);
        return;
      case REGISTER.clearInterrupt:
        state.interruptPending = false;
        return update();
    }
  };

  return {
    read: (offset, size) => size === 4 ? read(offset) : 0,
    write(offset, size, value) {
      if (size === 4) write(offset, value);
    },
    tick() {
      if (state.alarmRunning && state.alarm <= now()) fire();
      else if (state.alarmRunning) arm();
    },
    wallMoved() {
      if (state.alarmRunning) arm();
    },
    reset() {
      env.timer(Infinity);
      update();
    },
  };
}
