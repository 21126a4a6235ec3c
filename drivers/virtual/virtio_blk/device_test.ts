/** The block device against Virtual I/O Device 1.2, section 5.2. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import { REGISTER } from "../virtio/registers.ts";
import { FEATURE, REQUEST, STATUS } from "../virtio/block_requests.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const SECTORS = 64;
const UNTOUCHED = 0xee;

/** A request's header. */
function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

/** What a discard or write-zeroes request carries. */
function range(sector: number, count: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, count, true);
  view.setUint32(12, flags, true);
  return bytes;
}

/** A driver of a disk, and what its requests come back with. */
function disk(readOnly = false) {
  const driver = new VirtioDriver(declaration, { readOnly }).start(1);
  let statusAt = 0;
  return {
    driver,
    /** Sends a request of a header, buffers and a status byte. */
    send(type: number, sector: number, buffers: (Uint8Array | number)[] = [], head = 0): number[] {
      const addresses = driver.chain(0, head, [header(type, sector), ...buffers, 1]);
      statusAt = addresses.at(-1)!;
      // What the device does not write keeps this, and shows.
      buffers.forEach((buffer, i) => {
        if (typeof buffer !== "number") return;
        driver.around.memory.write(addresses[i + 1]!, new Uint8Array(buffer).fill(UNTOUCHED));
      });
      driver.around.memory.setInteger(statusAt, 1, UNTOUCHED);
      driver.offer(0, head);
      return addresses;
    },
    status: () => driver.bytes(statusAt, 1)[0],
    started: () => driver.around.log.filter((line) => line.startsWith("disk")),
  };
}

Deno.test("a read gives its data and a status behind them", () => {
  const { driver, send, status, started } = disk();
  const addresses = send(REQUEST.read, 5, [1024]);
  assertEquals([started(), driver.taken(0)], [["disk read 5 1024 "], []]);
  assertEquals([status(), driver.interrupt], [UNTOUCHED, false]);
  driver.device.complete!(0, 0, new Uint8Array(1024).fill(7));
  assertEquals(driver.taken(0), [{ head: 0, length: 1025 }]);
  assertEquals([status(), driver.bytes(addresses[1]!, 1024).every((b) => b === 7)], [0, true]);
});

Deno.test("a write carries its data; a failure of the host is an I/O error", () => {
  const { driver, send, status, started } = disk();
  send(REQUEST.write, 63, [new Uint8Array(512).fill(9)]);
  assertEquals(started(), [`disk write 63 512 ${new Uint8Array(512).fill(9)}`]);
  driver.device.complete!(0, 1, undefined);
  assertEquals([driver.taken(0), status()], [[{ head: 0, length: 1 }], STATUS.ioError]);
});

Deno.test("flush waits for the host, the identity does not", () => {
  const { driver, send, status, started } = disk();
  send(REQUEST.flush, 0);
  assertEquals([started(), driver.taken(0)], [["disk flush 0 0 "], []]);
  driver.device.complete!(0, 0, undefined);
  assertEquals([driver.taken(0).length, status()], [1, STATUS.ok]);
  send(REQUEST.getId, 0, [20], 4);
  assertEquals([driver.taken(0).length, status()], [1, STATUS.ok]);
});

Deno.test("the identity is 20 bytes, padded with NULs over whatever lay there", () => {
  const { driver, send, status } = disk();
  const [, id] = send(REQUEST.getId, 0, [20]);
  assertEquals(driver.taken(0), [{ head: 0, length: 21 }]);
  const expected = new Uint8Array(20);
  expected.set(new TextEncoder().encode("device0"));
  assertEquals([status(), driver.bytes(id!, 20)], [STATUS.ok, expected]);
});

Deno.test("several requests are in flight and may end in any order", () => {
  const { driver, send } = disk();
  send(REQUEST.read, 0, [512], 0);
  send(REQUEST.read, 1, [512], 4);
  driver.device.complete!(4, 0, new Uint8Array(512));
  driver.device.complete!(0, 0, new Uint8Array(512));
  assertEquals(driver.taken(0).map(({ head }) => head), [4, 0]);
});

