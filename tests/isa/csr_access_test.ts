/**
 * Which CSR accesses are allowed and when a CSR instruction writes (unprivileged ISA, "Zicsr";
 * privileged ISA, "CSR Address Mapping Conventions").
 */
import { assertEquals } from "@std/assert";
import { CSR_ROWS, csrNumber } from "../../kernel/cpu/csr_table.ts";
import { encode } from "../../tools/asm/encode.ts";
import { machineTrap, type Mode, PrivilegedCore } from "../_support/privileged.ts";

const MODES: readonly Mode[] = ["user", "supervisor", "machine"];
const LEVEL = { user: 0, supervisor: 1, machine: 3 } as const;
const WRITING = ["csrrw", "csrrs", "csrrc"] as const;
const ALL_ONES = (1n << 64n) - 1n;
/** All but `seed`, which is only there for instructions that write: entropy_test.ts. */
const READABLE = CSR_ROWS.filter(({ name }) => name !== "seed");
const hart = new PrivilegedCore();

/** A hart on which nothing but the number decides. */
function open(): void {
  hart.restart();
  hart.set("mcounteren", 0xffff_ffffn);
  hart.set("scounteren", 0xffff_ffffn);
  hart.set("menvcfg", 1n << 63n);
  hart.set("mstatus", 3n << 13n);
}

const read = (number: number) => encode("csrrs", { rd: 10, rs1: 0, imm: number });

// "Attempts to access a CSR address without sufficient privilege raise illegal-instruction exceptions";
// the level is bits 9:8 of the address.
Deno.test("a CSR is readable from the privilege in its number on", () => {
  for (const { number, name } of READABLE) {
    for (const mode of MODES) {
      open();
      const allowed = LEVEL[mode] >= (number >> 8 & 3);
      const expected = allowed ? "no trap" : machineTrap(2, read(number));
      assertEquals(hart.attempt([read(number)], mode), expected, `${name} in ${mode} mode`);
    }
  }
});

// "Attempts to write a read-only CSR address raise illegal-instruction exceptions": bits 11:10 are 11.
Deno.test("writing a CSR whose number is read-only traps, whatever would be written", () => {
  const readOnly = CSR_ROWS.filter(({ number }) => number >> 10 === 3);
  assertEquals(readOnly.length, 32 + 5, "32 counters and 5 machine information registers");
  for (const { number, name } of readOnly) {
    for (const kind of WRITING) {
      open();
      // A zero operand in a register that is not x0 is a write all the same.
      const words = [
        encode(kind, { rd: 0, rs1: 11, imm: number }),
        encode(`${kind}i`, { rd: 0, rs1: 1, imm: number }),
      ];
      hart.setX(11, 0n);
      for (const word of words) {
        assertEquals(hart.attempt([word], "machine"), machineTrap(2, word), `${kind} ${name}`);
      }
    }
    open();
    // "A csrrw with rs1=x0 will attempt to write zero to the destination CSR."
    const word = encode("csrrw", { rd: 10, rs1: 0, imm: number });
    assertEquals(hart.attempt([word], "machine"), machineTrap(2, word), name);
  }
});

// "For both csrrs and csrrc, if rs1=x0, then the instruction will not write to the CSR at all, and so
// shall not … raise illegal-instruction exceptions on accesses to read-only CSRs"; the same holds for a
// zero immediate.
Deno.test("csrrs and csrrc with x0 or a zero immediate read without writing", () => {
  for (const { number, name } of READABLE) {
    for (const kind of ["csrrs", "csrrc", "csrrsi", "csrrci"]) {
      open();
      const word = encode(kind, { rd: 10, rs1: 0, imm: number });
      assertEquals(hart.attempt([word], "machine"), "no trap", `${kind} ${name}`);
    }
  }
  // Not writing shows where a write has an effect of its own: fflags sets FS to Dirty.
  open();
  hart.set("mstatus", 1n << 13n);
  hart.attempt([encode("csrrs", { rd: 10, imm: csrNumber("fflags") })], "machine");
  assertEquals(hart.get("mstatus") >> 13n & 3n, 1n);
  hart.setX(11, 0n);
  hart.attempt([encode("csrrs", { rd: 10, rs1: 11, imm: csrNumber("fflags") })], "machine");
  assertEquals(hart.get("mstatus") >> 13n & 3n, 3n);
});

// "Instructions that access a non-existent CSR address are reserved"; ours trap.
Deno.test("every CSR number that names no register traps in every way", () => {
  const known = new Set(CSR_ROWS.map(({ number }) => number));
  open();
  let missing = 0;
  for (let number = 0; number < 4096; number++) {
    if (known.has(number)) continue;
    missing++;
    assertEquals(hart.attempt([read(number)], "machine"), machineTrap(2, read(number)));
  }
  assertEquals(missing, 4096 - CSR_ROWS.length);
  // Of a virtualized supervisor, the debugger, odd pmpcfg registers and 32-bit halves.
  for (const number of [0x200, 0x600, 0x7b0, 0x3a1, 0x3a3, 0xc80, 0x310, 0x31a]) {
    assertEquals(known.has(number), false, `0x${number.toString(16)}`);
  }
});

// "Reads the old value of the CSR …, then writes it to integer register rd. The initial value in rs1 is
// written to the CSR": both registers may be the same.
Deno.test("csrrw, csrrs and csrrc exchange, set and clear, also with rd the same as rs1", () => {
  const results = WRITING.map((kind) => {
    open();
    hart.set("mscratch", 0b1100n);
    hart.setX(10, 0b1010n);
    hart.attempt([encode(kind, { rd: 10, rs1: 10, imm: csrNumber("mscratch") })], "machine");
    return [hart.x(10), hart.get("mscratch")];
  });
  assertEquals(results, [[0b1100n, 0b1010n], [0b1100n, 0b1110n], [0b1100n, 0b0100n]]);
});

Deno.test("the immediate forms zero-extend five bits", () => {
  const results = ["csrrwi", "csrrsi", "csrrci"].map((kind) => {
    open();
    hart.set("mscratch", ALL_ONES ^ 0b10001n);
    hart.attempt([encode(kind, { rd: 10, rs1: 0b11111, imm: csrNumber("mscratch") })], "machine");
    return hart.get("mscratch");
  });
  assertEquals(results, [31n, ALL_ONES, ALL_ONES ^ 31n]);
});

Deno.test("a CSR instruction that traps writes neither the CSR nor rd", () => {
  open();
  hart.set("mscratch", 5n);
  hart.setX(10, 7n);
  hart.setX(11, 9n);
  const word = encode("csrrw", { rd: 10, rs1: 11, imm: csrNumber("mscratch") });
  assertEquals(hart.attempt([word], "supervisor"), machineTrap(2, word));
  assertEquals([hart.get("mscratch"), hart.x(10)], [5n, 7n]);
});
