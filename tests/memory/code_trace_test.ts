/**
 * Instructions that change after they were decoded (unprivileged ISA, "Zifencei"): by the hart itself,
 * by another hart, by DMA, through another mapping. "FENCE.I … ensures that a subsequent instruction
 * fetch on a RISC-V hart will see any previous data stores already visible to the same RISC-V hart."
 *
 * Invariant tested: what is executed is what memory holds, from the next fence.i on at the latest.
 */
import { assertEquals } from "@std/assert";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { LEAF } from "../_support/page_tables.ts";
import { CODE, NOP, PrivilegedCore } from "../_support/privileged.ts";
import { Translation } from "./translation.ts";

const FENCE = encode("fence.i");
const RETURN = encode("jalr", { rs1: 1 });
const BACK = CODE + 0x100;
/** A routine that puts a number into x10. */
const answer = (value: number) => encode("addi", { rd: 10, imm: value });
const pageOf = (address: number) => (address - RAM) / 4096 | 0;

/** Calls the routine at an address and gives what it answered. */
function call(hart: PrivilegedCore, address: number, instructions = 2): bigint {
  hart.core.setWord(0, "privilege", 3);
  hart.setX(10, 0n);
  hart.setX(1, BigInt(BACK));
  hart.set("pc", BigInt(address));
  hart.run(instructions);
  assertEquals(hart.get("pc"), BigInt(BACK), "the routine returned");
  return hart.x(10);
}

/** Has the hart itself write a word with a store of some width, and a fence.i behind it. */
function patch(hart: PrivilegedCore, address: number, value: number, store = "sw"): void {
  hart.core.setWord(0, "privilege", 3);
  hart.setX(12, BigInt(value));
  hart.setX(13, BigInt(address));
  hart.program([encode(store, { rs1: 13, rs2: 12 }), FENCE]);
  hart.run(2);
}

const ROUTINE = RAM + 0x5_0000;

Deno.test("code that was decoded carries the code trace, and data does not", () => {
  const hart = new PrivilegedCore();
  hart.load([answer(1), RETURN], ROUTINE);
  assertEquals(hart.core.flags.get(pageOf(ROUTINE)) & PAGE_FLAG.code, 0);
  call(hart, ROUTINE);
  assertEquals(hart.core.flags.get(pageOf(ROUTINE)) & PAGE_FLAG.code, PAGE_FLAG.code);
});

Deno.test("a store to code of every width is executed after fence.i", () => {
  const hart = new PrivilegedCore();
  hart.load([answer(1), RETURN], ROUTINE);
  assertEquals(call(hart, ROUTINE), 1n);
  patch(hart, ROUTINE, answer(2));
  assertEquals(call(hart, ROUTINE), 2n);
  // The immediate's low half lies in bits 31 to 20: a halfword and a byte of it.
  patch(hart, ROUTINE + 2, answer(3) >>> 16, "sh");
  assertEquals(call(hart, ROUTINE), 3n);
  patch(hart, ROUTINE + 3, 5, "sb");
  assertEquals(call(hart, ROUTINE), BigInt(0x50 + 3));
  hart.setX(14, 0n);
  hart.setMemory(ROUTINE + 64, BigInt(answer(6)) | BigInt(RETURN) << 32n);
  hart.core.setWord(0, "privilege", 3);
  hart.setX(12, hart.memory(ROUTINE + 64));
  hart.setX(13, BigInt(ROUTINE));
  hart.program([encode("sd", { rs1: 13, rs2: 12 }), FENCE]);
  hart.run(2);
  assertEquals(call(hart, ROUTINE), 6n);
});

Deno.test("atomics and cbo.zero drop decoded code too", () => {
  const hart = new PrivilegedCore();
  const routine = ROUTINE + 0x1000;
  for (const [i, name] of ["amoswap.w", "amoadd.w", "sc.w"].entries()) {
    hart.load([answer(0x70), RETURN], routine);
    assertEquals(call(hart, routine), 0x70n);
    hart.core.setWord(0, "privilege", 3);
    const difference = answer(i + 1) - answer(0x70);
    hart.setX(12, name === "amoadd.w" ? BigInt(difference) : BigInt(answer(i + 1)));
    hart.setX(13, BigInt(routine));
    hart.program([
      encode("lr.w", { rd: 14, rs1: 13 }),
      encode(name, { rd: 14, rs1: 13, rs2: 12 }),
      FENCE,
    ]);
    hart.run(3);
    assertEquals(call(hart, routine), BigInt(i + 1), name);
  }
  hart.program([encode("cbo.zero", { rs1: 13 }), FENCE]);
  hart.run(2);
  hart.set("pc", BigInt(routine));
  assertEquals(hart.step()?.cause, 2n, "zeros are no instruction");
});

Deno.test("an instruction on two pages changes with either page", () => {
  const hart = new PrivilegedCore();
  const at = ROUTINE + 4094;
  const write = (word: number, step: (address: number, half: number) => void) => {
    step(at, word & 0xffff);
    step(at + 2, word >>> 16);
  };
  const store = (address: number, half: number) => patch(hart, address, half, "sh");
  hart.load([RETURN], at + 4);
  write(answer(1), store);
  assertEquals(call(hart, at), 1n);
  store(at + 2, answer(2) >>> 16);
  assertEquals(call(hart, at), 2n);
  store(at, encode("addi", { rd: 11, imm: 2 }) & 0xffff);
  assertEquals(call(hart, at), 0n, "it answers in x11 now");
  assertEquals(hart.x(11), 2n);
});