Deno.test("what lies beyond the disk, is no whole sector or of no known type is refused", () => {
  const cases: [number, number, (Uint8Array | number)[], number][] = [
    [REQUEST.read, SECTORS, [512], STATUS.ioError],
    [REQUEST.read, SECTORS - 1, [1024], STATUS.ioError],
    [REQUEST.read, Number.MAX_SAFE_INTEGER, [512], STATUS.ioError],
    [REQUEST.read, 0, [511], STATUS.ioError],
    [REQUEST.write, SECTORS, [new Uint8Array(512)], STATUS.ioError],
    [99, 0, [512], STATUS.unsupported],
  ];
  for (const [type, sector, buffers, expected] of cases) {
    const { send, status, started, driver } = disk();
    send(type, sector, buffers);
    const label = `${type} at ${sector}`;
    assertEquals([status(), started(), driver.taken(0).length], [expected, [], 1], label);
  }
});

Deno.test("a read-only disk says so and refuses writes, discards and zeroes", () => {
  for (const type of [REQUEST.write, REQUEST.discard, REQUEST.writeZeroes]) {
    const { driver, send, status, started } = disk(true);
    assertEquals(driver.features() >> BigInt(FEATURE.readOnly) & 1n, 1n);
    send(type, 0, [type === REQUEST.write ? new Uint8Array(512) : range(0, 1)]);
    assertEquals([status(), started()], [STATUS.ioError, []], `type ${type}`);
  }
  assertEquals(disk().driver.features() >> BigInt(FEATURE.readOnly) & 1n, 0n);
});

Deno.test("discard and write-zeroes take one range inside the disk", () => {
  const { send, started } = disk();
  send(REQUEST.discard, 0, [range(8, 4)], 0);
  send(REQUEST.writeZeroes, 0, [range(60, 4)], 4);
  assertEquals(started(), ["disk discard 8 2048 ", "disk zero 60 2048 "]);
  const other = disk();
  other.send(REQUEST.discard, 0, [range(61, 4)]);
  assertEquals([other.status(), other.started()], [STATUS.ioError, []]);
});

// "The device MUST set the status byte to VIRTIO_BLK_S_UNSUPP ... if any unknown flag is set."
Deno.test("unknown flags of a range are not supported, nor is unmap for a discard", () => {
  const cases = [
    [REQUEST.discard, 1],
    [REQUEST.discard, 2],
    [REQUEST.writeZeroes, 2],
    [REQUEST.writeZeroes, 0x8000_0001],
  ] as const;
  for (const [type, flags] of cases) {
    const { send, status, started } = disk();
    send(type, 0, [range(8, 4, flags)]);
    assertEquals([status(), started()], [STATUS.unsupported, []], `${type} with ${flags}`);
  }
  const { send, started } = disk();
  send(REQUEST.writeZeroes, 0, [range(8, 4, 1)]);
  assertEquals(started(), ["disk zero 8 2048 "]);
});

Deno.test("a range of nothing is done at once, and two ranges are one too many", () => {
  const none = disk();
  none.send(REQUEST.discard, 0, [range(8, 0)]);
  assertEquals([none.status(), none.started()], [STATUS.ok, []]);
  const two = disk();
  two.send(REQUEST.writeZeroes, 0, [range(8, 1), range(9, 1)]);
  assertEquals([two.status(), two.started()], [STATUS.ioError, []]);
});

Deno.test("how a request is cut into descriptors does not matter", () => {
  const { driver, started } = disk();
  const head = header(REQUEST.write, 3);
  const data = Uint8Array.from({ length: 512 }, (_, i) => i & 0xff);
  const parts = [head.subarray(0, 3), head.subarray(3), data.subarray(0, 1), data.subarray(1)];
  driver.chain(0, 0, [...parts, 1]);
  driver.offer(0, 0);
  assertEquals(started(), [`disk write 3 512 ${data}`]);
  const read = disk();
  const addresses = read.driver.chain(0, 0, [header(REQUEST.read, 3), 500, 13]);
  read.driver.offer(0, 0);
  read.driver.device.complete!(0, 0, data);
  assertEquals(read.driver.taken(0), [{ head: 0, length: 513 }]);
  assertEquals(read.driver.bytes(addresses[1]!, 500), data.subarray(0, 500));
  assertEquals(read.driver.bytes(addresses[2]!, 13), Uint8Array.of(...data.subarray(500), 0));
});

Deno.test("a read that failed on the host writes its status and nothing else", () => {
  const { driver, send, status } = disk();
  const [, data] = send(REQUEST.read, 5, [512]);
  driver.device.complete!(0, 1, undefined);
  assertEquals([status(), driver.taken(0)], [STATUS.ioError, [{ head: 0, length: 0 }]]);
  assertEquals(driver.bytes(data!, 512).every((byte) => byte === UNTOUCHED), true);
});

