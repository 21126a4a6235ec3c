/** Claims about assertions, errors, sizes, bytes, the generator and the digest. */
import { assertEquals, assertNotEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { assert, Broken, unreachable } from "../../../kernel/base/assert.ts";
import { concatBytes, latin1 } from "../../../kernel/base/bytes.ts";
import { Digest } from "../../../kernel/base/checksum.ts";
import { ConfigError, FormatError, HostError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { formatSize, GiB, KiB, MiB, parseSize } from "../../../kernel/base/units.ts";

Deno.test("assert() passes what holds and throws Broken for what does not", () => {
  assert(true);
  assertThrows(() => assert(false, "two and two"), Broken, "two and two");
  assertThrows(() => unreachable(), Broken);
});

Deno.test("errors name their kind and keep their cause", () => {
  const cause = new Error("no such file");
  for (const Kind of [HostError, ConfigError, FormatError]) {
    const error = new Kind("disk.raw", { cause });
    assertEquals([error.name, error.message], [Kind.name, "disk.raw"]);
    assertStrictEquals(error.cause, cause);
  }
});

Deno.test("parseSize() reads K, M and G with and without B, and refuses everything else", () => {
  const known: [string, number][] = [
    ["65536", 65536],
    ["64K", 64 * KiB],
    ["512M", 512 * MiB],
    ["512MiB", 512 * MiB],
    ["3g", 3 * GiB],
    [" 1 GB ", GiB],
    ["0", 0],
  ];
  for (const [text, bytes] of known) assertEquals(parseSize(text), bytes);
  for (const text of ["", "M", "-1M", "1.5G", "1T", "0x10", "1M1", "1 M M"]) {
    assertThrows(() => parseSize(text), ConfigError);
  }
});

Deno.test("formatSize() writes what parseSize() reads back, where a unit divides it", () => {
  for (const bytes of [0, 1, 1023, KiB, 64 * KiB, MiB, 512 * MiB, 3 * GiB]) {
    assertEquals(parseSize(formatSize(bytes)), bytes);
  }
  assertEquals(formatSize(1536 * MiB), "1.5G");
});

Deno.test("concatBytes() keeps order and gives a single part back as it is", () => {
  const part = Uint8Array.of(1, 2);
  assertStrictEquals(concatBytes([part]), part);
  assertEquals([...concatBytes([part, new Uint8Array(0), Uint8Array.of(3)])], [1, 2, 3]);
  assertEquals(concatBytes([]).length, 0);
  assertEquals(latin1(Uint8Array.of(0x41, 0xff)), "A\u00ff");
});

Deno.test("Prng gives equal sequences for equal seeds, goes on from lent words, and stays in bounds", () => {
  const draw = (random: Prng) => Array.from({ length: 50 }, () => random.u32());
  assertEquals(draw(new Prng(7)), draw(new Prng(7n)));
  assertNotEquals(draw(new Prng(7)), draw(new Prng(8)));
  assertNotEquals(draw(new Prng(1n << 40n)), draw(new Prng(0)));
  const words = new Uint32Array(4);
  const first = new Prng(3, words);
  draw(first);
  const copy = new Prng(999, words.slice());
  assertEquals(draw(first), draw(copy));
  const random = new Prng(5);
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 6000; i++) counts[random.below(6)]!++;
  for (const count of counts) assert(count > 850 && count < 1150, `${counts}`);
  assertEquals(random.below(1), 0);
  assert(random.u64() < 1n << 64n);
});

Deno.test("Digest changes with every bit, with order and with length", () => {
  const digest = (words: number[]) => {
    const sum = new Digest();
    sum.words(Uint32Array.from(words));
    return sum.hex();
  };
  const words = [1, 2, 3, 4];
  assertEquals(digest(words), digest([...words]));
  const seen = new Set([digest(words), digest([2, 1, 3, 4]), digest([1, 2, 3, 4, 0]), digest([])]);
  for (let bit = 0; bit < 32; bit++) seen.add(digest([1, 2 ^ 1 << bit, 3, 4]));
  assertEquals(seen.size, 36);
  assertEquals(/^[0-9a-f]{16}$/.test(digest(words)), true);
});
