/**
 * The MMIO transport against Virtual I/O Device 1.2, sections 2.1, 2.2, 2.4, 2.5, 3.1 and 4.2. It is
 * driven by way of the entropy device, the smallest, and of the console, which has a configuration space
 * that changes.
 */
import { assertEquals } from "@std/assert";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import block from "../virtio_blk/mod.ts";
import blockMq from "../virtio_blk_mq/mod.ts";
import virtioConsole from "../virtio_console/mod.ts";
import net from "../virtio_net/mod.ts";
import rng from "../virtio_rng/mod.ts";
import { DEVICE_ID, FEATURE, INTERRUPT, REGISTER, STATUS } from "./registers.ts";

const VERSION_1 = 1n << BigInt(FEATURE.version1);
const ACKNOWLEDGED = 1;
const DRIVER = 2;
const CONSOLE_QUEUES = 6;

/** Makes a queue ready with a size; whether it is then. */
function readyWith(driver: VirtioDriver, size: number): boolean {
  driver.write(REGISTER.queueReady, 0);
  driver.write(REGISTER.queueSize, size);
  driver.write(REGISTER.queueReady, 1);
  return driver.read(REGISTER.queueReady) === 1;
}

Deno.test("identity: magic, the modern version, the device's type", () => {
  const types = [
    [block, DEVICE_ID.block],
    [blockMq, DEVICE_ID.block],
    [virtioConsole, DEVICE_ID.console],
    [net, DEVICE_ID.network],
    [rng, DEVICE_ID.entropy],
  ] as const;
  for (const [declaration, type] of types) {
    const driver = new VirtioDriver(declaration);
    const identity = [REGISTER.magic, REGISTER.version, REGISTER.deviceId].map((r) =>
      driver.read(r)
    );
    assertEquals(identity, [0x74726976, 2, type]);
  }
});

Deno.test("the transport's registers are words, and what is read-only stays as it is", () => {
  const { device } = new VirtioDriver(rng);
  assertEquals([device.read(REGISTER.magic, 1), device.read(REGISTER.magic, 2)], [0, 0]);
  device.write(REGISTER.status, 1, ACKNOWLEDGED);
  assertEquals(device.read(REGISTER.status, 4), 0);
  for (const register of [REGISTER.magic, REGISTER.queueSizeMaximum, REGISTER.configGeneration]) {
    const before = device.read(register, 4);
    device.write(register, 4, ~before >>> 0);
    assertEquals(device.read(register, 4), before);
  }
});

Deno.test("a shared memory region that does not exist has a length of all ones", () => {
  const driver = new VirtioDriver(rng);
  const lengths = [REGISTER.sharedMemoryLengthLow, REGISTER.sharedMemoryLengthHigh];
  assertEquals(lengths.map((r) => driver.read(r)), [0xffff_ffff, 0xffff_ffff]);
});

Deno.test("FEATURES_OK is refused without VERSION_1 and with features that were not offered", () => {
  const driver = new VirtioDriver(rng);
  assertEquals(driver.features() & VERSION_1, VERSION_1);
  assertEquals(driver.negotiate(0n) & STATUS.featuresOk, 0);
  assertEquals(driver.negotiate(VERSION_1 | 1n << 40n) & STATUS.featuresOk, 0);
  assertEquals(driver.negotiate(VERSION_1 | 1n) & STATUS.featuresOk, 0);
  assertEquals(driver.negotiate(VERSION_1) & STATUS.featuresOk, STATUS.featuresOk);
});

Deno.test("every device takes what it offers with any one feature left out", () => {
  for (const declaration of [block, blockMq, virtioConsole, net, rng]) {
    const offered = new VirtioDriver(declaration).features();
    for (let bit = 0n; bit < 64n; bit++) {
      if (1n << bit === VERSION_1) continue;
      const status = new VirtioDriver(declaration).negotiate(offered & ~(1n << bit));
      assertEquals(status & STATUS.featuresOk, STATUS.featuresOk, `${declaration.name} ${bit}`);
    }
  }
});

