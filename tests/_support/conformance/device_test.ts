/**
 * The canaries of the device suite: a device that keeps every promise passes all checks, and for each
 * check there is a device with one fault that it finds (a suite that cannot fail proves nothing).
 */
import { assertThrows } from "@std/assert";
import {
  defineDevice,
  type Device,
  type DeviceDeclaration,
  type DeviceEnvironment,
  layout,
  type Need,
  u32,
} from "../../../kernel/driver/mod.ts";
import { DEVICE_CHECKS } from "./device.ts";

/** The state of the example: a register whose value drives the interrupt line while it is not 0. */
interface Latch {
  value: number;
}

/** The example's behaviour, which is right. */
function latch(state: Latch, env: DeviceEnvironment): Device {
  return {
    read: () => state.value,
    write(_offset, _size, value) {
      state.value = value;
      env.irq(value !== 0);
    },
    reset: () => env.irq(false),
  };
}

/** Declares the example with a behaviour of its own. */
function declare(
  attach: (state: Latch, env: DeviceEnvironment) => Device,
  needs: readonly Need[] = ["irq"],
): DeviceDeclaration {
  const state = layout("latch", 1, { value: u32 });
  const declaration = { name: "latch", compatible: [], window: 16, state, needs, attach };
  return defineDevice(declaration) as unknown as DeviceDeclaration;
}

/** Runs one check. */
function check(claim: keyof typeof DEVICE_CHECKS, declaration: DeviceDeclaration): void {
  DEVICE_CHECKS[claim](declaration);
}

/** Declares the example with something changed. */
function but(change: (state: Latch, env: DeviceEnvironment) => Partial<Device>): DeviceDeclaration {
  return declare((state, env) => ({ ...latch(state, env), ...change(state, env) }));
}

Deno.test("a device that keeps every promise passes every check", () => {
  for (const each of Object.values(DEVICE_CHECKS)) each(declare(latch));
});

Deno.test("a line that is high after power-on is found", () => {
  const faulty = but((_, env) => ({ reset: () => env.irq(true) }));
  assertThrows(() => check("power-on is always the same, with all lines low", faulty));
});

Deno.test("a power-on that differs from the one before is found", () => {
  let machines = 0;
  const faulty = but((state) => ({ reset: () => void (state.value = machines++) }));
  assertThrows(() => check("power-on is always the same, with all lines low", faulty));
});

Deno.test("chance is found, also where only a register shows it", () => {
  let shared = 0;
  const claim = "two devices that are told the same do the same";
  assertThrows(() => check(claim, but(() => ({ read: () => shared++ }))));
});

Deno.test("what a device keeps outside its state is found when it goes on elsewhere", () => {
  const claim = "its state is all that it needs to go on elsewhere";
  const faulty = but(() => {
    let reads = 0;
    return { read: () => reads++ };
  });
  check("two devices that are told the same do the same", faulty);
  assertThrows(() => check(claim, faulty));
});

Deno.test("a reset that leaves something behind is found: state, line, timer, or what is hidden", () => {
  const claim = "a reset gives the power-on state again, and lowers its lines";
  assertThrows(() => check(claim, but(() => ({ reset() {} }))), Error, "lines that stay high");
  const timed = declare((state, env) => ({
    ...latch(state, env),
    write: () => env.timer(1e6),
  }), ["irq", "timer"]);
  assertThrows(() => check(claim, timed), Error, "its timer");
  const remembers = but((_, env) => {
    let highest = 0;
    return {
      read: () => highest,
      write: (_offset, _size, value) => void (highest = Math.max(highest, value)),
      reset: () => env.irq(false),
    };
  });
  assertThrows(() => check(claim, remembers), Error, "after the reset");
});

Deno.test("a device that throws for an access, or answers with no integer, is found", () => {
  const claim = "every offset can be read and written at every size";
  const throws = but((state) => ({
    read(offset, size) {
      if (offset === 5 && size === 2) throw new RangeError("nothing there");
      return state.value;
    },
  }));
  assertThrows(() => check(claim, throws), RangeError, "nothing there");
  assertThrows(() => check(claim, but(() => ({ read: () => NaN }))), Error, "NaN");
  assertThrows(() => check(claim, but(() => ({ read: (offset) => offset / 2 }))), Error, "0.5");
});

Deno.test("a need that was not declared is found, and one that is not used", () => {
  const claim = "it uses what it declared as a need, and nothing else";
  assertThrows(() => check(claim, declare(latch, [])), Error, "without declaring it");
  assertThrows(() => check(claim, declare(latch, ["irq", "power"])));
});

Deno.test("a state under a foreign name is found", () => {
  const faulty = { ...declare(latch), name: "door" };
  assertThrows(() => check("its state has a name, a version and fields in their places", faulty));
});
