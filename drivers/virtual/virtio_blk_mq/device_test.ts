/** The block device of machine version 3 against Virtual I/O Device 1.2, section 5.2. */
import { assert, assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { surroundings } from "../../../tests/_support/device_surroundings.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { FEATURE, REQUEST, STATUS } from "../virtio/block_requests.ts";
import { FEATURE as COMMON, REGISTER } from "../virtio/registers.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const SECTORS = 64;
const UNTOUCHED = 0xee;
/** Queues of a machine with two harts. */
const QUEUES = 2;

/** A request's header. */
function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

/** What a discard or write-zeroes request carries. */
function ranges(...list: (readonly [sector: number, count: number, flags?: number])[]): Uint8Array {
  const bytes = new Uint8Array(16 * list.length);
  const view = new DataView(bytes.buffer);
  list.forEach(([sector, count, flags], i) => {
    view.setBigUint64(16 * i, BigInt(sector), true);
    view.setUint32(16 * i + 8, count, true);
    view.setUint32(16 * i + 12, flags ?? 0, true);
  });
  return bytes;
}

interface Options {
  readonly readOnly?: boolean;
  /** Features that the driver does not accept. */
  readonly without?: readonly number[];
}

/** A driver of a disk, and what its requests come back with. */
function disk({ readOnly = false, without = [] }: Options = {}) {
  const driver = new VirtioDriver(declaration, { readOnly });
  const start = () => {
    const refused = [COMMON.eventIndex, ...without].reduce(
      (all, bit) => all | 1n << BigInt(bit),
      0n,
    );
    driver.negotiate(driver.features() & ~refused);
    for (let queue = 0; queue < QUEUES; queue++) driver.setUp(queue);
    driver.write(REGISTER.status, 15);
  };
  start();
  const { around, device } = driver;
  return {
    driver,
    device,
    start,
    /** Sends a request of a header, a buffer and a status byte; gives the addresses of the last two. */
    send(type: number, sector: number, buffer?: Uint8Array | number, head = 0, queue = 0) {
      const buffers = buffer === undefined ? [] : [buffer];
      const addresses = driver.chain(queue, head, [header(type, sector), ...buffers, 1]);
      around.memory.setInteger(addresses.at(-1)!, 1, UNTOUCHED);
      driver.offer(queue, head);
      return { data: addresses[1]!, status: () => driver.bytes(addresses.at(-1)!, 1)[0] };
    },
    started: () => around.log.filter((line) => line.startsWith("disk")),
    /** Ends the request that was submitted last. */
    end: (status = 0) => device.complete!(around.requests.at(-1)!.tag, status, undefined),
  };
}

Deno.test("there is a queue for each hart, at most four, and they work beside each other", () => {
  for (const [harts, queues] of [[1, 1], [2, 2], [4, 4], [8, 4]] as const) {
    const around = surroundings();
    Object.assign(around, { env: { ...around.env, harts } });
    const { device } = attachDevice(declaration as unknown as DeviceDeclaration, around);
    assertEquals(device.read(REGISTER.config + 34, 2), queues);
    for (let queue = 0; queue < 6; queue++) {
      device.write(REGISTER.queueSelect, 4, queue);
      assertEquals(device.read(REGISTER.queueSizeMaximum, 4) > 0, queue < queues);
    }
  }
  const { driver, device, send } = disk();
  const first = send(REQUEST.read, 1, 512, 3, 0);
  const second = send(REQUEST.read, 2, 512, 3, 1);
  const tags = driver.around.requests.map(({ tag }) => tag);
  assertEquals(tags[0] !== tags[1], true);
  device.complete!(tags[1]!, 0, new Uint8Array(512).fill(2));
  assertEquals([first.status(), second.status()], [UNTOUCHED, STATUS.ok]);
  assertEquals([driver.taken(0), driver.taken(1)], [[], [{ head: 3, length: 513 }]]);
  device.complete!(tags[0]!, 0, new Uint8Array(512).fill(1));
  assertEquals([driver.bytes(first.data, 1)[0], driver.bytes(second.data, 1)[0]], [1, 2]);
});

Deno.test("a discard of several ranges is one request, whose ranges are discarded in a row", () => {
  const { send, started, end, driver } = disk();
  const { status } = send(REQUEST.discard, 0, ranges([8, 4], [0, 0], [60, 4], [1, 1]));
  assertEquals(started(), ["disk discard 8 2048 "]);
  end();
  end();
  assertEquals([started().slice(1), status()], [[
    "disk discard 60 2048 ",
    "disk discard 1 512 ",
  ], UNTOUCHED]);
  end();
  assertEquals([status(), driver.taken(0)], [STATUS.ok, [{ head: 0, length: 1 }]]);
  const tags = driver.around.requests.map(({ tag }) => tag);
  assertEquals(new Set(tags).size, 1);
});

Deno.test("a range that fails ends its request, and the ranges behind it are not begun", () => {
  const { send, started, end } = disk();
  const { status } = send(REQUEST.writeZeroes, 0, ranges([8, 4], [60, 4]));
  end(1);
  assertEquals([status(), started().length], [STATUS.ioError, 1]);
});

Deno.test("write-zeroes gives space back only where the driver lets it", () => {
  const { send, started, end } = disk();
  send(REQUEST.writeZeroes, 0, ranges([8, 4, 1], [20, 1, 0]));
  end();
  assertEquals(started(), ["disk zeroUnmap 8 2048 ", "disk zero 20 512 "]);
});

Deno.test("one range that is wrong refuses the whole request before anything of it starts", () => {
  const cases: [number, Uint8Array, number][] = [
    [REQUEST.discard, ranges([8, 4], [61, 4]), STATUS.ioError],
    [REQUEST.discard, ranges([8, 4], [9, 1, 1]), STATUS.unsupported],
    [REQUEST.discard, ranges([8, 4], [9, 1, 2]), STATUS.unsupported],
    [REQUEST.writeZeroes, ranges([8, 4], [9, 1, 2]), STATUS.unsupported],
    [REQUEST.writeZeroes, ranges([8, 4], [2 ** 53, 1]), STATUS.ioError],
    [REQUEST.writeZeroes, ranges([0, 0x8001]), STATUS.ioError],
    [REQUEST.discard, ranges([0, 0x40_0000]), STATUS.ioError],
    [REQUEST.discard, ranges(), STATUS.ioError],
    [REQUEST.discard, ranges([8, 4]).subarray(0, 15), STATUS.ioError],
    [REQUEST.discard, new Uint8Array(40), STATUS.ioError],
    [REQUEST.discard, ranges(...Array.from({ length: 17 }, () => [1, 1] as const)), STATUS.ioError],
  ];
  for (const [type, list, expected] of cases) {
    const { send, started } = disk();
    assertEquals([send(type, 0, list).status(), started()], [expected, []], `${type} ${list}`);
  }
  const most = disk();
  most.send(REQUEST.discard, 0, ranges(...Array.from({ length: 16 }, () => [1, 1] as const)));
  assertEquals(most.started().length, 1);
  const none = disk();
  assertEquals(none.send(REQUEST.discard, 0, ranges([8, 0], [9, 0])).status(), STATUS.ok);
});

Deno.test("the configuration space has the limits where they belong", () => {
  const { device } = disk();
  const word = (offset: number) => device.read(REGISTER.config + offset, 4);
  const byte = (offset: number) => device.read(REGISTER.config + offset, 1);
  assertEquals([word(0), word(4), word(12), word(20)], [SECTORS, 0, 254, 512]);
  assertEquals([byte(32), byte(33), device.read(REGISTER.config + 34, 2)], [1, 0, QUEUES]);
  assertEquals([word(36), word(40), word(44)], [0x3f_ffff, 16, 8]);
  assertEquals([word(48), word(52), word(56)], [0x8000, 16, 1]);
});

// Section 5.2.6.2: when a write that has ended is stable.
Deno.test("writeback is the default with F_FLUSH; without it what is written is flushed before it ends", () => {
  for (const without of [[], [FEATURE.configWriteback]]) {
    const { device, send, end, started } = disk({ without });
    assertEquals(device.read(REGISTER.config + 32, 1), 1);
    const { status } = send(REQUEST.write, 3, new Uint8Array(512));
    end();
    assertEquals([started().length, status()], [1, STATUS.ok]);
  }
  for (const without of [[FEATURE.flush], [FEATURE.flush, FEATURE.configWriteback]]) {
    for (
      const [type, buffer] of [[1, new Uint8Array(512)], [13, ranges([1, 1], [2, 1])]] as const
    ) {
      const { device, send, end, started } = disk({ without });
      assertEquals(device.read(REGISTER.config + 32, 1), 0);
      const { status } = send(type, 3, buffer);
      end();
      if (type === 13) end();
      assertEquals([started().at(-1), status()], ["disk flush 0 0 ", UNTOUCHED]);
      end();
      assertEquals(status(), STATUS.ok);
    }
  }
});

Deno.test("the driver sets the cache mode, if that was agreed on, and a reset sets it back", () => {
  const { device, send, end, started, start } = disk();
  device.write(REGISTER.config + 32, 1, 0);
  assertEquals(device.read(REGISTER.config + 32, 1), 0);
  const { status } = send(REQUEST.write, 3, new Uint8Array(512));
  // A request keeps the mode that it began in.
  device.write(REGISTER.config + 32, 1, 1);
  end();
  assertEquals([started().at(-1), status()], ["disk flush 0 0 ", UNTOUCHED]);
  end(1);
  assertEquals(status(), STATUS.ioError, "a flush that fails is a write that fails");
  device.write(REGISTER.config + 32, 1, 0);
  start();
  assertEquals(device.read(REGISTER.config + 32, 1), 1);
  const fixed = disk({ without: [FEATURE.configWriteback] });
  fixed.device.write(REGISTER.config + 32, 1, 0);
  assertEquals(fixed.device.read(REGISTER.config + 32, 1), 1);
  device.write(REGISTER.config + 33, 1, 0);
  device.write(REGISTER.config + 32, 2, 0);
  assertEquals(device.read(REGISTER.config + 32, 1), 1);
});

Deno.test("chains wait in their queues while all tags are in use, and are taken when one is free", () => {
  const { driver, device, send, start } = disk();
  for (let i = 0; i < 256; i++) {
    send(REQUEST.read, 5, 512);
    start();
  }
  const tags = driver.around.requests.map(({ tag }) => tag);
  assertEquals([new Set(tags).size, Math.max(...tags)], [256, 255]);
  const first = send(REQUEST.read, 6, 512, 0, 0);
  const second = send(REQUEST.read, 7, 512, 0, 1);
  assertEquals([driver.around.requests.length, first.status()], [256, UNTOUCHED]);
  device.complete!(100, 0, new Uint8Array(512));
  assertEquals([driver.around.requests.length, driver.around.requests.at(-1)!.tag], [257, 100]);
  device.complete!(101, 0, new Uint8Array(512));
  assertEquals([driver.around.requests.length, driver.around.requests.at(-1)!.tag], [258, 101]);
  device.complete!(100, 0, new Uint8Array(512));
  device.complete!(101, 0, new Uint8Array(512));
  assertEquals([first.status(), second.status()], [STATUS.ok, STATUS.ok]);
});

Deno.test("a head that is offered again before it came back fails, and the first goes on", () => {
  const { driver, device, send, started } = disk();
  const { status } = send(REQUEST.read, 5, 512, 2, 1);
  driver.offer(1, 2);
  assertEquals([started().length, driver.taken(1)], [1, [{ head: 2, length: 0 }]]);
  device.complete!(driver.around.requests[0]!.tag, 0, new Uint8Array(512));
  assertEquals([driver.taken(1), status()], [[{ head: 2, length: 513 }], STATUS.ok]);
});

Deno.test("S17.9: requests in flight are submitted again as they are, with their tags", () => {
  const { driver, device, send, end } = disk();
  const read = send(REQUEST.read, 5, 512, 0, 1);
  const write = send(REQUEST.write, 6, new Uint8Array(512).fill(9), 4);
  const discard = send(REQUEST.discard, 0, ranges([8, 4], [60, 4]), 8);
  end();
  send(REQUEST.flush, 0, undefined, 12);
  const { requests } = driver.around;
  const before = requests.filter(({ sector }) => sector !== 8);
  requests.length = 0;
  const waits = before[0]!.tag;
  device.resubmit!((tag) => tag === waits);
  const byTag = (a: { tag: number }, b: { tag: number }) => a.tag - b.tag;
  assertEquals([...requests].sort(byTag), before.slice(1).sort(byTag));
  for (const { tag } of before) device.complete!(tag, 0, undefined);
  assertEquals([read, write, discard].map(({ status }) => status()), [0, 0, 0]);
  assertEquals([driver.taken(0).length, driver.taken(1).length], [3, 1]);
});

Deno.test("S17.9: what a reset left behind is forgotten, unless its result is there already", () => {
  const { driver, device, send, start } = disk();
  send(REQUEST.read, 5, 512, 0);
  send(REQUEST.read, 6, 512, 4);
  start();
  const { requests } = driver.around;
  const [gone, waits] = requests.map(({ tag }) => tag);
  requests.length = 0;
  device.resubmit!((tag) => tag === waits);
  assertEquals(requests, []);
  const later = [send(REQUEST.read, 7, 512, 0), send(REQUEST.read, 8, 512, 4)];
  const tags = requests.map(({ tag }) => tag);
  assert(tags.includes(gone!) && !tags.includes(waits!), `${tags}`);
  device.complete!(waits!, 0, new Uint8Array(512));
  for (const tag of tags) device.complete!(tag, 0, new Uint8Array(512));
  assertEquals(later.map(({ status }) => status()), [0, 0]);
});

Deno.test("S17.9: when all tags were left behind, what waited in the queues starts with the resubmission", () => {
  const { driver, device, send, start } = disk();
  for (let i = 0; i < 256; i++) {
    send(REQUEST.read, 5, 512);
    start();
  }
  const { status } = send(REQUEST.read, 6, 512, 0, 1);
  const { requests } = driver.around;
  requests.length = 0;
  device.resubmit!(() => false);
  assertEquals(requests.map(({ kind, sector }) => [kind, sector]), [["read", 6]]);
  device.complete!(requests[0]!.tag, 0, new Uint8Array(512));
  assertEquals(status(), STATUS.ok);
});

Deno.test("a request whose chain was changed under it fails or does what lies there, and never throws", () => {
  const { driver, device, send } = disk();
  const first = send(REQUEST.discard, 0, ranges([8, 4], [60, 4]), 0);
  driver.around.memory.write(first.data, ranges([8, 4], [99, 4]));
  device.complete!(driver.around.requests[0]!.tag, 0, undefined);
  assertEquals(first.status(), STATUS.ioError);
  const second = send(REQUEST.read, 5, 512, 4);
  driver.around.memory.write(second.data - 16, header(99, 0));
  driver.around.requests.length = 0;
  device.resubmit!(() => false);
  assertEquals([second.status(), driver.around.requests], [STATUS.ioError, []]);
});

Deno.test("a read-only disk says so and refuses writes, discards and zeroes", () => {
  for (const type of [REQUEST.write, REQUEST.discard, REQUEST.writeZeroes]) {
    const { driver, send, started } = disk({ readOnly: true });
    assertEquals(driver.features() >> BigInt(FEATURE.readOnly) & 1n, 1n);
    const { status } = send(type, 0, type === REQUEST.write ? new Uint8Array(512) : ranges([0, 1]));
    assertEquals([status(), started()], [STATUS.ioError, []], `type ${type}`);
  }
});
