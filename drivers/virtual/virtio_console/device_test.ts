/** The console against Virtual I/O Device 1.2, section 5.3. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import { REGISTER } from "../virtio/registers.ts";
import { EVENT, FEATURE, PORT_NAMES, QUEUES } from "./device.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;

/** A control message: port, event, value. */
function control(port: number, event: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, port, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  return bytes;
}

/** Offers a buffer for each control message that waits, and gives the messages. */
function controlMessages(driver: VirtioDriver, heads: readonly number[]): Uint8Array[] {
  const addresses = heads.map((head) => {
    const [gpa] = driver.chain(CONTROL_RECEIVE, head, [64]);
    driver.offer(CONTROL_RECEIVE, head);
    return gpa!;
  });
  return driver.taken(CONTROL_RECEIVE).map(({ head, length }) =>
    driver.bytes(addresses[heads.indexOf(head)]!, length)
  );
}

function send(driver: VirtioDriver, message: Uint8Array, head: number): void {
  driver.chain(CONTROL_TRANSMIT, head, [message]);
  driver.offer(CONTROL_TRANSMIT, head);
}

const text = (words: string) => new TextEncoder().encode(words);

/** What left, port by port. */
const outputs = ({ around }: VirtioDriver) =>
  around.log.filter((line) => line.startsWith("output"));

Deno.test("the configuration space tells the terminal's size and the number of ports", () => {
  const driver = new VirtioDriver(declaration);
  const offered = driver.features();
  for (const bit of Object.values(FEATURE)) assertEquals(offered >> BigInt(bit) & 1n, 1n);
  assertEquals(driver.read(REGISTER.config + 4), PORT_NAMES.length);
});

Deno.test("what the guest sends on a port leaves by that port", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  driver.chain(1, 0, [text("terminal")]);
  driver.offer(1, 0);
  driver.chain(5, 0, [text("command")]);
  driver.offer(5, 0);
  assertEquals(outputs(driver), [`output 0: ${text("terminal")}`, `output 1: ${text("command")}`]);
  assertEquals(driver.taken(1), [{ head: 0, length: 0 }]);
});

Deno.test("input is taken as far as there are buffers for it", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  assertEquals(driver.device.input!(0, new Uint8Array(10)), 0);
  const [gpa] = driver.chain(0, 0, [4]);
  driver.offer(0, 0);
  assertEquals(driver.device.input!(0, Uint8Array.of(1, 2, 3, 4, 5, 6)), 4);
  assertEquals(driver.taken(0), [{ head: 0, length: 4 }]);
  assertEquals(driver.bytes(gpa!, 4), Uint8Array.of(1, 2, 3, 4));
});

Deno.test("when the driver is ready it is told of both ports, then of their names", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  send(driver, control(0, EVENT.deviceReady, 1), 0);
  const added = controlMessages(driver, [0, 1]);
  assertEquals(added, [control(0, EVENT.portAdd, 0), control(1, EVENT.portAdd, 0)]);
  send(driver, control(1, EVENT.portReady, 1), 1);
  const told = controlMessages(driver, [2, 3, 4, 5]);
  const name = told.find((message) => message[4] === EVENT.portName)!;
  assertEquals(new TextDecoder().decode(name.subarray(8)).replaceAll("\0", ""), PORT_NAMES[1]);
  assertEquals(told.some((message) => message[4] === EVENT.portOpen), true);
});

Deno.test("a new terminal size changes the configuration space and is announced", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  const generation = driver.read(REGISTER.configGeneration);
  driver.device.resize!(0, 132, 43);
  assertEquals(driver.read(REGISTER.config), 43 << 16 | 132);
  assertEquals(driver.read(REGISTER.configGeneration) !== generation, true);
  assertEquals(driver.interrupt, true);
  const [message] = controlMessages(driver, [0]);
  assertEquals(message!.subarray(0, 8), control(0, EVENT.resize, 0));
  // Linux and QEMU have rows before columns in this message, the other way round than the text.
  assertEquals(message!.subarray(8), Uint8Array.of(43, 0, 132, 0));
});

Deno.test("output may be long and cut anyhow, and arrives whole and in order", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i * 7 & 0xff);
  driver.chain(1, 0, [bytes.subarray(0, 1), bytes.subarray(1, 2000), bytes.subarray(2000)]);
  driver.offer(1, 0);
  assertEquals(outputs(driver), [`output 0: ${bytes}`]);
});

Deno.test("a chain longer than what is copied at once leaves in parts", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  const length = 0x7000;
  for (const i of [0, 1, 2]) driver.descriptor(1, i, 0x8000_8000, length, i < 2 ? 1 : 0, i + 1);
  driver.offer(1, 0);
  const sizes = outputs(driver).map((line) => line.split(",").length);
  assertEquals(sizes, [65536, 3 * length - 65536]);
});

