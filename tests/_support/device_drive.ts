/**
 * Drives any virtual device as a guest that means harm does: register accesses anywhere, rings of chains
 * right and wrong, input, completions, time. For the fuzz targets and the conformance suite.
 */
import { assert } from "../../kernel/base/assert.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import type { Device, DeviceDeclaration } from "../../kernel/driver/mod.ts";
import { DESCRIPTOR, FEATURE, REGISTER } from "../../drivers/virtual/virtio/registers.ts";
import { edge32 } from "../fuzz/support.ts";
import type { DeviceSurroundings, SmallMemory } from "./device_surroundings.ts";

const QUEUES = 6;
const QUEUE_SIZE = 16;
/** Where the areas of a queue lie, from its descriptor table, and data from memory's start. */
const QUEUE_BYTES = 0x2000;
const DRIVER_AREA = 0x800;
const DEVICE_AREA = 0x1000;
const DATA_AREA = 0xc000;

/** TABLE of where in a large window registers lie, so that they are met. */
const REGIONS: Readonly<Record<string, readonly (readonly [start: number, bytes: number])[]>> = {
  plic: [[0, 32], [0, 400], [0x1000, 16], [0x2000, 4], [0x2080, 4], [0x20_0000, 8], [0x20_1000, 8]],
  aclint: [[0, 16], [0x4000, 32], [0xbff8, 8]],
  syscon: [[0, 8]],
  goldfish_rtc: [[0, 0x24]],
  uart16550: [[0, 8]],
  vmgenid: [[0, 16]],
};

/** An offset: of a register or anywhere in the window. */
function drawOffset(random: Prng, { name, window }: DeviceDeclaration, size: number): number {
  const regions = REGIONS[name];
  const [start, bytes] = regions === undefined
    ? [random.pick(Object.values(REGISTER)), 4]
    : random.pick(regions);
  const near = start + random.below(bytes);
  const offset = random.pick([near, near - near % size, near - near % size, random.below(window)]);
  return Math.min(offset, window - size);
}

/** Sets up a virtio device's queues, so that accesses get behind the transport's checks. */
export function startVirtio(random: Prng, device: Device, around: DeviceSurroundings): void {
  const { base, bytes } = around.memory;
  const write = (offset: number, value: number) => device.write(offset, 4, value);
  write(REGISTER.status, 0);
  bytes.fill(0);
  for (const half of [0, 1]) {
    write(REGISTER.deviceFeaturesSelect, half);
    write(REGISTER.driverFeaturesSelect, half);
    // Event indices on or off: both ways to be told of a used buffer.
    const wanted = half === 0 && random.below(2) === 0 ? ~(1 << FEATURE.eventIndex) : ~0;
    write(REGISTER.driverFeatures, (device.read(REGISTER.deviceFeatures, 4) & wanted) >>> 0);
  }
  write(REGISTER.status, 11);
  for (let queue = 0; queue < QUEUES; queue++) {
    write(REGISTER.queueSelect, queue);
    write(REGISTER.queueSize, QUEUE_SIZE);
    write(REGISTER.queueDescriptorLow, base + QUEUE_BYTES * queue);
    write(REGISTER.queueDriverLow, base + QUEUE_BYTES * queue + DRIVER_AREA);
    write(REGISTER.queueDeviceLow, base + QUEUE_BYTES * queue + DEVICE_AREA);
    write(REGISTER.queueReady, 1);
  }
  write(REGISTER.status, 15);
}

