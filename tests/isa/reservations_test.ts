/**
 * LR and SC (unprivileged ISA, "Zalrsc"). A reservation is on a physical address and lasts until the
 * next LR or SC of its hart, until another hart has had a turn, or until a device writes the bytes.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { LEAF } from "../_support/page_tables.ts";
import { CODE, DATA, MSTATUS, NOP, PrivilegedCore } from "../_support/privileged.ts";
import { Translation } from "../memory/translation.ts";

const RESERVE = encode("lr.d", { rd: 10, rs1: 11 });
const OTHER_RESERVE = encode("lr.d", { rd: 10, rs1: 14 });
const STORE = encode("sc.d", { rd: 13, rs1: 11, rs2: 12 });

/** Runs words with x11 = DATA, x14 = DATA + 64, x12 = 9; gives x13 and what memory holds. */
function outcome(words: readonly number[], between?: (hart: PrivilegedCore) => void): bigint[] {
  const hart = new PrivilegedCore({ harts: 2 });
  hart.setMemory(DATA, 5n);
  hart.setX(11, BigInt(DATA));
  hart.setX(14, BigInt(DATA + 64));
  hart.setX(12, 9n);
  hart.setX(13, 77n);
  hart.program(words);
  hart.run(words.length - 1);
  between?.(hart);
  hart.run(1);
  return [hart.x(13), hart.memory(DATA)];
}

const SUCCEEDED = [0n, 9n];
const FAILED = [1n, 5n];

Deno.test("sc after lr stores and gives zero; without lr it stores nothing and gives one", () => {
  assertEquals(outcome([RESERVE, STORE]), SUCCEEDED);
  assertEquals(outcome([STORE]), FAILED);
});

// "The sc must fail if the address is not within the reservation set of the most recent lr in program
// order."
Deno.test("sc pairs with the most recent lr alone", () => {
  assertEquals(outcome([RESERVE, OTHER_RESERVE, STORE]), FAILED);
  assertEquals(outcome([OTHER_RESERVE, RESERVE, STORE]), SUCCEEDED);
});

// "Regardless of success or failure, executing an sc.w instruction invalidates any reservation held by
// this hart."
Deno.test("any sc ends the reservation, one to another address and one that fails as well", () => {
  const other = encode("sc.d", { rd: 15, rs1: 14, rs2: 12 });
  assertEquals(outcome([RESERVE, other, STORE]), FAILED);
  assertEquals(outcome([RESERVE, encode("sc.w", { rd: 15, rs1: 14 }), STORE]), FAILED);
});

Deno.test("loads, stores elsewhere and other instructions leave the reservation", () => {
  const elsewhere = encode("sd", { rs1: 14, rs2: 12 });
  const load = encode("ld", { rd: 16, rs1: 11 });
  assertEquals(outcome([RESERVE, elsewhere, load, NOP, STORE]), SUCCEEDED);
});

// The specification lets a trap do as it likes; here it does nothing, as software must not rely on it.
Deno.test("a trap and the return from it leave the reservation", () => {
  const skip = [
    encode("csrrs", { rd: 20, imm: 0x341 }),
    encode("addi", { rd: 20, rs1: 20, imm: 4 }),
    encode("csrrw", { rs1: 20, imm: 0x341 }),
    encode("mret"),
  ];
  const hart = new PrivilegedCore();
  hart.set("mtvec", BigInt(CODE + 0x400));
  hart.load(skip, CODE + 0x400);
  hart.setX(11, BigInt(DATA));
  hart.setX(12, 9n);
  hart.program([RESERVE, encode("ecall"), STORE]);
  hart.run(2 + skip.length + 1);
  assertEquals([hart.x(13), hart.memory(DATA)], [0n, 9n]);
});

// "The sc must fail if a store to the reservation set from another hart can be observed to occur between
// the lr and sc."
Deno.test("another hart's turn ends the reservation, whatever it did", () => {
  const turn = ({ core }: PrivilegedCore) => {
    core.switchTo(1);
    core.switchTo(0);
  };
  assertEquals(outcome([RESERVE, STORE], turn), FAILED);
});

// "The sc must fail if a write from some other device to the bytes accessed by the lr can be observed to
// occur between the lr and sc."
Deno.test("a device's write to the reserved bytes ends the reservation", () => {
  const written = (from: number, bytes: number) =>
    outcome([RESERVE, STORE], ({ core }) => {
      core.exports.dmaWrote(BigInt(DATA + from), bytes);
    });
  assertEquals(written(0, 8), FAILED);
  assertEquals(written(7, 1), FAILED);
  assertEquals(written(-4096, 3 * 4096), FAILED);
  assertEquals(written(8, 100), SUCCEEDED);
  assertEquals(written(-100, 100), SUCCEEDED);
});

// "In systems with memory translation, an sc is allowed to succeed if the earlier lr reserved the same
// location using an alias with a different virtual address".
Deno.test("the reservation is on the physical address: an alias will do, the same alias elsewhere not", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const [one, two] = [0x4000_0000n, 0x5000_0000n];
  tables.map(one, DATA, LEAF.all);
  tables.map(two, DATA, LEAF.all);
  hart.setX(12, 9n);
  const store = (at: bigint) => {
    assertEquals(hart.access("store", at, { word: STORE }), 0);
    return hart.x(13);
  };
  hart.access("load", one, { word: RESERVE });
  assertEquals(store(two), 0n);
  hart.access("load", one, { word: RESERVE });
  tables.map(one, DATA + 0x1000, LEAF.all);
  assertEquals(store(one), 1n);
});

Deno.test("an lr that faults reserves nothing, an sc that faults stores nothing", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  tables.map(0x4000_0000n, DATA, LEAF.all & ~LEAF.R & ~LEAF.W);
  hart.setMemory(DATA, 5n);
  assertEquals(hart.access("load", 0x4000_0000n, { word: RESERVE }), 13);
  tables.map(0x4000_0000n, DATA, LEAF.all);
  assertEquals(hart.access("store", 0x4000_0000n, { word: STORE }), 0);
  assertEquals([hart.x(13), hart.memory(DATA)], [1n, 5n]);
});

// "lr.w … places the sign-extended value in rd".
Deno.test("lr.w sign-extends and sc.w stores 32 bits", () => {
  const hart = new PrivilegedCore();
  hart.set("mstatus", MSTATUS.FS);
  hart.setMemory(DATA, 0x1111_1111_8000_0000n);
  hart.setX(11, BigInt(DATA));
  hart.setX(12, 0x2222_2222_3333_3333n);
  hart.program([
    encode("lr.w", { rd: 10, rs1: 11 }),
    encode("sc.w", { rd: 13, rs1: 11, rs2: 12 }),
  ]);
  hart.run(2);
  assertEquals(hart.x(10), 0xffff_ffff_8000_0000n);
  assertEquals([hart.x(13), hart.memory(DATA)], [0n, 0x1111_1111_3333_3333n]);
});
