/**
 * Fuzz targets for virtual devices: any order of register accesses, rings, input and completions, by a
 * guest that means harm. No device may throw, take more input than it was offered, start a disk request
 * beyond its disk, or answer with what is no integer of the size that was read.
 */
import { assert } from "../../kernel/base/assert.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import type { Device, DeviceDeclaration } from "../../kernel/driver/mod.ts";
import { BUILTIN_DEVICES } from "../../drivers/mod.ts";
import { REGISTER } from "../../drivers/virtual/virtio/registers.ts";
import type { FuzzTarget } from "./engine.ts";
import { edge32, type FuzzSurroundings, surroundings } from "./support.ts";

const ACCESSES_OF_A_STEP = 60;
const DECLARATIONS = BUILTIN_DEVICES as readonly DeviceDeclaration[];

/** Offsets worth trying: the first registers, virtio's, or anywhere in the window. */
function drawOffset(random: Prng, window: number, size: number): number {
  const virtio = random.pick(Object.values(REGISTER));
  const offset = random.pick([random.below(16), random.below(window), virtio]);
  return Math.min(offset, window - size);
}

/** Sets up a virtio device's queues, so that accesses get behind the transport's checks. */
function startVirtio(random: Prng, device: Device, around: FuzzSurroundings): void {
  const { base, bytes } = around.memory;
  const write = (offset: number, value: number) => device.write(offset, 4, value);
  write(REGISTER.status, 3);
  for (const half of [0, 1]) {
    write(REGISTER.deviceFeaturesSelect, half);
    write(REGISTER.driverFeaturesSelect, half);
    write(REGISTER.driverFeatures, device.read(REGISTER.deviceFeatures, 4));
  }
  write(REGISTER.status, 11);
  for (let queue = 0; queue < 6; queue++) {
    write(REGISTER.queueSelect, queue);
    write(REGISTER.queueSize, random.pick([1, 4, 16]));
    write(REGISTER.queueDescriptorLow, base + 0x2000 * queue);
    write(REGISTER.queueDriverLow, base + 0x2000 * queue + 0x800);
    write(REGISTER.queueDeviceLow, base + 0x2000 * queue + 0x1000);
    write(REGISTER.queueReady, 1);
  }
  write(REGISTER.status, 15);
  random.fill(bytes.subarray(0, 64));
}

/** Writes descriptors and available entries that are mostly good. */
function putChains(random: Prng, around: FuzzSurroundings): void {
  const { memory } = around;
  const { base } = memory;
  const table = base + 0x2000 * random.below(3);
  for (let i = 0; i < 16; i++) {
    const at = table + 16 * i;
    const good = random.below(8) !== 0;
    memory.setInteger(at, 4, good ? base + 0xc000 + random.below(0x3000) : edge32(random));
    memory.setInteger(at + 4, 4, good ? 0 : edge32(random));
    memory.setInteger(at + 8, 4, random.pick([1, 12, 16, 512, 513, random.below(3000)]));
    memory.setInteger(at + 12, 2, good ? random.below(4) : edge32(random) & 0xffff);
    memory.setInteger(at + 14, 2, good ? (i + 1) % 16 : edge32(random) & 0xffff);
    memory.setInteger(table + 0x804 + 2 * i, 2, good ? random.below(16) : edge32(random) & 0xffff);
  }
  // Request types and sectors of a block device lie where its chains point.
  for (let at = base + 0xc000; at < base + 0xf000; at += 64) {
    memory.setInteger(at, 4, random.below(15));
    memory.setInteger(at + 8, 4, random.below(70));
  }
  memory.setInteger(
    table + 0x802,
    2,
    (memory.integer(table + 0x802, 2)! + random.below(4)) & 0xffff,
  );
}

function access(random: Prng, device: Device, window: number): void {
  const size = random.pick([1, 2, 4]);
  const offset = drawOffset(random, window, size);
  if (random.below(2) === 0) return device.write(offset, size, edge32(random) % 2 ** (8 * size));
  const value = device.read(offset, size);
  const fits = Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32;
  assert(fits, `reading ${size} bytes at ${offset} gave ${value}`);
}

function checkRequests({ requests }: FuzzSurroundings, sectors: number, readOnly: boolean): void {
  for (const { kind, sector, length, data, tag } of requests) {
    assert(sector >= 0 && sector + length / 512 <= sectors, `${kind} beyond the disk`);
    assert(length % 512 === 0 && Number.isInteger(length / 512), `${kind} of ${length} bytes`);
    assert(tag >= 0 && tag < 256, `tag ${tag}`);
    assert(!(readOnly && kind !== "read" && kind !== "flush"), `${kind} on a read-only disk`);
    if (kind === "write") assert(data?.length === length, "a write carries what it writes");
  }
}

/** Ends some of the requests in flight, and sometimes one that never was. */
function completeSome(random: Prng, device: Device, around: FuzzSurroundings): void {
  const at = random.below(around.requests.length + 1);
  const [request] = around.requests.splice(at, 1);
  const data = request?.kind === "read" ? new Uint8Array(request.length) : undefined;
  const failed = random.below(4) === 0;
  const tag = request?.tag ?? random.below(256);
  device.complete?.(tag, failed ? 1 : 0, failed ? undefined : data);
}

function offerInput(random: Prng, device: Device): void {
  const bytes = random.bytes(random.pick([0, 1, 14, 60, 1514, random.below(3000)]));
  const taken = device.input?.(random.below(3), bytes) ?? 0;
  assert(Number.isInteger(taken) && taken >= 0 && taken <= bytes.length, `took ${taken}`);
}

function act(random: Prng, device: Device, window: number, around: FuzzSurroundings): void {
  switch (random.below(10)) {
    case 0:
      return putChains(random, around);
    case 1:
      return device.write(Math.min(REGISTER.queueNotify, window - 4), 4, random.below(6));
    case 2:
      return completeSome(random, device, around);
    case 3:
      return offerInput(random, device);
    case 4:
      around.now = Math.max(around.now, Math.min(around.due, around.now + 1000));
      return device.tick?.();
    case 5:
      return device.source?.(random.below(96), random.below(2) === 1);
    case 6:
      return device.resize?.(random.below(3), random.below(70000), random.below(70000));
    default:
      return access(random, device, window);
  }
}

function deviceTarget(declaration: DeviceDeclaration): FuzzTarget {
  const { name, window, state, compatible } = declaration;
  return {
    name: `device-${name.replaceAll("_", "-")}`,
    step(random) {
      const readOnly = random.below(2) === 1;
      const around = surroundings(random, readOnly);
      const bytes = new SharedArrayBuffer(state.byteLength);
      const device = declaration.attach(state.view(bytes, 0), around.env, undefined);
      device.reset?.();
      const virtio = compatible.includes("virtio,mmio");
      if (virtio && random.below(8) !== 0) startVirtio(random, device, around);
      for (let i = 0; i < ACCESSES_OF_A_STEP; i++) {
        act(random, device, window, around);
        checkRequests(around, around.env.disk.sectors, readOnly);
      }
    },
  };
}

/** One target for each built-in device. */
export const DEVICE_TARGETS: readonly FuzzTarget[] = DECLARATIONS.map(deviceTarget);
