/**
 * Putting RAM back to moments of the past, against whole copies of RAM; what was decoded and what tables led
 * to goes with the content that it came from; and the limit.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { Prng } from "../../kernel/base/prng.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { PageUndo } from "../../kernel/memory/page_undo.ts";
import { encode } from "../../tools/asm/encode.ts";
import { type BareCore, RAM } from "../_support/bare_core.ts";
import { entryFor, LEAF } from "../_support/page_tables.ts";
import { DATA, PrivilegedCore } from "../_support/privileged.ts";
import { forSeeds } from "../_support/tiers.ts";
import { Translation } from "./translation.ts";

const PLENTY = 64 << 20;
const page = (address: number) => (address - RAM) / 4096 | 0;

function undoOf({ core }: BareCore, limitBytes = PLENTY): PageUndo {
  return new PageUndo({
    buffer: core.buffer,
    plan: core.plan,
    flags: core.flags,
    limitBytes,
    isZero: (at) => core.hash.isZero(at),
    wrote: (gpa, length) => core.exports.dmaWrote(BigInt(gpa), length),
  });
}

/** Stores by instructions that lie outside what is undone. */
class Writer {
  readonly hart = new PrivilegedCore();
  readonly memory: GuestMemory;

  constructor() {
    const { core } = this.hart;
    this.hart.load(Array.from({ length: 16 }, () => encode("sd", { rs1: 11, rs2: 12 })), RAM);
    this.memory = new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
      core.exports.dmaWrote(BigInt(gpa), length);
    });
  }

  store(address: number, value: bigint): void {
    this.hart.setX(11, BigInt(address));
    this.hart.setX(12, value);
    this.hart.set("pc", BigInt(RAM));
    this.hart.run(1);
  }

  copy(pages: number): Uint8Array {
    const { buffer, plan } = this.hart.core;
    return new Uint8Array(buffer, plan.ram + DATA - RAM, pages * 4096).slice();
  }
}

const PAGES = 40;

function writeSomething(writer: Writer, rng: Prng): void {
  for (let i = rng.below(30); i > 0; i--) {
    const address = DATA + rng.below(PAGES * 512 - 64) * 8;
    const value = rng.below(3) === 0 ? 0n : rng.u64();
    if (rng.below(4) > 0) writer.store(address, value);
    else writer.memory.write(address, rng.bytes(rng.below(500)));
  }
}

Deno.test("random writes, undone, merged and dropped, are what whole copies say", () => {
  let undone = 0;
  forSeeds(30, (seed, rng) => {
    const writer = new Writer();
    const undo = undoOf(writer.hart);
    const kept = new Map<number, Uint8Array>();
    const numbers = () => undo.intervals.map(({ interval }) => interval);
    for (let step = 0; step < 60; step++) {
      writeSomething(writer, rng);
      const list = numbers();
      switch (rng.below(6)) {
        case 0: {
          if (list.length === 0) break;
          const interval = rng.pick(list);
          undo.undoTo(interval);
          assertEquals(writer.copy(PAGES), kept.get(interval), `seed ${seed} step ${step}`);
          assertEquals(numbers().at(-1), interval);
          undone++;
          break;
        }
        case 1:
          if (list.length < 2) break;
          undo.merge(list[rng.below(list.length - 1)]!);
          break;
        case 2:
          if (rng.below(4) === 0) undo.drop();
          else if (rng.below(10) === 0) undo.stop();
          break;
        default:
          kept.set(undo.begin(), writer.copy(PAGES));
      }
      const bytes = undo.intervals.reduce((sum, interval) => sum + interval.bytes, 0);
      assertEquals(undo.bytes, bytes, `seed ${seed} step ${step}`);
    }
  });
  assert(undone > 100, `only ${undone} intervals were undone`);
});

Deno.test("an interval keeps a page once, and pages of zeros without a copy", () => {
  const writer = new Writer();
  const undo = undoOf(writer.hart);
  writer.store(DATA + 4096, 1n);
  undo.begin();
  for (let i = 0; i < 5; i++) {
    writer.store(DATA + 8 * i, 5n);
    writer.store(DATA + 4096 + 8 * i, 5n);
  }
  assertEquals(undo.intervals, [{ interval: 0, pages: 2, bytes: 4096 + 16 }]);
  undo.begin();
  writer.store(DATA, 6n);
  assertEquals(undo.intervals[1], { interval: 1, pages: 1, bytes: 4096 + 8 });
});

