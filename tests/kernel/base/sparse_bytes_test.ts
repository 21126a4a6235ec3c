/** Claims about bytes without their zeros. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../../kernel/base/errors.ts";
import { decodeSparse, encodeSparse } from "../../../kernel/base/sparse_bytes.ts";

const run = fc.record({
  zero: fc.boolean(),
  length: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 140_000 })),
});

Deno.test("any runs of zeros and others are what they were", () => {
  fc.assert(fc.property(fc.array(run, { maxLength: 8 }), (runs) => {
    const parts = runs.map(({ zero, length }) =>
      new Uint8Array(length).map((_, i) => zero ? 0 : 1 + i % 255)
    );
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    assertEquals(decodeSparse(encodeSparse(bytes), bytes.length), bytes);
  }));
});

Deno.test("a page with a word here and there takes little", () => {
  const bytes = new Uint8Array(4096);
  for (let at = 0; at < bytes.length; at += 256) bytes[at + 3] = 1;
  assertEquals(encodeSparse(bytes).length, 16 * 5 + 4);
  assertEquals(encodeSparse(new Uint8Array(0)).length, 0);
});

Deno.test("whatever is said, so many bytes come out or it is refused", () => {
  const arbitrary = fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 0, max: 500 }));
  fc.assert(fc.property(arbitrary, ([sparse, length]) => {
    try {
      assertEquals(decodeSparse(sparse, length).length, length);
    } catch (error) {
      assert(error instanceof FormatError);
    }
  }));
  const good = encodeSparse(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 8));
  assertThrows(() => decodeSparse(good, 10), FormatError, "longer than");
  assertThrows(() => decodeSparse(good, 12), FormatError, "11 of 12 bytes");
  assertThrows(() => decodeSparse(good.subarray(0, 3), 11), FormatError, "is cut");
});