Deno.test("there are 64 feature bits: other words read as zero and take nothing", () => {
  const driver = new VirtioDriver(rng);
  driver.write(REGISTER.deviceFeaturesSelect, 2);
  assertEquals(driver.read(REGISTER.deviceFeatures), 0);
  driver.write(REGISTER.driverFeaturesSelect, 2);
  driver.write(REGISTER.driverFeatures, 1);
  assertEquals(driver.negotiate(VERSION_1) & STATUS.featuresOk, STATUS.featuresOk);
});

Deno.test("features are frozen once FEATURES_OK was accepted", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.write(REGISTER.driverFeaturesSelect, 0);
  driver.write(REGISTER.driverFeatures, 1 << FEATURE.eventIndex);
  // Were event indices on now, the first used buffer would interrupt whatever the flag says.
  driver.suppressInterrupts(0);
  driver.chain(0, 0, [16]);
  driver.offer(0, 0);
  assertEquals([driver.taken(0).length, driver.interrupt], [1, false]);
});

Deno.test("the status is what the driver has set, until it writes zero", () => {
  const driver = new VirtioDriver(rng);
  assertEquals(driver.read(REGISTER.status), 0);
  for (const status of [ACKNOWLEDGED, ACKNOWLEDGED | DRIVER]) {
    driver.write(REGISTER.status, status);
    assertEquals(driver.read(REGISTER.status), status);
  }
  driver.start(1);
  assertEquals(driver.read(REGISTER.status), 15);
  driver.write(REGISTER.status, STATUS.failed | 15);
  assertEquals(driver.read(REGISTER.status), STATUS.failed | 15);
  driver.write(REGISTER.status, 0);
  assertEquals(driver.read(REGISTER.status), 0);
});

Deno.test("a queue that does not exist has no room and cannot be made ready", () => {
  const driver = new VirtioDriver(rng);
  driver.write(REGISTER.queueSelect, 0);
  assertEquals(driver.read(REGISTER.queueSizeMaximum), 256);
  for (const queue of [1, 2 ** 31, 2 ** 32 - 1]) {
    driver.write(REGISTER.queueSelect, queue);
    assertEquals(driver.read(REGISTER.queueSizeMaximum), 0);
    assertEquals(readyWith(driver, 16), false);
  }
});

Deno.test("a queue's size is a power of two up to the maximum", () => {
  const driver = new VirtioDriver(rng);
  driver.negotiate(VERSION_1);
  driver.write(REGISTER.queueSelect, 0);
  for (const size of [1, 2, 64, 256]) assertEquals(readyWith(driver, size), true, `${size}`);
  for (const size of [0, 3, 100, 257, 512, 2 ** 31]) {
    assertEquals(readyWith(driver, size), false, `${size}`);
  }
});

Deno.test("a queue that is ready keeps its size and its areas", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.write(REGISTER.queueSelect, 0);
  driver.write(REGISTER.queueSize, 1);
  for (
    const register of [
      REGISTER.queueDescriptorLow,
      REGISTER.queueDescriptorHigh,
      REGISTER.queueDriverLow,
      REGISTER.queueDriverHigh,
      REGISTER.queueDeviceLow,
      REGISTER.queueDeviceHigh,
    ]
  ) driver.write(register, 0x1000);
  driver.chain(0, 5, [16]);
  driver.offer(0, 5);
  assertEquals(driver.taken(0), [{ head: 5, length: 16 }]);
});

Deno.test("no buffer is consumed before DRIVER_OK, and then all that were offered are", () => {
  const driver = new VirtioDriver(rng);
  driver.negotiate(VERSION_1);
  driver.setUp(0);
  driver.chain(0, 0, [16]);
  driver.offer(0, 0);
  assertEquals([driver.usedHeader(0), driver.around.drawn, driver.interrupt], [[0, 0], 0, false]);
  driver.write(REGISTER.status, 15);
  driver.chain(0, 1, [16]);
  driver.offer(0, 1);
  assertEquals(driver.taken(0).map(({ head }) => head), [0, 1]);
});

Deno.test("a queue that is not ready is left alone, and so is one that does not exist", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.write(REGISTER.queueSelect, 0);
  driver.write(REGISTER.queueReady, 0);
  driver.chain(0, 0, [16]);
  driver.publish(0, 0);
  const changed = driver.changedBy(() => {
    for (const queue of [0, 1, 2 ** 32 - 1]) driver.write(REGISTER.queueNotify, queue);
  });
  assertEquals(changed, -1);
  assertEquals(driver.read(REGISTER.status) & STATUS.needsReset, 0);
});

