/** The MMIO transport against Virtual I/O Device 1.2, sections 2.1, 2.7 and 4.2, by way of the rng. */
import { assertEquals } from "@std/assert";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import rng from "../virtio_rng/mod.ts";
import { DESCRIPTOR, DEVICE_ID, FEATURE, INTERRUPT, REGISTER, STATUS } from "./registers.ts";

const VERSION_1 = 1n << BigInt(FEATURE.version1);

Deno.test("identity: magic, the modern version, the device's type", () => {
  const driver = new VirtioDriver(rng);
  const identity = [REGISTER.magic, REGISTER.version, REGISTER.deviceId].map((r) => driver.read(r));
  assertEquals(identity, [0x74726976, 2, DEVICE_ID.entropy]);
});

Deno.test("FEATURES_OK is refused without VERSION_1 and with features that were not offered", () => {
  const driver = new VirtioDriver(rng);
  assertEquals(driver.features() & VERSION_1, VERSION_1);
  assertEquals(driver.negotiate(0n) & STATUS.featuresOk, 0);
  assertEquals(driver.negotiate(VERSION_1 | 1n << 40n) & STATUS.featuresOk, 0);
  assertEquals(driver.negotiate(VERSION_1) & STATUS.featuresOk, STATUS.featuresOk);
});

Deno.test("features are frozen once FEATURES_OK was accepted", () => {
  const driver = new VirtioDriver(rng);
  driver.negotiate(VERSION_1);
  driver.write(REGISTER.driverFeaturesSelect, 1);
  driver.write(REGISTER.driverFeatures, 0);
  driver.write(REGISTER.status, 15);
  assertEquals(driver.read(REGISTER.status) & STATUS.featuresOk, STATUS.featuresOk);
});

Deno.test("a queue that does not exist has no room", () => {
  const driver = new VirtioDriver(rng);
  driver.write(REGISTER.queueSelect, 0);
  assertEquals(driver.read(REGISTER.queueSizeMaximum) > 0, true);
  driver.write(REGISTER.queueSelect, 1);
  assertEquals(driver.read(REGISTER.queueSizeMaximum), 0);
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

Deno.test("the driver's flag keeps used buffers quiet", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.suppressInterrupts(0);
  driver.chain(0, 0, [16]);
  driver.offer(0, 0);
  assertEquals([driver.taken(0).length, driver.interrupt], [1, false]);
});

Deno.test("notifying a queue that is not ready, or before DRIVER_OK, does nothing", () => {
  const driver = new VirtioDriver(rng);
  driver.write(REGISTER.queueNotify, 0);
  driver.start(1);
  driver.write(REGISTER.status, 11);
  driver.write(REGISTER.queueNotify, 7);
  assertEquals(driver.around.drawn, 0);
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
});

Deno.test("a chain that loops, leaves memory or starts nowhere makes the device ask for a reset", () => {
  const spoil: ((driver: VirtioDriver) => void)[] = [
    (driver) => driver.descriptor(0, 0, 0x8000_9000, 16, DESCRIPTOR.write | DESCRIPTOR.next, 0),
    (driver) => driver.descriptor(0, 0, 0x8000_9000, 16, DESCRIPTOR.next, 999),
  ];
  for (const [i, make] of spoil.entries()) {
    const driver = new VirtioDriver(rng).start(1);
    make(driver);
    driver.offer(0, 0);
    const status = driver.read(REGISTER.status);
    assertEquals(status & STATUS.needsReset, STATUS.needsReset, `case ${i}`);
    assertEquals(driver.taken(0), []);
    driver.start(1);
    driver.chain(0, 0, [8]);
    driver.offer(0, 0);
    assertEquals(driver.taken(0), [{ head: 0, length: 8 }], `case ${i}: after the reset`);
  }
});

Deno.test("indirect descriptors are followed", () => {
  const driver = new VirtioDriver(rng).start(1);
  const [buffer] = driver.chain(0, 4, [24]);
  const table = 0x8000_e000;
  driver.around.memory.write(table, driver.bytes(driver.table(0) + 4 * 16, 16));
  driver.descriptor(0, 0, table, 16, DESCRIPTOR.indirect);
  driver.offer(0, 0);
  assertEquals(driver.taken(0), [{ head: 0, length: 24 }]);
  assertEquals(driver.bytes(buffer!, 24).some((byte) => byte !== 0), true);
});
