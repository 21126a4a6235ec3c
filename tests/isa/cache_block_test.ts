/**
 * Cache-block operations: who may execute them, on what, and what they do (unprivileged ISA, "CMO";
 * privileged ISA, menvcfg and senvcfg). Memory is coherent here, so only cbo.zero has an effect.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { LEAF } from "../_support/page_tables.ts";
import { DATA, machineTrap, type Mode, PrivilegedCore } from "../_support/privileged.ts";
import { Translation } from "../memory/translation.ts";

const OPERATIONS = ["cbo.inval", "cbo.clean", "cbo.flush", "cbo.zero"] as const;
const FIELD = {
  "cbo.inval": 1n << 4n,
  "cbo.clean": 1n << 6n,
  "cbo.flush": 1n << 6n,
  "cbo.zero": 1n << 7n,
} as const;
const ALL = 0xf0n;
const hart = new PrivilegedCore();
const word = (name: string) => encode(name, { rs1: 11 });

/** Whether an operation is executed in a mode with fields open in menvcfg and senvcfg. */
function executed(name: string, mode: Mode, machine: bigint, supervisor: bigint): boolean {
  hart.restart();
  hart.set("menvcfg", machine);
  hart.set("senvcfg", supervisor);
  hart.setX(11, BigInt(DATA));
  const told = hart.attempt([word(name)], mode);
  if (told !== "no trap") assertEquals(told, machineTrap(2, word(name)));
  return told === "no trap";
}

// "When the CBZE field is set to 1, it enables execution of the cache block zero instruction, CBO.ZERO,
// in modes less privileged than M. Otherwise, the instruction raises an illegal-instruction exception";
// CBCFE and CBIE likewise, and senvcfg for U: "only if execution of the instruction is enabled for use in
// S-mode and CBZE is set to 1".
Deno.test("each operation is opened below M by its field in menvcfg, and in U by senvcfg too", () => {
  for (const name of OPERATIONS) {
    const [own, others] = [FIELD[name], ALL & ~(name === "cbo.inval" ? 0x30n : FIELD[name])];
    assertEquals(executed(name, "machine", 0n, 0n), true, name);
    assertEquals(executed(name, "supervisor", others, ALL), false, name);
    assertEquals(executed(name, "supervisor", own, 0n), true, name);
    assertEquals(executed(name, "user", own, others), false, name);
    assertEquals(executed(name, "user", others, ALL), false, name);
    assertEquals(executed(name, "user", own, own), true, name);
  }
});

// CBIE: "0b01 — The instruction is executed and performs a flush operation": with coherent memory the
// same as to invalidate.
Deno.test("both encodings of CBIE open cbo.inval", () => {
  for (const field of [1n << 4n, 3n << 4n]) {
    assertEquals(executed("cbo.inval", "supervisor", field, 0n), true);
    assertEquals(executed("cbo.inval", "user", 3n << 4n, field), true);
  }
});

function filled(): void {
  hart.restart();
  for (let i = -8; i < 24; i++) hart.setMemory(DATA + 8 * i, 0x1111_1111_1111_1111n);
}

// "These instructions operate on the cache block whose effective address is specified in rs1"; "CMO
// instructions do not generate address-misaligned exceptions."
Deno.test("cbo.zero zeroes the 64 bytes around any address, and no others", () => {
  for (const offset of [64, 65, 99, 127]) {
    filled();
    hart.setX(11, BigInt(DATA + offset));
    assertEquals(hart.attempt([word("cbo.zero")], "machine"), "no trap");
    for (let i = -8; i < 24; i++) {
      const zeroed = i >= 8 && i < 16;
      assertEquals(hart.memory(DATA + 8 * i), zeroed ? 0n : 0x1111_1111_1111_1111n, `${offset}`);
    }
  }
});

Deno.test("the management operations change nothing in memory", () => {
  for (const name of OPERATIONS.slice(0, 3)) {
    filled();
    hart.setX(11, BigInt(DATA + 33));
    assertEquals(hart.attempt([word(name)], "machine"), "no trap");
    for (let i = -8; i < 24; i++) assertEquals(hart.memory(DATA + 8 * i), 0x1111_1111_1111_1111n);
  }
});

// "The relevant *tval CSR is written with the faulting effective address (i.e. the value of rs1)."
Deno.test("faults are a store's, with the value of rs1", () => {
  const translation = new Translation();
  translation.begin("sv39");
  for (const name of OPERATIONS) {
    hart.restart();
    hart.setX(11, 0x4000_0021n);
    const expected = machineTrap(7, 0x4000_0021);
    assertEquals(hart.attempt([word(name)], "machine"), expected, `${name}: nothing there`);
    assertEquals(translation.access("store", 0x4567_8021n, { word: word(name) }), 15, name);
  }
});

// Management: "the instruction also checks the accessed bit …"; "does not check the dirty bit"; zero:
// "also checks the accessed and dirty bits".
Deno.test("management sets A alone, zeroing sets A and D", () => {
  const translation = new Translation();
  for (const name of OPERATIONS) {
    const tables = translation.begin("sv39");
    const slot = tables.map(0x4567_8000n, DATA, LEAF.all & ~(LEAF.A | LEAF.D));
    assertEquals(translation.access("store", 0x4567_8020n, { word: word(name) }), 0);
    const bits = translation.memory(slot) & (LEAF.A | LEAF.D);
    assertEquals(bits, name === "cbo.zero" ? LEAF.A | LEAF.D : LEAF.A, name);
  }
});
