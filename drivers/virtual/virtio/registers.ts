/** TABLE: virtio over MMIO (Virtual I/O Device 1.2, section 4.2.2) and common constants. */

/** Register offsets. */
export const REGISTER = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSelect: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSelect: 0x024,
  queueSelect: 0x030,
  queueSizeMaximum: 0x034,
  queueSize: 0x038,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAcknowledge: 0x064,
  status: 0x070,
  queueDescriptorLow: 0x080,
  queueDescriptorHigh: 0x084,
  queueDriverLow: 0x090,
  queueDriverHigh: 0x094,
  queueDeviceLow: 0x0a0,
  queueDeviceHigh: 0x0a4,
  sharedMemoryLengthLow: 0x0b0,
  sharedMemoryLengthHigh: 0x0b4,
  sharedMemoryBaseLow: 0x0b8,
  sharedMemoryBaseHigh: 0x0bc,
  configGeneration: 0x0fc,
  config: 0x100,
} as const;

/** "virt", little-endian. */
export const MAGIC = 0x74726976;
/** Version of the modern interface. */
export const MMIO_VERSION = 2;
/** Vendor "CHRV". */
export const VENDOR = 0x56524843;
/** Bytes of a device's register window. */
export const WINDOW = 0x1000;

/** Device status bits (section 2.1). */
export const STATUS = { featuresOk: 8, driverOk: 4, needsReset: 0x40, failed: 0x80 } as const;
/** Interrupt status bits. */
export const INTERRUPT = { usedBuffer: 1, configChange: 2 } as const;
/** Feature bits common to all devices (section 6). */
export const FEATURE = { indirectDescriptors: 28, eventIndex: 29, version1: 32 } as const;
/** Descriptor flags (section 2.7.5). */
export const DESCRIPTOR = { next: 1, write: 2, indirect: 4, bytes: 16 } as const;
/** Device types (section 5). */
export const DEVICE_ID = { network: 1, block: 2, console: 3, entropy: 4 } as const;
