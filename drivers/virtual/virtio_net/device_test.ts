/** The network device against Virtual I/O Device 1.2, section 5.1. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { attachDevice } from "../../../tests/_support/conformance/device.ts";
import { surroundings } from "../../../tests/_support/device_surroundings.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import { INTERRUPT, REGISTER, STATUS } from "../virtio/registers.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const RECEIVE = 0;
const TRANSMIT = 1;
const HEADER = 12;
/** Ethernet with a VLAN tag and an MTU of 1500. */
const LONGEST = 1518;
const FRAME = Uint8Array.from({ length: 60 }, (_, i) => i + 1);

/** Frames that left. */
const left = ({ around }: VirtioDriver) => around.log.filter((line) => line.startsWith("frame"));

Deno.test("a frame leaves without its header, and one that is too long not at all", () => {
  const driver = new VirtioDriver(declaration).start(2);
  driver.chain(1, 0, [new Uint8Array(HEADER), FRAME]);
  driver.offer(1, 0);
  assertEquals(left(driver), [`frame ${FRAME}`]);
  driver.chain(1, 2, [new Uint8Array(HEADER), new Uint8Array(1519)]);
  driver.offer(1, 2);
  assertEquals(driver.taken(1).map(({ head }) => head), [0, 2]);
  assertEquals(left(driver).length, 1);
});

Deno.test("a frame arrives behind a header that counts one buffer", () => {
  const driver = new VirtioDriver(declaration).start(2);
  const [gpa] = driver.chain(0, 0, [1530]);
  driver.offer(0, 0);
  assertEquals(driver.device.input!(0, FRAME), FRAME.length);
  assertEquals(driver.taken(0), [{ head: 0, length: HEADER + FRAME.length }]);
  assertEquals(driver.bytes(gpa! + 10, 2), Uint8Array.of(1, 0));
  assertEquals(driver.bytes(gpa! + HEADER, FRAME.length), FRAME);
});

Deno.test("without a buffer a frame is lost, as on a wire", () => {
  const driver = new VirtioDriver(declaration).start(2);
  assertEquals(driver.device.input!(0, FRAME), FRAME.length);
  driver.chain(0, 0, [1530]);
  driver.offer(0, 0);
  assertEquals(driver.taken(0), []);
});

Deno.test("the configuration space tells the address and that the link is up", () => {
  const { device } = new VirtioDriver(declaration);
  const bytes = Array.from({ length: 8 }, (_, i) => device.read(REGISTER.config + i, 1));
  assertEquals(bytes.slice(0, 2), [0x52, 0x54]);
  // Bit 0 of the first byte is for groups, bit 1 says that the address is administered locally.
  assertEquals(bytes[0]! & 3, 2);
  assertEquals(bytes.slice(6), [1, 0]);
});

Deno.test("devices with different names have different addresses, which a driver's reset keeps", () => {
  const addressOf = (name: string) => {
    const around = surroundings();
    const named = { ...around, env: { ...around.env, name } };
    const { device } = attachDevice(declaration as unknown as DeviceDeclaration, named);
    const read = () => [0, 4].map((at) => device.read(REGISTER.config + at, 4));
    const before = read();
    device.write(REGISTER.status, 4, 0);
    assertEquals(read(), before);
    return before;
  };
  const addresses = ["net0", "net1", "net2"].map((name) => addressOf(name).join());
  assertEquals(new Set(addresses).size, 3);
});

Deno.test("what one driver sends another receives, byte for byte, at every length", () => {
  const one = new VirtioDriver(declaration).start(2);
  const other = new VirtioDriver(declaration).start(2);
  for (const length of [1, 14, 60, 1514, LONGEST]) {
    const frame = Uint8Array.from({ length }, (_, i) => i * 31 + length & 0xff);
    one.around.log.length = 0;
    one.chain(TRANSMIT, 0, [new Uint8Array(HEADER), frame]);
    one.offer(TRANSMIT, 0);
    const sent = left(one)[0]!.slice("frame ".length).split(",").map(Number);
    const [gpa] = other.chain(RECEIVE, 0, [HEADER + LONGEST]);
    other.offer(RECEIVE, 0);
    assertEquals(other.device.input!(0, Uint8Array.from(sent)), length);
    assertEquals(other.taken(RECEIVE), [{ head: 0, length: HEADER + length }]);
    assertEquals(other.bytes(gpa! + HEADER, length), frame);
  }
});

