/**
 * A driver for virtio devices in tests: negotiates, sets queues up, puts chains in and takes them back
 * (Virtual I/O Device 1.2, sections 2.7, 3.1 and 4.2).
 */
import { DESCRIPTOR, FEATURE, REGISTER } from "../../drivers/virtual/virtio/registers.ts";
import type { Device, DeviceDeclaration } from "../../kernel/driver/mod.ts";
import { attachDevice } from "./conformance/device.ts";
import { type DeviceSurroundings, surroundings } from "./device_surroundings.ts";

const QUEUE_BYTES = 0x1000;
const DRIVER_AREA = 0x400;
const DEVICE_AREA = 0x800;
const BUFFERS = 0x8000;
/** Entries of each queue. */
export const QUEUE_SIZE = 16;

/** One buffer of a chain: bytes for the device to read, or a number of bytes for it to write. */
export type Buffer = Uint8Array | number;

/** A driver of one device. */
export class VirtioDriver {
  readonly device: Device;
  readonly around: DeviceSurroundings;
  #buffer = 0;
  readonly #used: number[] = [];
  readonly #offered: number[] = [];

  constructor(declaration: unknown, options: { readonly readOnly?: boolean } = {}) {
    const around = surroundings(options.readOnly ?? false);
    this.device = attachDevice(declaration as DeviceDeclaration, around).device;
    this.around = around;
  }

  read(register: number): number {
    return this.device.read(register, 4) >>> 0;
  }

  write(register: number, value: number): void {
    this.device.write(register, 4, value);
  }

  /** The device's feature bits. */
  features(): bigint {
    this.write(REGISTER.deviceFeaturesSelect, 1);
    const high = BigInt(this.read(REGISTER.deviceFeatures));
    this.write(REGISTER.deviceFeaturesSelect, 0);
    return high << 32n | BigInt(this.read(REGISTER.deviceFeatures));
  }

  /** Accepts features, and gives the status after FEATURES_OK was asked for. */
  negotiate(wanted: bigint): number {
    this.write(REGISTER.status, 0);
    this.write(REGISTER.status, 3);
    for (const half of [0, 1]) {
      this.write(REGISTER.driverFeaturesSelect, half);
      this.write(REGISTER.driverFeatures, Number(wanted >> BigInt(32 * half) & 0xffff_ffffn));
    }
    this.write(REGISTER.status, 11);
    return this.read(REGISTER.status);
  }

  /** Starts the device with queues, without event indices unless they are asked for. */
  start(queues: number, eventIndex = false): this {
    const without = eventIndex ? 0n : 1n << BigInt(FEATURE.eventIndex);
    this.negotiate(this.features() & ~without);
    for (let queue = 0; queue < queues; queue++) this.setUp(queue);
    this.write(REGISTER.status, 15);
    return this;
  }

  /** Sets a queue up over rings that are empty, and makes it ready. */
  setUp(queue: number): void {
    const table = this.table(queue);
    this.around.memory.write(table, new Uint8Array(QUEUE_BYTES));
    this.write(REGISTER.queueSelect, queue);
    this.write(REGISTER.queueSize, QUEUE_SIZE);
    this.write(REGISTER.queueDescriptorLow, table);
    this.write(REGISTER.queueDriverLow, table + DRIVER_AREA);
    this.write(REGISTER.queueDeviceLow, table + DEVICE_AREA);
    this.write(REGISTER.queueReady, 1);
    this.#used[queue] = this.#offered[queue] = 0;
  }

  /** Address of a queue's descriptor table. */
  table(queue: number): number {
    return this.around.memory.base + queue * QUEUE_BYTES;
  }

  /** Writes a descriptor. */
  descriptor(queue: number, index: number, gpa: number, length: number, flags: number, next = 0) {
    const { memory } = this.around;
    const at = this.table(queue) + DESCRIPTOR.bytes * index;
    memory.setInteger(at, 4, gpa);
    memory.setInteger(at + 4, 4, 0);
    memory.setInteger(at + 8, 4, length);
    memory.setInteger(at + 12, 2, flags);
    memory.setInteger(at + 14, 2, next);
  }

