/**
 * Split virtqueues against Virtual I/O Device 1.2, section 2.7: descriptor chains right and wrong, the
 * used ring, and who is told of what. The entropy device writes into chains, the block device also reads
 * from them and gives them back later.
 *
 * Invariant: after a ring that is broken the device asks for a reset, and touches guest memory no more
 * until it gets one.
 */
import { assertEquals } from "@std/assert";
import { QUEUE_SIZE, VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import block from "../virtio_blk/mod.ts";
import rng from "../virtio_rng/mod.ts";
import { DESCRIPTOR, INTERRUPT, REGISTER, STATUS } from "./registers.ts";

const { next: NEXT, write: WRITE, indirect: INDIRECT } = DESCRIPTOR;
const BUFFER = 0x8000_9000;
/** A page for indirect tables. */
const TABLE = 0x8000_e000;
const OUTSIDE = 0x7000_0000;

/** Where a field of a queue's descriptor table lies. */
const at = (driver: VirtioDriver, descriptor: number) => driver.table(0) + 16 * descriptor;

/** Copies descriptors of queue 0 into the page for indirect tables. */
function makeIndirect(driver: VirtioDriver, from: number, count: number): void {
  driver.around.memory.write(TABLE, driver.bytes(at(driver, from), 16 * count));
}

/** Sets one of a queue's areas, low and high word, through the registers. */
function moveArea(driver: VirtioDriver, low: number, address: number): void {
  driver.write(REGISTER.queueSelect, 0);
  driver.write(REGISTER.queueReady, 0);
  driver.write(low, address % 2 ** 32);
  driver.write(low + 4, Math.floor(address / 2 ** 32));
  driver.write(REGISTER.queueReady, 1);
}

/** TABLE of ways to break a ring: each makes a chain from descriptor 0 that is then offered. */
const BROKEN: Readonly<Record<string, (driver: VirtioDriver) => void>> = {
  "a chain that loops": (driver) => driver.descriptor(0, 0, BUFFER, 16, WRITE | NEXT, 0),
  "a chain that loops in the middle"(driver) {
    driver.descriptor(0, 0, BUFFER, 16, WRITE | NEXT, 1);
    driver.descriptor(0, 1, BUFFER, 16, WRITE | NEXT, 2);
    driver.descriptor(0, 2, BUFFER, 16, WRITE | NEXT, 1);
  },
  "a next that does not exist": (driver) =>
    driver.descriptor(0, 0, BUFFER, 16, NEXT | WRITE, QUEUE_SIZE),
  "something to read behind something to write"(driver) {
    driver.descriptor(0, 0, BUFFER, 16, NEXT | WRITE, 1);
    driver.descriptor(0, 1, BUFFER, 16, 0);
  },
  "a buffer outside RAM": (driver) => driver.descriptor(0, 0, OUTSIDE, 16, WRITE),
  "a buffer across the end of RAM": (driver) => driver.descriptor(0, 0, 0x8000_fff8, 16, WRITE),
  "a buffer above 2^53"(driver) {
    driver.descriptor(0, 0, BUFFER, 16, WRITE);
    driver.around.memory.setInteger(at(driver, 0) + 4, 4, 0xffff_ffff);
  },
  "a chain of more than 16 MiB": (driver) => driver.descriptor(0, 0, BUFFER, 2 ** 31, WRITE),
  "an indirect table of no bytes": (driver) => driver.descriptor(0, 0, TABLE, 0, INDIRECT),
  "an indirect table of half a descriptor": (driver) =>
    driver.descriptor(0, 0, TABLE, 24, INDIRECT),
  "an indirect table outside RAM": (driver) => driver.descriptor(0, 0, OUTSIDE, 16, INDIRECT),
  "an indirect descriptor with a next"(driver) {
    driver.descriptor(0, 1, BUFFER, 16, WRITE);
    makeIndirect(driver, 1, 1);
    driver.descriptor(0, 0, TABLE, 16, INDIRECT | NEXT, 1);
  },
  "an indirect table in an indirect table"(driver) {
    driver.descriptor(0, 0, TABLE, 16, INDIRECT);
    makeIndirect(driver, 0, 1);
  },
  "a loop in an indirect table"(driver) {
    driver.descriptor(0, 0, BUFFER, 16, WRITE | NEXT, 0);
    makeIndirect(driver, 0, 1);
    driver.descriptor(0, 0, TABLE, 16, INDIRECT);
  },
  "descriptors outside RAM"(driver) {
    driver.descriptor(0, 0, BUFFER, 16, WRITE);
    moveArea(driver, REGISTER.queueDescriptorLow, OUTSIDE);
  },
  "an available ring outside RAM": (driver) => moveArea(driver, REGISTER.queueDriverLow, 2 ** 40),
  "a used ring outside RAM"(driver) {
    driver.descriptor(0, 0, BUFFER, 0, WRITE);
    moveArea(driver, REGISTER.queueDeviceLow, 2 ** 63);
  },
};

for (const [what, make] of Object.entries(BROKEN)) {
  Deno.test(`${what} makes the device ask for a reset and leave memory alone`, () => {
    const driver = new VirtioDriver(rng).start(1);
    make(driver);
    driver.publish(0, 0);
    for (let notices = 0; notices < 2; notices++) {
      assertEquals(driver.changedBy(() => driver.write(REGISTER.queueNotify, 0)), -1);
      assertEquals(driver.read(REGISTER.status), 15 | STATUS.needsReset);
    }
    // "the device MUST send a device configuration change notification to the driver"
    assertEquals([driver.read(REGISTER.interruptStatus), driver.interrupt], [2, true]);
    driver.write(REGISTER.status, 15);
    assertEquals(driver.read(REGISTER.status), 15 | STATUS.needsReset, "only a reset helps");
    driver.start(1);
    driver.chain(0, 0, [8]);
    driver.offer(0, 0);
    assertEquals(driver.taken(0), [{ head: 0, length: 8 }], "after the reset");
  });
}

Deno.test("a head that does not exist, and an index too far ahead, break the ring", () => {
  const head = new VirtioDriver(rng).start(1);
  head.offer(0, QUEUE_SIZE);
  const ahead = new VirtioDriver(rng).start(1);
  ahead.setAvailableIndex(0, QUEUE_SIZE + 1);
  ahead.write(REGISTER.queueNotify, 0);
  for (const driver of [head, ahead]) {
    assertEquals(driver.read(REGISTER.status) & STATUS.needsReset, STATUS.needsReset);
    assertEquals(driver.usedHeader(0), [0, 0]);
  }
});

Deno.test("a chain may use every descriptor, in any order, and buffers of no bytes", () => {
  const driver = new VirtioDriver(rng).start(1);
  const order = [7, 0, 15, 3, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14];
  order.forEach((index, i) => {
    const flags = WRITE | (i < order.length - 1 ? NEXT : 0);
    driver.descriptor(0, index, BUFFER + 16 * i, i % 4 === 1 ? 0 : 16, flags, order[i + 1] ?? 0);
  });
  driver.offer(0, order[0]!);
  assertEquals(driver.taken(0), [{ head: 7, length: 12 * 16 }]);
  assertEquals(driver.bytes(BUFFER + 15 * 16, 16).some((byte) => byte !== 0), true);
  assertEquals(driver.bytes(BUFFER + 16, 16), new Uint8Array(16));
});

Deno.test("indirect descriptors are followed, also behind others, and their write flag is ignored", () => {
  for (const flags of [INDIRECT, INDIRECT | WRITE]) {
    const driver = new VirtioDriver(rng).start(1);
    driver.descriptor(0, 4, BUFFER + 64, 16, WRITE | NEXT, 1);
    driver.descriptor(0, 5, BUFFER + 128, 8, WRITE);
    makeIndirect(driver, 4, 2);
    driver.descriptor(0, 0, BUFFER, 4, WRITE | NEXT, 1);
    driver.descriptor(0, 1, TABLE, 32, flags);
    driver.offer(0, 0);
    assertEquals(driver.taken(0), [{ head: 0, length: 28 }]);
    assertEquals(driver.bytes(BUFFER + 128, 8).some((byte) => byte !== 0), true);
  }
});

Deno.test("all chains that were offered come back in order, each in an entry of its own", () => {
  const driver = new VirtioDriver(rng).start(1);
  for (let head = 0; head < QUEUE_SIZE; head++) {
    driver.chain(0, head, [head + 1]);
    driver.publish(0, head);
  }
  driver.write(REGISTER.queueNotify, 0);
  const expected = Array.from({ length: QUEUE_SIZE }, (_, head) => ({ head, length: head + 1 }));
  assertEquals(driver.taken(0), expected);
});

Deno.test("the rings' indices wrap at 2^16, with event indices and without", () => {
  for (const eventIndex of [false, true]) {
    const driver = new VirtioDriver(rng).start(1, eventIndex);
    driver.chain(0, 3, [1]);
    const most = 2 ** 16 + 20;
    for (let i = 1; i <= most; i++) {
      driver.around.log.length = 0;
      driver.offer(0, 3);
      if (i > most - 30) assertEquals(driver.taken(0).at(-1), { head: 3, length: 1 });
    }
    assertEquals(driver.usedHeader(0), [0, 20]);
    assertEquals(driver.read(REGISTER.status), 15);
  }
});

Deno.test("the driver's flag keeps used buffers quiet, and an event index is then ignored", () => {
  const driver = new VirtioDriver(rng).start(1);
  driver.setUsedEvent(0, 0);
  driver.suppressInterrupts(0);
  driver.chain(0, 0, [16]);
  driver.offer(0, 0);
  assertEquals([driver.taken(0).length, driver.interrupt], [1, false]);
  assertEquals(driver.read(REGISTER.interruptStatus), 0);
});

Deno.test("with event indices only the entry that was asked for interrupts, whatever the flag", () => {
  const driver = new VirtioDriver(rng).start(1, true);
  driver.suppressInterrupts(0);
  driver.setUsedEvent(0, 2);
  const interrupts = [0, 1, 2, 3].map((head) => {
    driver.chain(0, head, [4]);
    driver.offer(0, head);
    const { interrupt } = driver;
    driver.acknowledge();
    return interrupt;
  });
  assertEquals(interrupts, [false, false, true, false]);
});

Deno.test("with event indices the device asks to be told of the very next chain", () => {
  const driver = new VirtioDriver(rng).start(1, true);
  for (let head = 0; head < 3; head++) {
    assertEquals(driver.availableEvent(0), head);
    driver.chain(0, head, [4]);
    driver.offer(0, head);
  }
  assertEquals(driver.usedHeader(0)[0], 0, "its own flags stay zero");
});

Deno.test("a device never writes to descriptors, to the available ring or to what it may read", () => {
  const driver = new VirtioDriver(block).start(1, true);
  const header = new Uint8Array(16).fill(0);
  const [headerAt, dataAt] = driver.chain(0, 0, [header, 512, 1]);
  const rings = () => driver.bytes(driver.table(0), 0x800);
  driver.publish(0, 0);
  const before = rings();
  driver.write(REGISTER.queueNotify, 0);
  driver.device.complete!(driver.around.requests[0]!.tag, 0, new Uint8Array(512).fill(9));
  assertEquals(rings(), before);
  assertEquals(driver.bytes(headerAt!, 16), header);
  assertEquals(driver.bytes(dataAt!, 512).every((byte) => byte === 9), true);
});

Deno.test("a queue that is no longer ready gets nothing back", () => {
  const driver = new VirtioDriver(block).start(1);
  driver.chain(0, 0, [new Uint8Array(16), 512, 1]);
  driver.offer(0, 0);
  driver.write(REGISTER.queueSelect, 0);
  driver.write(REGISTER.queueReady, 0);
  const { tag } = driver.around.requests[0]!;
  const complete = () => driver.device.complete!(tag, 0, new Uint8Array(512).fill(9));
  assertEquals(driver.changedBy(complete), -1);
  assertEquals(driver.read(REGISTER.interruptStatus) & INTERRUPT.usedBuffer, 0);
});