Deno.test("how a packet is cut into descriptors does not matter", () => {
  const driver = new VirtioDriver(declaration).start(2);
  const packet = new Uint8Array(HEADER + FRAME.length);
  packet.set(FRAME, HEADER);
  driver.chain(TRANSMIT, 0, [packet.subarray(0, 5), packet.subarray(5, 20), packet.subarray(20)]);
  driver.offer(TRANSMIT, 0);
  assertEquals(left(driver), [`frame ${FRAME}`]);
  const [first, second] = driver.chain(RECEIVE, 0, [20, 1500]);
  driver.offer(RECEIVE, 0);
  driver.device.input!(0, FRAME);
  assertEquals(driver.bytes(first! + HEADER, 8), FRAME.subarray(0, 8));
  assertEquals(driver.bytes(second!, FRAME.length - 8), FRAME.subarray(8));
});

Deno.test("a packet of a header alone, or of less, sends nothing and comes back", () => {
  const driver = new VirtioDriver(declaration).start(2);
  for (const [head, length] of [0, 1, HEADER].entries()) {
    driver.chain(TRANSMIT, head, [new Uint8Array(length)]);
    driver.offer(TRANSMIT, head);
  }
  assertEquals(driver.taken(TRANSMIT).map(({ head }) => head), [0, 1, 2]);
  assertEquals(left(driver), []);
});

Deno.test("a frame that does not fit its buffer is lost, and one that is too long for a wire too", () => {
  const driver = new VirtioDriver(declaration).start(2);
  driver.chain(RECEIVE, 0, [HEADER + 10]);
  driver.offer(RECEIVE, 0);
  driver.device.input!(0, FRAME);
  assertEquals(driver.taken(RECEIVE), [{ head: 0, length: 0 }]);
  driver.chain(RECEIVE, 1, [4096]);
  driver.offer(RECEIVE, 1);
  assertEquals(driver.device.input!(0, new Uint8Array(LONGEST + 1)), LONGEST + 1);
  assertEquals(driver.taken(RECEIVE), []);
  assertEquals(driver.read(REGISTER.status) & STATUS.needsReset, 0);
});

Deno.test("frames fill buffers in the order they were offered, and each interrupts", () => {
  const driver = new VirtioDriver(declaration).start(2);
  for (const head of [3, 1, 2]) {
    driver.chain(RECEIVE, head, [1530]);
    driver.offer(RECEIVE, head);
  }
  assertEquals(driver.interrupt, false, "buffers that are offered are no event");
  for (const head of [3, 1, 2]) {
    driver.device.input!(0, FRAME);
    assertEquals(driver.read(REGISTER.interruptStatus), INTERRUPT.usedBuffer);
    driver.acknowledge();
    assertEquals(driver.taken(RECEIVE).map((used) => used.head), [head]);
  }
});

Deno.test("a device that is not up takes frames off the wire and loses them", () => {
  const driver = new VirtioDriver(declaration);
  assertEquals(driver.device.input!(0, FRAME), FRAME.length);
  assertEquals(driver.interrupt, false);
});

Deno.test("another address of its VM's is told by the configuration space, and by an interrupt", () => {
  const driver = new VirtioDriver(declaration);
  const address = () =>
    Array.from({ length: 6 }, (_, i) => driver.device.read(REGISTER.config + i, 1));
  const become = (last: number) =>
    driver.device.identify!({
      generation: new Uint8Array(16),
      mac: Uint8Array.of(2, 0, 0, 0, 0, last),
    });
  become(1);
  assertEquals([driver.interrupt, driver.read(REGISTER.configGeneration)], [false, 0]);
  driver.start(2);
  become(1);
  assertEquals(driver.interrupt, false, "the same address is no news");
  become(2);
  assertEquals(address(), [2, 0, 0, 0, 0, 2]);
  assertEquals(driver.read(REGISTER.interruptStatus), INTERRUPT.configChange);
  assertEquals(driver.read(REGISTER.configGeneration), 1);
  driver.write(REGISTER.status, 0);
  assertEquals(address(), [2, 0, 0, 0, 0, 2], "a driver's reset does not give it another one");
});
