/** The network device against Virtual I/O Device 1.2, section 5.1. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const HEADER = 12;
const FRAME = Uint8Array.from({ length: 60 }, (_, i) => i + 1);

Deno.test("a frame leaves without its header, and one that is too long not at all", () => {
  const driver = new VirtioDriver(declaration).start(2);
  driver.chain(1, 0, [new Uint8Array(HEADER), FRAME]);
  driver.offer(1, 0);
  assertEquals(driver.around.log.filter((line) => line.startsWith("frame")), [`frame ${FRAME}`]);
  driver.chain(1, 2, [new Uint8Array(HEADER), new Uint8Array(1519)]);
  driver.offer(1, 2);
  assertEquals(driver.taken(1).map(({ head }) => head), [0, 2]);
  assertEquals(driver.around.log.filter((line) => line.startsWith("frame")).length, 1);
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