/** Writes a chain as a block driver would: a header, data, a byte for the status. */
function putRequest(random: Prng, { memory }: DeviceSurroundings, table: number): void {
  const type = random.pick([0, 0, 1, 1, 4, 8, 11, 13, 2]);
  const header = memory.base + DATA_AREA;
  const toDevice = type === 1 || type === 11 || type === 13;
  const length = type === 11 || type === 13 ? 16 : random.pick([512, 1024, 20, 0, 511]);
  memory.setInteger(header, 4, type);
  memory.setInteger(header + 8, 4, random.below(66));
  memory.setInteger(header + 12, 4, random.below(16) === 0 ? edge32(random) : 0);
  // A range to discard or zero lies where the data lie.
  memory.setInteger(header + 64, 4, random.below(66));
  memory.setInteger(header + 68, 4, 0);
  memory.setInteger(header + 72, 4, random.below(8));
  const chain: [gpa: number, length: number, flags: number][] = [
    [header, 16, DESCRIPTOR.next],
    [header + 64, length, DESCRIPTOR.next | (toDevice ? 0 : DESCRIPTOR.write)],
    [header + 4096, 1, DESCRIPTOR.write],
  ];
  const first = random.below(QUEUE_SIZE - 3);
  chain.forEach(([gpa, bytes, flags], i) => {
    putDescriptor(memory, table, first + i, gpa, bytes, flags, first + i + 1);
  });
  publish(memory, table, first, 1);
}

/** Writes descriptors of any kind and offers chains that begin anywhere. */
function putAnything(random: Prng, { memory }: DeviceSurroundings, table: number): void {
  // Small numbers are what control messages and headers are made of.
  const data = memory.bytes.subarray(DATA_AREA, DATA_AREA + 0x3000);
  const stride = random.pick([1, 2, 4]);
  for (let at = 0; at < data.length; at++) data[at] = at % stride === 0 ? random.below(9) : 0;
  for (let i = 0; i < QUEUE_SIZE; i++) {
    const good = random.below(12) !== 0;
    const gpa = good ? memory.base + DATA_AREA + random.below(0x3000) : edge32(random);
    const length = random.pick([1, 12, 16, 512, 513, random.below(3000)]);
    const flags = good ? random.below(4) : edge32(random) & 0xffff;
    putDescriptor(memory, table, i, gpa, length, flags, good ? i + 1 : edge32(random) & 0xffff);
  }
  publish(memory, table, random.below(QUEUE_SIZE + 1), random.pick([1, 1, 1, 2, 20]));
}

function putDescriptor(
  memory: SmallMemory,
  table: number,
  index: number,
  gpa: number,
  length: number,
  flags: number,
  next: number,
): void {
  const at = table + DESCRIPTOR.bytes * index;
  memory.setInteger(at, 4, gpa);
  memory.setInteger(at + 4, 4, 0);
  memory.setInteger(at + 8, 4, length);
  memory.setInteger(at + 12, 2, flags);
  memory.setInteger(at + 14, 2, next);
}

/** Puts a chain into the available ring and moves the ring's index. */
function publish(memory: SmallMemory, table: number, head: number, by: number): void {
  const ring = table + DRIVER_AREA;
  const index = memory.integer(ring + 2, 2)!;
  memory.setInteger(ring + 4 + 2 * (index % QUEUE_SIZE), 2, head);
  memory.setInteger(ring + 2, 2, index + by & 0xffff);
}

/** Offers chains in one queue and tells the device of them, mostly. */
function offerChains(random: Prng, device: Device, around: DeviceSurroundings): void {
  const queue = random.pick([0, 0, 0, random.below(QUEUES)]);
  const table = around.memory.base + QUEUE_BYTES * queue;
  const put = random.below(2) === 0 ? putRequest : putAnything;
  put(random, around, table);
  if (random.below(8) !== 0) device.write(REGISTER.queueNotify, 4, queue);
}

/** A value: an edge, a small number, all ones, or one that means something to a device. */
function drawValue(random: Prng, size: number): number {
  const words = [0x5555, 0x7777, 0x3333 | random.below(256) << 16, 0xffff_ffff, random.below(16)];
  const value = random.below(2) === 0 ? random.pick(words) : edge32(random);
  return value % 2 ** (8 * size);
}

