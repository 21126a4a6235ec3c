/** The entropy device against Virtual I/O Device 1.2, section 5.4. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { testMachine } from "../../../tests/_support/machine.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import { RAM_START } from "../../../kernel/limits.ts";
import { DESCRIPTOR, REGISTER } from "../virtio/registers.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

Deno.test("a buffer is filled with what the environment draws, a readable one with nothing", () => {
  const driver = new VirtioDriver(declaration).start(1);
  const [gpa] = driver.chain(0, 0, [4]);
  driver.offer(0, 0);
  assertEquals(driver.taken(0), [{ head: 0, length: 4 }]);
  assertEquals(driver.bytes(gpa!, 4), Uint8Array.of(0, 167, 78, 245));
  driver.chain(0, 1, [new Uint8Array(4)]);
  driver.offer(0, 1);
  assertEquals(driver.taken(0), [{ head: 1, length: 0 }]);
});

Deno.test("a request is filled across its buffers, and up to 4096 bytes of it", () => {
  const driver = new VirtioDriver(declaration).start(1);
  driver.chain(0, 0, [3, 1, 100]);
  driver.offer(0, 0);
  driver.chain(0, 4, [5000]);
  driver.offer(0, 4);
  assertEquals(driver.taken(0), [{ head: 0, length: 104 }, { head: 4, length: 4096 }]);
  assertEquals(driver.around.drawn, 104 + 4096);
});

Deno.test("no entropy is drawn before it is asked for, nor for a request that gets none", () => {
  const driver = new VirtioDriver(declaration).start(1);
  assertEquals(driver.around.drawn, 0);
  driver.chain(0, 0, [0]);
  driver.offer(0, 0);
  assertEquals([driver.taken(0), driver.around.drawn], [[{ head: 0, length: 0 }], 0]);
});

/** What the entropy device of a real machine gives first, by the machine's seed. */
function firstBytes(seed: bigint): Uint8Array {
  const waits = { kind: "raw", bytes: Uint8Array.of(0x73, 0, 0x50, 0x10) } as const;
  const machine = testMachine({ seed, kernel: waits, memoryBytes: 16 << 20 });
  const { behaviour } = machine.device("rng0");
  const [table, buffer] = [RAM_START + 0x10_0000, RAM_START + 0x20_0000];
  const registers = [
    [REGISTER.driverFeaturesSelect, 1],
    [REGISTER.driverFeatures, 1],
    [REGISTER.status, 11],
    [REGISTER.queueSize, 1],
    [REGISTER.queueDescriptorLow, table],
    [REGISTER.queueDriverLow, table + 0x100],
    [REGISTER.queueDeviceLow, table + 0x200],
    [REGISTER.queueReady, 1],
    [REGISTER.status, 15],
  ] as const;
  for (const [register, value] of registers) behaviour.write(register, 4, value);
  machine.memory.setInteger(table, 4, buffer);
  machine.memory.setInteger(table + 8, 4, 32);
  machine.memory.setInteger(table + 12, 2, DESCRIPTOR.write);
  machine.memory.setInteger(table + 0x102, 2, 1);
  behaviour.write(REGISTER.queueNotify, 4, 0);
  const bytes = new Uint8Array(32);
  machine.memory.read(buffer, bytes);
  return bytes;
}

Deno.test("a machine's entropy is a function of its seed", () => {
  const first = firstBytes(1n);
  assertEquals(firstBytes(1n), first);
  assertNotEquals(firstBytes(2n), first);
  assertEquals(new Set(first).size > 8, true, "it looks like chance");
});
