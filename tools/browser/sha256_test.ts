/** The hash against the host's. */
import { assertEquals } from "@std/assert";
import { hostCompression } from "../../kernel/host/compression.ts";
import { Sha256 } from "./sha256.ts";

Deno.test("the hash of every length around a block's, in one part and in two, is the host's", () => {
  const bytes = Uint8Array.from({ length: 200 }, (_, i) => i * 7);
  for (let length = 0; length <= bytes.length; length++) {
    const whole = bytes.subarray(0, length);
    const expected = hostCompression.sha256();
    expected.add(whole);
    const digest = expected.hex();
    for (const cut of [0, 1, length >> 1, Math.min(length, 64)]) {
      const hash = new Sha256();
      hash.add(whole.subarray(0, cut));
      hash.add(whole.subarray(cut));
      assertEquals(hash.hex(), digest, `${length} bytes, cut at ${cut}`);
    }
  }
});

Deno.test("the hash of FIPS 180-4's example, and of a long one", () => {
  const hash = new Sha256();
  hash.add(new TextEncoder().encode("abc"));
  const known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assertEquals(hash.hex(), known);
  const [long, host] = [new Sha256(), hostCompression.sha256()];
  const part = Uint8Array.from({ length: 1_000_003 }, (_, i) => i);
  for (let i = 0; i < 5; i++) {
    long.add(part);
    host.add(part);
  }
  assertEquals(long.hex(), host.hex());
});