Deno.test("a notification without a buffer is spurious and does nothing", () => {
  const driver = new VirtioDriver(rng).start(1);
  for (let i = 0; i < 3; i++) driver.write(REGISTER.queueNotify, 0);
  assertEquals([driver.usedHeader(0), driver.interrupt], [[0, 0], false]);
});

Deno.test("a used buffer interrupts until it is acknowledged", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.chain(0, 0, [16]);
  driver.offer(0, 0);
  assertEquals(driver.taken(0), [{ head: 0, length: 16 }]);
  assertEquals(driver.read(REGISTER.interruptStatus), INTERRUPT.usedBuffer);
  assertEquals(driver.interrupt, true);
  driver.write(REGISTER.interruptAcknowledge, INTERRUPT.usedBuffer);
  assertEquals([driver.read(REGISTER.interruptStatus), driver.interrupt], [0, false]);
});

Deno.test("each cause is acknowledged by itself, and the line is high while one is left", () => {
  const driver = new VirtioDriver(virtioConsole).start(CONSOLE_QUEUES);
  driver.chain(1, 0, [Uint8Array.of(1)]);
  driver.offer(1, 0);
  driver.device.resize!(0, 100, 30);
  const both = INTERRUPT.usedBuffer | INTERRUPT.configChange;
  assertEquals(driver.read(REGISTER.interruptStatus), both);
  driver.write(REGISTER.interruptAcknowledge, INTERRUPT.usedBuffer);
  assertEquals(driver.read(REGISTER.interruptStatus), INTERRUPT.configChange);
  assertEquals(driver.interrupt, true);
  driver.write(REGISTER.interruptAcknowledge, INTERRUPT.configChange);
  assertEquals([driver.read(REGISTER.interruptStatus), driver.interrupt], [0, false]);
});

Deno.test("the configuration's generation changes with it, silently before DRIVER_OK", () => {
  const driver = new VirtioDriver(virtioConsole);
  const first = driver.read(REGISTER.configGeneration);
  assertEquals(driver.read(REGISTER.configGeneration), first);
  driver.device.resize!(0, 100, 30);
  const second = driver.read(REGISTER.configGeneration);
  assertEquals([second !== first, driver.interrupt], [true, false]);
  driver.start(CONSOLE_QUEUES).device.resize!(0, 90, 20);
  assertEquals(driver.read(REGISTER.configGeneration) !== second, true);
  assertEquals(driver.read(REGISTER.interruptStatus), INTERRUPT.configChange);
});

Deno.test("the configuration space is read at any size before and after FEATURES_OK", () => {
  const driver = new VirtioDriver(virtioConsole);
  driver.device.resize!(0, 0x1234, 0x5678);
  const read = (offset: number, size: number) => driver.device.read(REGISTER.config + offset, size);
  for (let pass = 0; pass < 2; pass++) {
    assertEquals([0, 1, 2, 3].map((offset) => read(offset, 1)), [0x34, 0x12, 0x78, 0x56]);
    assertEquals([read(0, 2), read(2, 2), read(0, 4)], [0x1234, 0x5678, 0x5678_1234]);
    assertEquals([read(12, 4), read(0xefc, 4)], [0, 0]);
    driver.start(CONSOLE_QUEUES);
  }
});

Deno.test("a reset forgets queues, features and interrupts", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.chain(0, 0, [16]);
  driver.offer(0, 0);
  driver.write(REGISTER.status, 0);
  driver.write(REGISTER.queueSelect, 0);
  const registers = [REGISTER.status, REGISTER.queueReady, REGISTER.interruptStatus];
  assertEquals([...registers.map((r) => driver.read(r)), driver.interrupt], [0, 0, 0, false]);
  const drawn = driver.around.drawn;
  driver.offer(0, 0);
  assertEquals(driver.around.drawn, drawn);
  driver.write(REGISTER.status, 11);
  assertEquals(driver.read(REGISTER.status) & STATUS.featuresOk, 0, "no features are left");
});