Deno.test("each port has input of its own, in as many buffers as it takes", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  const terminal = [0, 1].map((head) => {
    const [gpa] = driver.chain(0, head, [3]);
    driver.offer(0, head);
    return gpa!;
  });
  const [command] = driver.chain(4, 0, [8]);
  driver.offer(4, 0);
  assertEquals(driver.device.input!(0, text("abcde")), 5);
  assertEquals(driver.device.input!(1, text("run")), 3);
  assertEquals(driver.taken(0), [{ head: 0, length: 3 }, { head: 1, length: 2 }]);
  assertEquals(driver.taken(4), [{ head: 0, length: 3 }]);
  assertEquals(driver.bytes(terminal[0]!, 3), text("abc"));
  assertEquals(driver.bytes(terminal[1]!, 2), text("de"));
  assertEquals(driver.bytes(command!, 3), text("run"));
});

Deno.test("a port that does not exist takes nothing, and so does a device that is not up", () => {
  const driver = new VirtioDriver(declaration);
  assertEquals(driver.device.input!(0, text("a")), 0);
  driver.start(QUEUES);
  for (const port of [2, 3, 100]) assertEquals(driver.device.input!(port, text("a")), 0);
});

Deno.test("the terminal is a console port, it is open, and its size is told when it is known", () => {
  const driver = new VirtioDriver(declaration);
  driver.device.resize!(0, 80, 24);
  driver.start(QUEUES);
  send(driver, control(0, EVENT.portReady, 1), 0);
  const told = controlMessages(driver, [0, 1, 2, 3]);
  assertEquals(told[0], control(0, EVENT.consolePort, 1));
  assertEquals(told[1], control(0, EVENT.portOpen, 1));
  assertEquals(told[2]!.subarray(0, 8), control(0, EVENT.resize, 0));
  assertEquals(told.length, 3);
});

Deno.test("control messages wait for buffers, in order", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  send(driver, control(0, EVENT.deviceReady, 1), 0);
  for (const port of [1, 0]) send(driver, control(port, EVENT.portReady, 1), 1);
  assertEquals(driver.taken(CONTROL_RECEIVE), []);
  const told = controlMessages(driver, [0, 1, 2, 3, 4, 5]).map((
    [port, , , , event],
  ) => [port, event]);
  assertEquals(told, [
    [0, EVENT.portAdd],
    [1, EVENT.portAdd],
    [1, EVENT.portName],
    [1, EVENT.portOpen],
    [0, EVENT.consolePort],
    [0, EVENT.portOpen],
  ]);
});

// "The device MUST NOT specify a port which exists in a VIRTIO_CONSOLE_DEVICE_ADD message."
Deno.test("ports are added once, and again only after a reset", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  for (const head of [0, 1]) send(driver, control(0, EVENT.deviceReady, 1), head);
  assertEquals(controlMessages(driver, [0, 1, 2, 3]).length, 2);
  driver.start(QUEUES);
  send(driver, control(0, EVENT.deviceReady, 1), 0);
  assertEquals(controlMessages(driver, [0, 1, 2, 3]).length, 2);
});

Deno.test("a guest that takes no control messages loses further ones, and nothing breaks", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  for (let i = 0; i < 500; i++) send(driver, control(1, EVENT.portReady, 1), i % 16);
  const [first] = controlMessages(driver, [0]);
  assertEquals([first![0], first![4]], [1, EVENT.portName]);
  assertEquals(driver.read(REGISTER.status), 15);
});

Deno.test("control messages that are short, failures, or of unknown ports and events do nothing", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  const messages = [
    new Uint8Array(7),
    control(0, EVENT.deviceReady, 0),
    control(0, EVENT.portReady, 0),
    control(2, EVENT.portReady, 1),
    control(0xffff_ffff, EVENT.portReady, 1),
    control(0, 99, 1),
  ];
  messages.forEach((message, head) => send(driver, message, head));
  assertEquals(controlMessages(driver, [0, 1]), []);
  assertEquals(driver.taken(CONTROL_TRANSMIT).length, messages.length);
});

Deno.test("a driver without several ports has one terminal and gets no control messages", () => {
  const driver = new VirtioDriver(declaration);
  driver.negotiate(1n << 32n);
  for (const queue of [0, 1, CONTROL_RECEIVE]) driver.setUp(queue);
  driver.write(REGISTER.status, 15);
  driver.chain(1, 0, [text("hello")]);
  driver.offer(1, 0);
  driver.device.resize!(0, 80, 24);
  assertEquals(outputs(driver), [`output 0: ${text("hello")}`]);
  assertEquals(controlMessages(driver, [0]), []);
});

Deno.test("a reset drops control messages that wait, and keeps the terminal's size", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  driver.device.resize!(0, 132, 43);
  send(driver, control(0, EVENT.deviceReady, 1), 0);
  driver.start(QUEUES);
  assertEquals(controlMessages(driver, [0, 1]), []);
  assertEquals(driver.read(REGISTER.config), 43 << 16 | 132);
});