  /** Makes a chain of buffers from descriptor `head` on; gives the addresses of the buffers. */
  chain(queue: number, head: number, buffers: readonly Buffer[]): number[] {
    const { memory } = this.around;
    return buffers.map((buffer, i) => {
      const length = typeof buffer === "number" ? buffer : buffer.length;
      const gpa = memory.base + BUFFERS + this.#buffer;
      this.#buffer = (this.#buffer + Math.ceil(length / 16) * 16) % 0x6000;
      if (typeof buffer !== "number") memory.write(gpa, buffer);
      const more = i < buffers.length - 1 ? DESCRIPTOR.next : 0;
      const flags = more | (typeof buffer === "number" ? DESCRIPTOR.write : 0);
      this.descriptor(queue, head + i, gpa, length, flags, head + i + 1);
      return gpa;
    });
  }

  /** Offers a head and notifies. */
  offer(queue: number, head: number): void {
    this.publish(queue, head);
    this.write(REGISTER.queueNotify, queue);
  }

  /** Offers a head without telling. */
  publish(queue: number, head: number): void {
    const { memory } = this.around;
    const ring = this.table(queue) + DRIVER_AREA;
    const index = this.#offered[queue]!;
    memory.setInteger(ring + 4 + 2 * (index % QUEUE_SIZE), 2, head);
    this.#offered[queue] = index + 1 & 0xffff;
    memory.setInteger(ring + 2, 2, this.#offered[queue]!);
  }

  /** Sets the available ring's index, whatever was offered. */
  setAvailableIndex(queue: number, index: number): void {
    this.around.memory.setInteger(this.table(queue) + DRIVER_AREA + 2, 2, index);
  }

  /** Tells the device not to interrupt for used buffers (without event indices). */
  suppressInterrupts(queue: number): void {
    this.around.memory.setInteger(this.table(queue) + DRIVER_AREA, 2, 1);
  }

  /** Asks for an interrupt when the used entry with an index is written (with event indices). */
  setUsedEvent(queue: number, index: number): void {
    const at = this.table(queue) + DRIVER_AREA + 4 + 2 * QUEUE_SIZE;
    this.around.memory.setInteger(at, 2, index);
  }

  /** The available entry with which the device asks to be notified (with event indices). */
  availableEvent(queue: number): number {
    const at = this.table(queue) + DEVICE_AREA + 4 + 8 * QUEUE_SIZE;
    return this.around.memory.integer(at, 2)!;
  }

  /** The used ring's flags and index. */
  usedHeader(queue: number): [flags: number, index: number] {
    const { memory } = this.around;
    const ring = this.table(queue) + DEVICE_AREA;
    return [memory.integer(ring, 2)!, memory.integer(ring + 2, 2)!];
  }

  /** Acknowledges every cause of an interrupt. */
  acknowledge(): void {
    this.write(REGISTER.interruptAcknowledge, this.read(REGISTER.interruptStatus));
  }

  /** Chains that came back since the last call: head and bytes written. */
  taken(queue: number): { readonly head: number; readonly length: number }[] {
    const { memory } = this.around;
    const ring = this.table(queue) + DEVICE_AREA;
    const back = [];
    while (this.#used[queue] !== memory.integer(ring + 2, 2)!) {
      const at = ring + 4 + 8 * (this.#used[queue]! % QUEUE_SIZE);
      back.push({ head: memory.integer(at, 4)!, length: memory.integer(at + 4, 4)! });
      this.#used[queue] = this.#used[queue]! + 1 & 0xffff;
    }
    return back;
  }

  /** Bytes of guest memory. */
  bytes(gpa: number, length: number): Uint8Array {
    const into = new Uint8Array(length);
    this.around.memory.read(gpa, into);
    return into;
  }

  /** Does something; gives the first address that it changed in guest memory, or -1. */
  changedBy(action: () => void): number {
    const { memory } = this.around;
    const before = memory.bytes.slice();
    action();
    const offset = memory.bytes.findIndex((byte, i) => byte !== before[i]);
    return offset < 0 ? -1 : memory.base + offset;
  }

  /** Level of the interrupt line. */
  get interrupt(): boolean {
    return this.around.lines.get("irq") ?? false;
  }
}
