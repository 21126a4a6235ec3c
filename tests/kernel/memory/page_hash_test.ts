/** Hashes of VM memory: what they cover, that they find single bits wherever they are, and zero pages. */
import { assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { PageHash } from "../../../kernel/memory/page_hash.ts";
import { planMemory } from "../../../kernel/memory/memory_plan.ts";

const PAGES = 4;
const plan = planMemory({
  ramBytes: PAGES * 4096,
  harts: 1,
  deviceStateBytes: 64,
  tlbEntries: 16,
  cacheElements: 1,
  decodedPages: 2,
  nondetEntries: 0,
});

function memory(): { hash: PageHash; ram: Uint8Array } {
  const memory = new WebAssembly.Memory({
    initial: plan.wasmPages,
    maximum: plan.wasmPages,
    shared: true,
  });
  const ram = new Uint8Array(memory.buffer, plan.ram, plan.ramBytes);
  return { hash: new PageHash(memory, plan), ram };
}

Deno.test("every bit of a page changes its hash, each to another one of 64 bits", () => {
  const { hash, ram } = memory();
  new Prng(1).fill(ram.subarray(4096, 8192));
  const long = () => hash.long(plan.ram + 4096, 4096);
  const seen = new Set([long()]);
  const before = hash.page(1);
  let same = 0;
  for (let bit = 0; bit < 4096 * 8; bit++) {
    ram[4096 + (bit >> 3)]! ^= 1 << (bit & 7);
    seen.add(long());
    if (hash.page(1) === before) same++;
    ram[4096 + (bit >> 3)]! ^= 1 << (bit & 7);
  }
  assertEquals([seen.size, same], [4096 * 8 + 1, 0]);
});

Deno.test("top bits of a word are not cancelled by a bit of the lane's next word", () => {
  const { hash, ram } = memory();
  new Prng(2).fill(ram.subarray(0, 4096));
  const before = hash.page(0);
  let same = 0;
  for (let top = 56; top < 64; top++) {
    ram[top >> 3]! ^= 1 << (top & 7);
    for (let bit = 0; bit < 64; bit++) {
      ram[64 + (bit >> 3)]! ^= 1 << (bit & 7);
      if (hash.page(0) === before) same++;
      ram[64 + (bit >> 3)]! ^= 1 << (bit & 7);
    }
    ram[top >> 3]! ^= 1 << (top & 7);
  }
  assertEquals(same, 0);
});

Deno.test("words that change places change the hash; where a page lies does not", () => {
  const { hash, ram } = memory();
  ram[0] = 1;
  ram[4096] = 1;
  assertEquals(hash.page(0), hash.page(1));
  const places = new Set<number>();
  for (let word = 0; word < 512; word++) {
    ram.fill(0, 8192, 12288);
    ram[8192 + 8 * word] = 1;
    places.add(hash.page(2));
  }
  assertEquals(places.size, 512);
});

Deno.test("a page is zero if all of its bytes are", () => {
  const { hash, ram } = memory();
  for (const at of [0, 1, 63, 64, 2047, 4095]) {
    assertEquals(hash.isZero(1), true);
    ram[4096 + at] = 1;
    assertEquals([hash.isZero(0), hash.isZero(1), hash.isZero(2)], [true, false, true]);
    ram[4096 + at] = 0;
  }
});

Deno.test("the hash of RAM depends on content and place; pages of zeros do not count", () => {
  const { hash, ram } = memory();
  const seen = new Set([hash.ram()]);
  for (let page = 0; page < PAGES; page++) {
    ram.fill(0);
    ram[page * 4096] = 1;
    seen.add(hash.ram());
  }
  assertEquals(seen.size, PAGES + 1);
});

Deno.test("bytes are hashed to their end, in whole words", () => {
  const { hash, ram } = memory();
  const lengths = [0, 8, 56, 64, 72, 136].map((length) => hash.long(plan.ram, length));
  assertEquals(new Set(lengths).size, lengths.length);
  for (const length of [8, 72, 136]) {
    const before = [hash.bytes(plan.ram, length), hash.bytes(plan.ram, length - 8)];
    ram[length - 1] = 5;
    const after = [hash.bytes(plan.ram, length), hash.bytes(plan.ram, length - 8)];
    assertEquals([after[0] === before[0], after[1] === before[1]], [false, true]);
  }
  assertThrows(() => hash.bytes(plan.ram, 12), Broken, "whole words");
  assertThrows(() => hash.page(PAGES), Broken, "does not exist");
});
