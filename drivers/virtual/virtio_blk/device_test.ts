/** The block device against Virtual I/O Device 1.2, section 5.2. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import { FEATURE, REQUEST, STATUS } from "./device.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const SECTORS = 64;

/** A driver of a disk, and what its requests come back with. */
function disk(readOnly = false) {
  const driver = new VirtioDriver(declaration, { readOnly }).start(1);
  const header = (type: number, sector: number) => {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, type, true);
    view.setBigUint64(8, BigInt(sector), true);
    return bytes;
  };
  let statusAt = 0;
  return {
    driver,
    /** Sends a request of a header, buffers and a status byte. */
    send(type: number, sector: number, buffers: (Uint8Array | number)[] = [], head = 0): number[] {
      const addresses = driver.chain(0, head, [header(type, sector), ...buffers, 1]);
      statusAt = addresses.at(-1)!;
      driver.around.memory.setInteger(statusAt, 1, 0xee);
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
  assertEquals([started(), driver.taken(0), status()], [["disk read 5 1024 "], [], 0xee]);
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
  const addresses = send(REQUEST.getId, 0, [20], 4);
  assertEquals([driver.taken(0).length, status()], [1, STATUS.ok]);
  assertEquals(new TextDecoder().decode(driver.bytes(addresses[1]!, 7)), "device0");
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
  const range = new Uint8Array(16);
  new DataView(range.buffer).setUint32(8, 1, true);
  for (const type of [REQUEST.write, REQUEST.discard, REQUEST.writeZeroes]) {
    const { driver, send, status, started } = disk(true);
    assertEquals(driver.features() >> BigInt(FEATURE.readOnly) & 1n, 1n);
    send(type, 0, [type === REQUEST.write ? new Uint8Array(512) : range]);
    assertEquals([status(), started()], [STATUS.ioError, []], `type ${type}`);
  }
  assertEquals(disk().driver.features() >> BigInt(FEATURE.readOnly) & 1n, 0n);
});

Deno.test("discard and write-zeroes take one range inside the disk", () => {
  const range = (sector: number, count: number) => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, sector, true);
    new DataView(bytes.buffer).setUint32(8, count, true);
    return bytes;
  };
  const { send, started } = disk();
  send(REQUEST.discard, 0, [range(8, 4)], 0);
  send(REQUEST.writeZeroes, 0, [range(60, 4)], 4);
  assertEquals(started(), ["disk discard 8 2048 ", "disk zero 60 2048 "]);
  const other = disk();
  other.send(REQUEST.discard, 0, [range(61, 4)]);
  assertEquals([other.status(), other.started()], [STATUS.ioError, []]);
});

Deno.test("the configuration space tells the capacity", () => {
  const { driver } = disk();
  assertEquals([driver.read(0x100), driver.read(0x104)], [SECTORS, 0]);
});
