/** The console against Virtual I/O Device 1.2, section 5.3. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import { REGISTER } from "../virtio/registers.ts";
import { EVENT, PORT_NAMES, QUEUES } from "./device.ts";
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

Deno.test("what the guest sends on a port leaves by that port", () => {
  const driver = new VirtioDriver(declaration).start(QUEUES);
  const text = (words: string) => new TextEncoder().encode(words);
  driver.chain(1, 0, [text("terminal")]);
  driver.offer(1, 0);
  driver.chain(5, 0, [text("command")]);
  driver.offer(5, 0);
  const sent = driver.around.log.filter((line) => line.startsWith("output"));
  assertEquals(sent, [`output 0: ${text("terminal")}`, `output 1: ${text("command")}`]);
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
});
