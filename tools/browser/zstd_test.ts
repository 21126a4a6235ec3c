/** The unpacker against the host's packer, and against what is none of it. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { hostCompression } from "../../kernel/host/compression.ts";
import { unpackZstd } from "./zstd.ts";

/** Bytes that compress somewhat. */
function sample(length: number): Uint8Array {
  const prng = new Prng(length);
  return Uint8Array.from({ length }, () => prng.below(6) * prng.below(40));
}

Deno.test("what the host packs is unpacked, whatever its length", () => {
  for (const length of [1, 17, 255, 256, 5000, 131_072, 131_073, 700_000, 3_000_000]) {
    const bytes = sample(length);
    const unpacked = unpackZstd(hostCompression.pack(bytes), length);
    assert(unpacked.length === length && unpacked.every((byte, i) => byte === bytes[i]));
  }
});

Deno.test("another length than was announced, and a cut form, are refused", () => {
  const packed = hostCompression.pack(sample(10_000));
  assertThrows(() => unpackZstd(packed, 9_999), Error, "expected 9999 bytes of zstd, found more");
  assertThrows(
    () => unpackZstd(packed, 10_001),
    Error,
    "expected 10001 bytes of zstd, found 10000",
  );
  assertThrows(() => unpackZstd(packed.slice(0, -5), 10_000));
  assertThrows(() => unpackZstd(new Uint8Array(100), 100));
});

Deno.test("damaged forms end, with an error or with as many bytes as were announced", () => {
  const prng = new Prng(1);
  const packed = hostCompression.pack(sample(4096));
  let refused = 0;
  for (let i = 0; i < 500; i++) {
    const damaged = packed.slice();
    damaged[prng.below(damaged.length)]! ^= 1 << prng.below(8);
    try {
      assertEquals(unpackZstd(damaged, 4096).length, 4096);
    } catch {
      refused++;
    }
  }
  assert(refused > 0 && refused < 500);
});