Deno.test("a request without a whole header fails, one without a status byte just comes back", () => {
  const short = disk();
  const [, statusAt] = short.driver.chain(0, 0, [new Uint8Array(15), 1]);
  short.driver.offer(0, 0);
  assertEquals(short.driver.bytes(statusAt!, 1)[0], STATUS.ioError);
  const mute = disk();
  mute.driver.chain(0, 0, [header(REQUEST.write, 0), new Uint8Array(512)]);
  mute.driver.offer(0, 0);
  assertEquals([mute.driver.taken(0), mute.started()], [[{ head: 0, length: 0 }], []]);
});

Deno.test("a transfer of no sectors is done at once", () => {
  for (const type of [REQUEST.read, REQUEST.write]) {
    const { driver, send, status, started } = disk();
    send(type, 0);
    assertEquals([status(), started(), driver.taken(0).length], [STATUS.ok, [], 1]);
  }
});

Deno.test("a head that is offered again before it came back fails, and the first goes on", () => {
  const { driver, send, started } = disk();
  send(REQUEST.read, 5, [512]);
  driver.offer(0, 0);
  assertEquals([started().length, driver.taken(0)], [1, [{ head: 0, length: 0 }]]);
  driver.device.complete!(0, 0, new Uint8Array(512));
  assertEquals(driver.taken(0), [{ head: 0, length: 513 }]);
});

Deno.test("what a reset left behind ends silently, and no new request is taken for it", () => {
  const { driver, send, status } = disk();
  send(REQUEST.read, 5, [512]);
  driver.start(1);
  const [, data] = send(REQUEST.read, 7, [512]);
  const [before, after] = driver.around.requests.map(({ tag }) => tag);
  driver.device.complete!(before!, 0, new Uint8Array(512).fill(5));
  assertEquals([driver.taken(0), status()], [[], UNTOUCHED]);
  driver.device.complete!(after!, 0, new Uint8Array(512).fill(7));
  assertEquals(driver.taken(0), [{ head: 0, length: 513 }]);
  assertEquals(driver.bytes(data!, 512).every((byte) => byte === 7), true);
});

Deno.test("resets that leave requests behind use the tags up, and ends give them back", () => {
  const { driver, send, status } = disk();
  for (let i = 0; i < 256; i++) {
    send(REQUEST.read, 5, [512]);
    driver.start(1);
  }
  const tags = driver.around.requests.map(({ tag }) => tag);
  assertEquals([new Set(tags).size, Math.max(...tags)], [256, 255]);
  send(REQUEST.read, 5, [512]);
  assertEquals(status(), STATUS.ioError);
  driver.device.complete!(100, 0, new Uint8Array(512));
  send(REQUEST.read, 5, [512], 4);
  assertEquals(driver.around.requests.at(-1)!.tag, 100);
});

Deno.test("the end of a request that never was is ignored", () => {
  const { driver, send } = disk();
  send(REQUEST.read, 5, [512]);
  const end = (tag: number) => () => driver.device.complete!(tag, 0, new Uint8Array(512));
  for (const tag of [1, 255, 256, 65535]) assertEquals(driver.changedBy(end(tag)), -1);
  assertEquals(driver.taken(0), []);
});

Deno.test("the configuration space tells the capacity and the limits of requests", () => {
  const { driver } = disk();
  const word = (offset: number) => driver.read(REGISTER.config + offset);
  assertEquals([word(0), word(4)], [SECTORS, 0]);
  assertEquals(word(12) + 2 <= driver.read(REGISTER.queueSizeMaximum), true, "segments");
  assertEquals(word(20), 512, "bytes of a block");
  assertEquals([word(36) > 0, word(40), word(44)], [true, 1, 1], "discard");
  assertEquals([word(48) > 0, word(52)], [true, 1], "write zeroes");
});

Deno.test("S17.9: requests in flight are submitted again as they are, with their tags", () => {
  const { driver, send, status } = disk();
  send(REQUEST.read, 5, [512], 0);
  send(REQUEST.write, 6, [new Uint8Array(512).fill(9)], 4);
  const { requests } = driver.around;
  const before = requests.splice(0);
  driver.device.resubmit!((tag) => tag === 0);
  assertEquals(requests, before.slice(1));
  driver.start(1);
  requests.length = 0;
  driver.device.resubmit!(() => false);
  assertEquals(requests, [], "nobody waits for these any more");
  send(REQUEST.read, 7, [512], 4);
  assertEquals(requests.map(({ tag, sector }) => [tag, sector]), [[4, 7]]);
  driver.device.complete!(4, 0, new Uint8Array(512));
  assertEquals(status(), STATUS.ok);
});
