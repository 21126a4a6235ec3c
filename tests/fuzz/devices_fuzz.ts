/**
 * Fuzz targets for virtual devices: any order of register accesses, rings, input and completions, by a
 * guest that means harm. No device may throw, take more input than it was offered, start a disk request
 * beyond its disk, or answer with what is no integer of the size that was read.
 */
import { assert } from "../../kernel/base/assert.ts";
import type { DeviceDeclaration } from "../../kernel/driver/mod.ts";
import { BUILTIN_DEVICES } from "../../drivers/mod.ts";
import { act, isVirtio, startVirtio } from "../_support/device_drive.ts";
import { type DeviceSurroundings, surroundings } from "../_support/device_surroundings.ts";
import type { FuzzTarget } from "./engine.ts";

const ACCESSES_OF_A_STEP = 60;
const DECLARATIONS = BUILTIN_DEVICES as readonly DeviceDeclaration[];

function checkRequests({ requests }: DeviceSurroundings, sectors: number, readOnly: boolean): void {
  for (const { kind, sector, length, data, tag } of requests) {
    assert(sector >= 0 && sector + length / 512 <= sectors, `${kind} beyond the disk`);
    assert(length % 512 === 0 && Number.isInteger(length / 512), `${kind} of ${length} bytes`);
    assert(tag >= 0 && tag < 256, `tag ${tag}`);
    assert(!(readOnly && kind !== "read" && kind !== "flush"), `${kind} on a read-only disk`);
    if (kind === "write") assert(data?.length === length, "a write carries what it writes");
  }
}

function deviceTarget(declaration: DeviceDeclaration): FuzzTarget {
  const { name, state } = declaration;
  return {
    name: `device-${name.replaceAll("_", "-")}`,
    step(random) {
      const readOnly = random.below(2) === 1;
      const around = surroundings(readOnly);
      const bytes = new SharedArrayBuffer(state.byteLength);
      const device = declaration.attach(state.view(bytes, 0), around.env, undefined);
      device.reset?.();
      if (isVirtio(declaration) && random.below(8) !== 0) startVirtio(random, device, around);
      for (let i = 0; i < ACCESSES_OF_A_STEP; i++) {
        act(random, device, declaration, around);
        checkRequests(around, around.env.disk.sectors, readOnly);
      }
    },
  };
}

/** One target for each built-in device. */
export const DEVICE_TARGETS: readonly FuzzTarget[] = DECLARATIONS.map(deviceTarget);
