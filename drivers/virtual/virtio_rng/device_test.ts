/** The entropy device against Virtual I/O Device 1.2, section 5.4. */
import { assertEquals } from "@std/assert";
import { deviceConformance } from "../../../tests/_support/conformance/device.ts";
import { VirtioDriver } from "../../../tests/_support/virtio_driver.ts";
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
