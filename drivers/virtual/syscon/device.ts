/**
 * Behaviour of the power controller, as the SiFive test device on QEMU's virt board: one register whose
 * write ends or resets the machine.
 */
import type { Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";

/** Commands in the low half; a failure's exit code stands in the high half. */
export const COMMAND = { fail: 0x3333, pass: 0x5555, reset: 0x7777 } as const;

/** Makes the behaviour of the power controller. */
export function attachSyscon(env: DeviceEnvironment): Device {
  return {
    read: () => 0,
    write(offset, _size, value) {
      if (offset !== 0) return;
      switch (value & 0xffff) {
        case COMMAND.pass:
          return env.power("off", 0);
        case COMMAND.fail:
          return env.power("off", value >>> 16);
        case COMMAND.reset:
          return env.power("reset", 0);
      }
    },
  };
}
