/**
 * The virtio MMIO transport, modern interface (Virtual I/O Device 1.2, section 4.2), shared by every
 * virtio device of this board.
 *
 * Invariants: features are frozen once FEATURES_OK is accepted; after a broken ring the device asks for
 * a reset and touches guest memory no more until it gets one.
 */
import {
  type Device,
  type DeviceEnvironment,
  type FieldKind,
  u32,
  u32s,
} from "../../../kernel/driver/mod.ts";
import { FEATURE, INTERRUPT, MAGIC, MMIO_VERSION, REGISTER, STATUS, VENDOR } from "./registers.ts";
import { QUEUE_SIZE_MAXIMUM, type QueueState, Virtqueue } from "./virtqueue.ts";

/** State of the transport. */
export interface TransportState extends QueueState {
  status: number;
  deviceFeaturesSelect: number;
  driverFeaturesSelect: number;
  readonly driverFeatures: Uint32Array;
  queueSelect: number;
  interruptStatus: number;
  configGeneration: number;
}

/** Fields of the transport for a device with a number of queues; spread into its layout. */
export function transportFields(
  queues: number,
): { [K in keyof TransportState]: FieldKind<TransportState[K]> } {
  return {
    status: u32,
    deviceFeaturesSelect: u32,
    driverFeaturesSelect: u32,
    driverFeatures: u32s(2),
    queueSelect: u32,
    interruptStatus: u32,
    configGeneration: u32,
    queueSize: u32s(queues),
    queueReady: u32s(queues),
    queueDescriptor: u32s(2 * queues),
    queueDriver: u32s(2 * queues),
    queueDevice: u32s(2 * queues),
    queueTaken: u32s(queues),
    queueUsed: u32s(queues),
  };
}

/** What a virtio device adds to the transport. */
export interface VirtioDevice {
  readonly deviceId: number;
  /** Feature bits beyond the common ones. */
  readonly features: readonly number[];
  readonly queues: number;
  /** Bytes of the configuration space, made anew when read. */
  config(): Uint8Array;
  /** The driver wrote to the configuration space. */
  writeConfig?(offset: number, size: number, value: number): void;
  /** The driver has put chains into a queue. */
  notify(queue: number): void;
  /** The driver has finished its setup. */
  started?(): void;
  /** The driver reset the device: forget what is its own. */
  reset?(): void;
}

/** The transport of one device. */
export class MmioTransport {
  readonly queues: readonly Virtqueue[];
  readonly #features: Uint32Array;
  #device: VirtioDevice | undefined;
  /** For people only: not part of the machine's state. */
  readonly #counters = { notifications: 0, interrupts: 0, resets: 0 };

  constructor(
    readonly state: TransportState,
    private readonly env: DeviceEnvironment,
    queues: number,
    features: readonly number[],
  ) {
    this.#features = new Uint32Array(2);
    const common = [FEATURE.indirectDescriptors, FEATURE.eventIndex, FEATURE.version1];
    for (const bit of [...common, ...features]) this.#features[bit >> 5]! |= 1 << (bit & 31);
    this.queues = Array.from({ length: queues }, (_, i) =>
      new Virtqueue(
        state,
        i,
        env.memory,
        () => this.negotiated(FEATURE.eventIndex),
        () => this.interrupt(INTERRUPT.usedBuffer),
        () => this.#needsReset(),
      ));
  }

  /** Whether driver and device agreed on a feature. */
  negotiated(bit: number): boolean {
    return (this.state.driverFeatures[bit >> 5]! & 1 << (bit & 31)) !== 0;
  }

  /** Whether the driver is up and the device is not broken. */
  get running(): boolean {
    const { status } = this.state;
    return (status & STATUS.driverOk) !== 0 && (status & STATUS.needsReset) === 0;
  }

  /** Raises an interrupt cause. */
  interrupt(cause: number): void {
    this.#counters.interrupts++;
    this.state.interruptStatus |= cause;
    this.env.irq(true);
  }

  /** Tells the driver that the configuration space changed. */
  configChanged(): void {
    this.state.configGeneration++;
    if (this.running) this.interrupt(INTERRUPT.configChange);
  }

  /** The device as the board sees it: registers of the transport, then the configuration space. */
  device(device: VirtioDevice, rest: Partial<Device> = {}): Device {
    this.#device = device;
    return {
      read: (offset, size) => this.#read(device, offset, size),
      write: (offset, size, value) => this.#write(device, offset, size, value),
      counters: () => this.#counters,
      ...rest,
      reset: () => {
        this.env.irq(false);
        rest.reset?.();
      },
    };
  }

