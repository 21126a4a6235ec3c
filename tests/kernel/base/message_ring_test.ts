/** Claims about rings at the wrap of their counters, and damaged ones. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { ByteRing } from "../../../kernel/base/byte_ring.ts";
import { MessageRing } from "../../../kernel/base/message_ring.ts";
import { Prng } from "../../../kernel/base/prng.ts";

/** Both ends of a ring whose counters start just before they wrap. */
function ends(capacity: number): [ByteRing, ByteRing] {
  const shared = new SharedArrayBuffer(ByteRing.bytes(capacity));
  new Int32Array(shared, 0, 2).fill(-5);
  return [new ByteRing(shared, 0, capacity), new ByteRing(shared, 0, capacity)];
}

Deno.test("a byte ring takes what there is room for, in order, across both wraps", () => {
  const [writer, reader] = ends(16);
  assertEquals(writer.write(Uint8Array.from({ length: 20 }, (_, i) => i)), 16);
  assertEquals([writer.writable, reader.readable], [0, 16]);
  const into = new Uint8Array(10);
  assertEquals(reader.read(into), 10);
  assertEquals([...into], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals(writer.write(Uint8Array.of(90, 91)), 2);
  assertEquals(reader.read(into), 8);
  assertEquals([...into.subarray(0, 8)], [10, 11, 12, 13, 14, 15, 90, 91]);
});

Deno.test("a ring refuses counters that cannot be", () => {
  const shared = new SharedArrayBuffer(ByteRing.bytes(16));
  const ring = new ByteRing(shared, 0, 16);
  new Int32Array(shared, 0, 2)[1] = 17;
  assertThrows(() => ring.readable, Broken);
  assertThrows(() => new ByteRing(shared, 0, 12), Broken);
});

Deno.test("messages of random lengths come out as they went in", () => {
  const random = new Prng(1n);
  const [writer, reader] = ends(256).map((ring) => new MessageRing(ring)) as [
    MessageRing,
    MessageRing,
  ];
  const waiting: { kind: number; bytes: Uint8Array }[] = [];
  let through = 0;
  for (let i = 0; i < 10_000; i++) {
    if (random.below(2) === 0) {
      const message = { kind: random.below(65536), bytes: random.bytes(random.below(60)) };
      if (writer.tryWrite(message.kind, message.bytes)) waiting.push(message);
    } else {
      const got = reader.tryRead();
      const expected = waiting.shift();
      assertEquals(got?.kind, expected?.kind);
      assertEquals(got && [...got.bytes], expected && [...expected.bytes]);
      if (got) through++;
    }
  }
  assert(through > 1000);
});

Deno.test("a message longer than the ring is our mistake", () => {
  const [ring] = ends(16);
  assertThrows(() => new MessageRing(ring).tryWrite(1, new Uint8Array(11)), Broken);
});