/**
 * Reads as the bus does, eight bytes as two words with the low one first, and notes what was answered: it
 * is as much an output of the device as an interrupt is.
 */
export function readNoted(
  device: Device,
  around: DeviceSurroundings,
  offset: number,
  size: number,
): void {
  if (size === 8) {
    readNoted(device, around, offset, 4);
    return readNoted(device, around, offset + 4, 4);
  }
  const value = device.read(offset, size);
  const fits = Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32;
  assert(fits, `reading ${size} bytes at ${offset} gave ${value}`);
  around.log.push(`read ${size} at ${offset}: ${value}`);
}

/** Writes as the bus does. */
export function writeAsBus(device: Device, offset: number, size: number, value: number): void {
  device.write(offset, Math.min(size, 4), value);
  if (size === 8) device.write(offset + 4, 4, value);
}

function access(
  random: Prng,
  device: Device,
  declaration: DeviceDeclaration,
  around: DeviceSurroundings,
): void {
  const size = random.pick([1, 2, 4, 4, 4, 8]);
  const offset = drawOffset(random, declaration, size);
  if (random.below(2) === 0) readNoted(device, around, offset, size);
  else writeAsBus(device, offset, size, drawValue(random, Math.min(size, 4)));
}

/** Ends some of the requests in flight, and sometimes one that never was. */
function completeSome(random: Prng, device: Device, around: DeviceSurroundings): void {
  const at = random.below(around.requests.length + 1);
  const [request] = around.requests.splice(at, 1);
  const data = request?.kind === "read"
    ? new Uint8Array(request.length).fill(request.sector + 1)
    : undefined;
  const failed = random.below(4) === 0;
  const tag = request?.tag ?? random.below(256);
  device.complete?.(tag, failed ? 1 : 0, failed ? undefined : data);
}

function offerInput(random: Prng, device: Device, { log }: DeviceSurroundings): void {
  const bytes = random.bytes(random.pick([0, 1, 14, 60, 1514, random.below(3000)]));
  const taken = device.input?.(random.below(3), bytes) ?? 0;
  assert(Number.isInteger(taken) && taken >= 0 && taken <= bytes.length, `took ${taken}`);
  log.push(`took ${taken}`);
}

/** The VM becomes another one, or the same again, or its wall clock is moved. */
function becomeAnother(random: Prng, device: Device, around: DeviceSurroundings): void {
  if (random.below(4) === 0) {
    around.wallStart = BigInt.asUintN(64, around.wallStart + BigInt(random.below(10_000) - 5000));
    return device.wallMoved?.();
  }
  const which = random.below(3);
  device.identify?.({
    generation: new Uint8Array(16).fill(which),
    mac: Uint8Array.of(2, 0, 0, 0, 0, which),
  });
}

/** Does one thing to a device, drawn by chance. */
export function act(
  random: Prng,
  device: Device,
  declaration: DeviceDeclaration,
  around: DeviceSurroundings,
): void {
  switch (random.below(11)) {
    case 0:
    case 1:
    case 2:
      if (isVirtio(declaration)) return offerChains(random, device, around);
      break;
    case 3:
      return completeSome(random, device, around);
    case 4:
      return offerInput(random, device, around);
    case 5:
      around.now = Math.max(around.now, Math.min(around.due, around.now + 1000));
      return device.tick?.();
    case 6:
      return device.source?.(
        random.pick([random.below(8), random.below(96)]),
        random.below(2) === 1,
      );
    case 7:
      return device.resize?.(random.below(3), random.below(70000), random.below(70000));
    case 9:
      return becomeAnother(random, device, around);
    case 8:
      if (isVirtio(declaration) && random.below(4) === 0) startVirtio(random, device, around);
  }
  access(random, device, declaration, around);
}

/** Whether a device speaks virtio over MMIO. */
export function isVirtio({ compatible }: DeviceDeclaration): boolean {
  return compatible.includes("virtio,mmio");
}