Deno.test("merging the open interval keeps what it has kept, and asks for no page twice", () => {
  const writer = new Writer();
  const undo = undoOf(writer.hart);
  writer.store(DATA, 1n);
  const first = undo.begin();
  writer.store(DATA, 2n);
  undo.begin();
  undo.merge(first);
  assertEquals(writer.hart.core.flags.get(page(DATA)) & PAGE_FLAG.frozen, 0);
  writer.store(DATA, 3n);
  assertEquals(undo.intervals, [{ interval: first, pages: 1, bytes: 4096 + 8 }]);
  undo.undoTo(first);
  assertEquals(writer.hart.memory(DATA), 1n);
  assertThrows(() => undo.merge(first), Broken, "no interval lies behind");
});

Deno.test("the oldest intervals go when copies reach the limit, and one that is too large goes as well", () => {
  const writer = new Writer();
  for (let at = 0; at < 8; at++) writer.store(DATA + 4096 * at, 1n);
  const undo = undoOf(writer.hart, 3 * 4096);
  const [first, second] = [undo.begin(), undo.begin()];
  assert(undo.has(first) && undo.has(second));
  writer.store(DATA, 2n);
  const third = undo.begin();
  for (let at = 1; at < 4; at++) writer.store(DATA + 4096 * at, 2n);
  assertEquals([undo.has(first), undo.has(second), undo.has(third)], [false, false, true]);
  assertEquals(undo.bytes, 3 * 4096 + 3 * 8);
  writer.store(DATA + 4096 * 5, 2n);
  assertEquals([undo.has(third), undo.bytes, undo.intervals], [false, 0, []]);
  assertThrows(() => undo.undoTo(third), Broken, "is not kept");
  const fourth = undo.begin();
  writer.store(DATA + 4096 * 5, 3n);
  undo.undoTo(fourth);
  assertEquals(writer.hart.memory(DATA + 4096 * 5), 2n);
});

Deno.test("code that was undone is decoded anew, and code beside what changed is not", () => {
  const hart = new PrivilegedCore();
  const routine = RAM + 0x5_0000;
  const answer = (value: number) => encode("addi", { rd: 10, imm: value });
  const result = () => {
    hart.set("pc", BigInt(routine));
    hart.run(1);
    return hart.x(10);
  };
  hart.load([answer(1)], routine);
  hart.load([answer(9)], routine + 2048);
  const undo = undoOf(hart);
  const interval = undo.begin();
  const memory = new GuestMemory(hart.core.buffer, hart.core.plan, hart.core.flags, () => {});
  assertEquals(result(), 1n);
  const decodedFar = () => {
    hart.set("pc", BigInt(routine + 2048));
    hart.run(1);
    return hart.core.decodedPages.decodedBits(page(routine))![1024 >> 3]! & 1;
  };
  assertEquals(decodedFar(), 1);
  memory.setInteger(routine, 4, answer(2));
  hart.core.exports.dmaWrote(BigInt(routine), 4);
  assertEquals(result(), 2n);
  const far = () => hart.core.decodedPages.decodedBits(page(routine))![1024 >> 3]! & 1;
  undo.undoTo(interval);
  assertEquals([far(), result()], [1, 1n]);
});

Deno.test("what came from a page table that was undone is walked anew", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const address = 0x1000_0000n;
  hart.setMemory(DATA, 1n);
  hart.setMemory(DATA + 4096, 2n);
  const slot = tables.map(address, DATA, LEAF.all);
  const undo = undoOf(hart);
  const interval = undo.begin();
  const memory = new GuestMemory(hart.core.buffer, hart.core.plan, hart.core.flags, (gpa, n) => {
    hart.core.exports.dmaWrote(BigInt(gpa), n);
  });
  hart.access("load", address);
  assertEquals(hart.x(10), 1n);
  memory.setInteger(slot, 4, Number(entryFor(DATA + 4096, LEAF.all)));
  hart.access("load", address);
  assertEquals(hart.x(10), 2n);
  undo.undoTo(interval);
  hart.access("load", address);
  assertEquals(hart.x(10), 1n);
});

Deno.test("nothing is paid when no interval was begun, and none after stop", () => {
  const writer = new Writer();
  const undo = undoOf(writer.hart);
  const { flags, plan } = writer.hart.core;
  assertEquals(flags.pagesWithout(PAGE_FLAG.frozen).length, plan.ramPages);
  undo.begin();
  assertEquals(flags.pagesWithout(PAGE_FLAG.frozen).length, 0);
  writer.store(DATA, 1n);
  undo.stop();
  assertEquals([undo.bytes, undo.count], [0, 0]);
  assertEquals(flags.pagesWithout(PAGE_FLAG.frozen).length, plan.ramPages);
});
