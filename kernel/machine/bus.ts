/**
 * The bus: from guest-physical addresses to devices and offsets. Devices know offsets, the board knows
 * addresses. Invariant: windows do not overlap.
 */
import { assert } from "../base/assert.ts";
import type { Device } from "../driver/mod.ts";

interface Window {
  readonly base: number;
  readonly end: number;
  readonly device: Device;
}

/** The devices of one machine by address. */
export class DeviceBus {
  readonly #windows: Window[] = [];

  /** Puts a device at an address. */
  attach(base: number, bytes: number, device: Device): void {
    const end = base + bytes;
    assert(this.#windows.every((w) => end <= w.base || base >= w.end), "bus windows overlap");
    this.#windows.push({ base, end, device });
  }

  /** Reads 1, 2 or 4 bytes; undefined where no device is. */
  read(address: number, size: number): number | undefined {
    for (const window of this.#windows) {
      if (address >= window.base && address < window.end) {
        return window.device.read(address - window.base, size);
      }
    }
    return undefined;
  }

  /** Writes 1, 2 or 4 bytes; false where no device is. */
  write(address: number, size: number, value: number): boolean {
    for (const window of this.#windows) {
      if (address >= window.base && address < window.end) {
        window.device.write(address - window.base, size, value);
        return true;
      }
    }
    return false;
  }
}
