/** Claims about rings in shared memory. */
import { assertEquals } from "@std/assert";
import { ByteRing } from "../../../kernel/base/byte_ring.ts";
import { MessageRing } from "../../../kernel/base/message_ring.ts";
import { Prng } from "../../../kernel/base/prng.ts";

function ring(capacity: number): ByteRing {
  return new ByteRing(new SharedArrayBuffer(ByteRing.bytes(capacity)), 0, capacity);
}

Deno.test("ByteRing gives back what was written, in order, around its end", () => {
  const random = new Prng(1);
  const r = ring(64);
  const model: number[] = [];
  for (let i = 0; i < 5000; i++) {
    const bytes = random.bytes(random.below(40));
    const written = r.write(bytes);
    assertEquals(written, Math.min(bytes.length, 64 - model.length));
    model.push(...bytes.subarray(0, written));
    const into = new Uint8Array(random.below(40));
    const read = r.read(into);
    assertEquals([...into.subarray(0, read)], model.splice(0, read));
    assertEquals(r.readable, model.length);
  }
});

Deno.test("MessageRing writes a message whole or not at all", () => {
  const messages = new MessageRing(ring(64));
  assertEquals(messages.tryRead(), undefined);
  assertEquals(messages.tryWrite(7, new Uint8Array(50).fill(3)), true);
  assertEquals(messages.tryWrite(8, new Uint8Array(10)), false);
  assertEquals(messages.tryRead(), { kind: 7, bytes: new Uint8Array(50).fill(3) });
  assertEquals(messages.tryWrite(8, new Uint8Array(0)), true);
  assertEquals(messages.tryRead(), { kind: 8, bytes: new Uint8Array(0) });
});