Deno.test("a store that crosses into a code page changes the code on both sides", () => {
  const hart = new PrivilegedCore();
  const end = ROUTINE + 0x3000;
  hart.load([answer(1)], end - 4);
  hart.load([RETURN, answer(9)], end);
  assertEquals(call(hart, end - 4), 1n);
  // Eight bytes at end - 2: half of the first instruction and all of the second.
  hart.core.setWord(0, "privilege", 3);
  const bytes = BigInt(answer(7) >>> 16) |
    BigInt(encode("addi", { rd: 10, rs1: 10, imm: 1 })) << 16n;
  hart.setX(12, bytes | BigInt(RETURN & 0xffff) << 48n);
  hart.setX(13, BigInt(end - 2));
  hart.program([encode("sd", { rs1: 13, rs2: 12 }), FENCE]);
  hart.run(2);
  patch(hart, end + 4, RETURN);
  assertEquals(call(hart, end - 4, 3), 8n);
});

Deno.test("turning a long instruction into two short ones, and back, is seen", () => {
  const hart = new PrivilegedCore();
  const routine = ROUTINE + 0x2000;
  const short = (value: number) => 0x4501 | value << 2;
  hart.load([answer(1), RETURN], routine);
  assertEquals(call(hart, routine), 1n);
  patch(hart, routine, short(2) | short(3) << 16);
  assertEquals(call(hart, routine, 3), 3n);
  patch(hart, routine, answer(4));
  assertEquals(call(hart, routine), 4n);
});

Deno.test("code changed by DMA is what runs next", () => {
  const hart = new PrivilegedCore();
  const { core } = hart;
  const memory = new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
    core.exports.dmaWrote(BigInt(gpa), length);
  });
  const routine = ROUTINE + 0x4000 - 4;
  const image = (value: number) => new Uint8Array(Uint32Array.of(answer(value), RETURN).buffer);
  // The routine's two instructions lie on two pages, and the transfer covers both.
  for (const value of [1, 2, 3]) {
    assertEquals(memory.write(routine, image(value)), true);
    assertEquals(call(hart, routine), BigInt(value));
  }
  const long = new Uint8Array(3 * 4096);
  long.set(image(4), 4096 - 4);
  memory.write(routine - 4092, long);
  assertEquals(call(hart, routine), 4n);
});

Deno.test("code that another hart changes is seen by the first after its fence.i", () => {
  const hart = new PrivilegedCore({ harts: 2 });
  hart.load([answer(1), RETURN], ROUTINE);
  assertEquals(call(hart, ROUTINE), 1n);
  const { core } = hart;
  core.setRegister(1, "pc", BigInt(CODE + 0x800));
  core.setRegister(1, "x", BigInt(answer(2)), 12);
  core.setRegister(1, "x", BigInt(ROUTINE), 13);
  hart.load([encode("sw", { rs1: 13, rs2: 12 })], CODE + 0x800);
  core.switchTo(1);
  hart.run(1);
  core.switchTo(0);
  hart.program([FENCE]);
  hart.run(1);
  assertEquals(call(hart, ROUTINE), 2n);
});

Deno.test("code changed through another mapping of its page is what runs", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const [execute, write] = [0x4000_0000n, 0x5000_0000n];
  hart.load([answer(1), NOP], ROUTINE);
  tables.map(execute, ROUTINE, LEAF.V | LEAF.R | LEAF.X | LEAF.A);
  tables.map(write, ROUTINE, LEAF.V | LEAF.R | LEAF.W | LEAF.A | LEAF.D);
  for (const value of [1, 2, 3]) {
    hart.setX(12, BigInt(answer(value)) | BigInt(NOP) << 32n);
    assertEquals(hart.access("store", write), 0);
    assertEquals(hart.access("fetch", execute), 0);
    assertEquals(hart.x(10), BigInt(value));
  }
});

Deno.test("code that rewrites the instruction ahead of it runs the new one after fence.i", () => {
  const hart = new PrivilegedCore();
  const words = (patched: number) => [
    encode("sw", { rs1: 13, rs2: 12 }),
    FENCE,
    patched,
    RETURN,
  ];
  hart.setX(13, BigInt(ROUTINE + 8));
  hart.load(words(answer(1)), ROUTINE);
  for (const value of [2, 3, 4]) {
    hart.setX(12, BigInt(answer(value)));
    assertEquals(call(hart, ROUTINE, 4), BigInt(value));
  }
});

Deno.test("more code pages than are kept decoded run as they stand in memory", () => {
  const hart = new PrivilegedCore({ decodedPages: 3 });
  const pages = [0, 1, 2, 3, 4, 5, 6].map((i) => ROUTINE + 0x1000 * i);
  pages.forEach((page, i) => hart.load([answer(i), RETURN], page));
  for (let round = 0; round < 3; round++) {
    for (const [i, page] of pages.entries()) {
      assertEquals(call(hart, page), BigInt(i + 100 * round));
      patch(hart, page, answer(i + 100 * (round + 1)));
    }
  }
});

Deno.test("forgetting all decoded pages changes nothing that is executed", () => {
  const hart = new PrivilegedCore();
  hart.load([answer(1), RETURN], ROUTINE);
  assertEquals(call(hart, ROUTINE), 1n);
  hart.core.decodedPages.clear();
  assertEquals(hart.core.flags.get(pageOf(ROUTINE)), 0);
  // Memory replaced from outside, without a word to anyone, as a restore does.
  new Uint32Array(hart.core.buffer, hart.core.plan.ram + ROUTINE - RAM, 1)[0] = answer(5);
  assertEquals(call(hart, ROUTINE), 5n);
});