  #needsReset(): void {
    if ((this.state.status & STATUS.needsReset) !== 0) return;
    this.state.status |= STATUS.needsReset;
    if ((this.state.status & STATUS.driverOk) !== 0) this.interrupt(INTERRUPT.configChange);
    for (let i = 0; i < this.queues.length; i++) this.state.queueReady[i] = 0;
  }

  #read(device: VirtioDevice, offset: number, size: number): number {
    if (offset >= REGISTER.config) {
      const config = device.config();
      let value = 0;
      for (let i = 0; i < size; i++) {
        value += (config[offset - REGISTER.config + i] ?? 0) * 2 ** (8 * i);
      }
      return value;
    }
    if (size !== 4 || (offset & 3) !== 0) return 0;
    const { state } = this;
    switch (offset) {
      case REGISTER.magic:
        return MAGIC;
      case REGISTER.version:
        return MMIO_VERSION;
      case REGISTER.deviceId:
        return device.deviceId;
      case REGISTER.vendorId:
        return VENDOR;
      case REGISTER.deviceFeatures:
        return this.#features[state.deviceFeaturesSelect] ?? 0;
      case REGISTER.queueSizeMaximum:
        return state.queueSelect < this.queues.length ? QUEUE_SIZE_MAXIMUM : 0;
      case REGISTER.queueReady:
        return state.queueReady[state.queueSelect] ?? 0;
      case REGISTER.interruptStatus:
        return state.interruptStatus;
      case REGISTER.status:
        return state.status;
      case REGISTER.configGeneration:
        return state.configGeneration;
      case REGISTER.sharedMemoryLengthLow:
      case REGISTER.sharedMemoryLengthHigh:
      case REGISTER.sharedMemoryBaseLow:
      case REGISTER.sharedMemoryBaseHigh:
        // No shared memory regions: all ones (section 4.2.2).
        return 0xffff_ffff;
      default:
        return 0;
    }
  }

  #write(device: VirtioDevice, offset: number, size: number, value: number): void {
    if (offset >= REGISTER.config) {
      device.writeConfig?.(offset - REGISTER.config, size, value);
      return;
    }
    if (size !== 4 || (offset & 3) !== 0) return;
    const { state } = this;
    switch (offset) {
      case REGISTER.deviceFeaturesSelect:
        state.deviceFeaturesSelect = value;
        return;
      case REGISTER.driverFeaturesSelect:
        state.driverFeaturesSelect = value;
        return;
      case REGISTER.driverFeatures:
        if ((state.status & STATUS.featuresOk) === 0 && state.driverFeaturesSelect < 2) {
          state.driverFeatures[state.driverFeaturesSelect] = value;
        }
        return;
      case REGISTER.queueSelect:
        state.queueSelect = value;
        return;
      case REGISTER.queueNotify:
        this.#counters.notifications++;
        if (this.running && value < this.queues.length) device.notify(value);
        return;
      case REGISTER.interruptAcknowledge:
        state.interruptStatus &= ~value;
        if (state.interruptStatus === 0) this.env.irq(false);
        return;
      case REGISTER.status:
        return this.#setStatus(value);
      default:
        this.#writeQueue(offset, value);
    }
  }

  /** Queue registers: ignored for a queue that does not exist or is already in use. */
  #writeQueue(offset: number, value: number): void {
    const { state } = this;
    const queue = state.queueSelect;
    if (queue >= this.queues.length) return;
    if (offset === REGISTER.queueReady) {
      const size = state.queueSize[queue]!;
      const legal = size > 0 && (size & size - 1) === 0;
      state.queueReady[queue] = (value & 1) === 1 && legal ? 1 : 0;
      return;
    }
    if (state.queueReady[queue] === 1) return;
    switch (offset) {
      case REGISTER.queueSize:
        state.queueSize[queue] = value <= QUEUE_SIZE_MAXIMUM ? value : 0;
        return;
      case REGISTER.queueDescriptorLow:
      case REGISTER.queueDescriptorHigh:
        state.queueDescriptor[2 * queue + (offset >> 2 & 1)] = value;
        return;
      case REGISTER.queueDriverLow:
      case REGISTER.queueDriverHigh:
        state.queueDriver[2 * queue + (offset >> 2 & 1)] = value;
        return;
      case REGISTER.queueDeviceLow:
      case REGISTER.queueDeviceHigh:
        state.queueDevice[2 * queue + (offset >> 2 & 1)] = value;
    }
  }

  #setStatus(value: number): void {
    const { state } = this;
    if (value === 0) return this.reset();
    let next = value | state.status & STATUS.needsReset;
    const offersFeatures = (next & STATUS.featuresOk) !== 0 &&
      (state.status & STATUS.featuresOk) === 0;
    if (offersFeatures) {
      const unknown = state.driverFeatures.some((word, i) => (word & ~this.#features[i]!) !== 0);
      if (unknown || !this.negotiated(FEATURE.version1)) next &= ~STATUS.featuresOk;
    }
    const starts = (next & STATUS.driverOk) !== 0 && (state.status & STATUS.driverOk) === 0;
    state.status = next;
    if (starts) this.#device?.started?.();
  }

  /** Forgets everything that the driver set up. */
  reset(): void {
    this.#counters.resets++;
    const { state } = this;
    state.status = state.deviceFeaturesSelect = state.driverFeaturesSelect = 0;
    state.queueSelect = state.interruptStatus = 0;
    state.driverFeatures.fill(0);
    for (
      const words of [
        state.queueSize,
        state.queueReady,
        state.queueDescriptor,
        state.queueDriver,
        state.queueDevice,
        state.queueTaken,
        state.queueUsed,
      ]
    ) words.fill(0);
    this.env.irq(false);
    this.#device?.reset?.();
  }
}
