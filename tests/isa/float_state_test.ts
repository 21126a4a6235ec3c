/**
 * The state of the float unit in mstatus.FS (privileged ISA, "Extension Context Status in mstatus") and
 * the rounding mode (unprivileged ISA, "Floating-Point Control and Status Register").
 */
import { assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import { encode, encodeRow } from "../../tools/asm/encode.ts";
import { DATA, machineTrap, MSTATUS, PrivilegedCore } from "../_support/privileged.ts";

const INITIAL = 1n << 13n;
const CLEAN = 2n << 13n;
const hart = new PrivilegedCore();

/** FS after one instruction that started with another FS. */
function statusAfter(word: number, before: bigint): bigint {
  hart.restart();
  hart.set("mstatus", before);
  hart.setX(11, BigInt(DATA));
  assertEquals(hart.attempt([word], "machine"), "no trap");
  return hart.get("mstatus") & MSTATUS.FS;
}

// "When an extension's status is set to Off, any instruction that attempts to read or write the
// corresponding state will cause an illegal-instruction exception."
Deno.test("with FS off every float instruction is illegal, with the unit on none is", () => {
  const rows = ROWS.flatMap((row, i) => row.float ? [{ row, i }] : []);
  assertEquals(rows.length, 62);
  for (const { row, i } of rows) {
    const word = encodeRow(i, { rd: 5, rs1: 11, rs2: 12, rs3: 13, rm: 0 });
    for (const [status, expected] of [[0n, machineTrap(2, word)], [INITIAL, "no trap"]] as const) {
      hart.restart();
      hart.set("mstatus", status);
      hart.setX(11, BigInt(DATA));
      assertEquals(hart.attempt([word], "machine"), expected, row.name);
    }
  }
});

Deno.test("with FS off compressed float loads and stores are illegal with 16 bits in mtval", () => {
  for (const half of [0x2000, 0xa000, 0x2002, 0xa002]) {
    hart.restart();
    assertEquals(hart.attempt([0x0001_0000 | half], "machine"), machineTrap(2, half));
  }
});

Deno.test("with FS off fcsr, frm and fflags are illegal to read and to write", () => {
  for (const name of ["fcsr", "frm", "fflags"]) {
    hart.restart();
    assertEquals(hart.readCsr(name), undefined, name);
    assertEquals(hart.writeCsr(name, 0n), false, name);
    hart.set("mstatus", CLEAN);
    assertEquals(hart.readCsr(name), 0n, name);
  }
});

// "When the status is Dirty, the corresponding state has potentially been modified": whatever writes a
// float register or fcsr makes it so.
Deno.test("what writes float state makes FS dirty", () => {
  const words = [
    encode("flw", { rd: 5, rs1: 11 }),
    encode("fld", { rd: 5, rs1: 11 }),
    encode("fmv.w.x", { rd: 5, rs1: 11 }),
    encode("fmv.d.x", { rd: 5, rs1: 11 }),
    encode("fsgnj.d", { rd: 5, rs1: 6, rs2: 7 }),
    encode("fadd.d", { rd: 5, rs1: 6, rs2: 7 }),
    encode("csrrwi", { rs1: 1, imm: csrNumber("fflags") }),
    encode("csrrwi", { rs1: 1, imm: csrNumber("frm") }),
    encode("csrrwi", { rs1: 1, imm: csrNumber("fcsr") }),
  ];
  for (const word of words) {
    assertEquals(statusAfter(word, INITIAL), MSTATUS.FS, word.toString(16));
    assertEquals(statusAfter(word, CLEAN), MSTATUS.FS, word.toString(16));
  }
});

Deno.test("an operation that raises a flag without a float result makes FS dirty", () => {
  // flt of a NaN raises NV and writes an integer register.
  hart.restart();
  hart.set("mstatus", CLEAN);
  hart.core.setRegister(0, "f", 0x7ff8_0000_0000_0000n, 6);
  hart.attempt([encode("flt.d", { rd: 10, rs1: 6, rs2: 7 })], "machine");
  assertEquals([hart.core.word(0, "fflags"), hart.get("mstatus") & MSTATUS.FS], [16, MSTATUS.FS]);
});

Deno.test("what only reads float state leaves FS as it was", () => {
  const words = [
    encode("fsw", { rs1: 11, rs2: 5 }),
    encode("fsd", { rs1: 11, rs2: 5 }),
    encode("fmv.x.w", { rd: 10, rs1: 5 }),
    encode("fmv.x.d", { rd: 10, rs1: 5 }),
    encode("csrrs", { rd: 10, imm: csrNumber("fcsr") }),
  ];
  for (const word of words) {
    assertEquals(statusAfter(word, INITIAL), INITIAL, word.toString(16));
    assertEquals(statusAfter(word, CLEAN), CLEAN, word.toString(16));
  }
});

// "The SD bit is a read-only bit that summarizes whether either the FS, VS, or XS fields signal the
// presence of some dirty state".
Deno.test("SD reads as one exactly when FS is dirty, in mstatus and sstatus", () => {
  for (let field = 0n; field < 4n; field++) {
    hart.restart();
    for (const name of ["mstatus", "sstatus"]) {
      const read = hart.kept(name, field << 13n | MSTATUS.SD);
      assertEquals(read & MSTATUS.FS, field << 13n);
      assertEquals(read >> 63n, field === 3n ? 1n : 0n);
    }
  }
});

// "Setting FS=Off does not destroy the state, nor does setting FS=Initial clear the contents."
Deno.test("switching FS off and on keeps registers and flags", () => {
  hart.restart();
  hart.set("mstatus", MSTATUS.FS);
  hart.core.setRegister(0, "f", 0x4000_0000_0000_0000n, 5);
  hart.writeCsr("fcsr", 0x7fn);
  for (const field of [0n, 1n, 2n]) hart.writeCsr("mstatus", field << 13n);
  assertEquals(hart.readCsr("fcsr"), 0x7fn);
  assertEquals(hart.core.register(0, "f", 5), 0x4000_0000_0000_0000n);
});

// fcsr: fflags in 4:0, frm in 7:5; the bits above are reserved and zero here.
Deno.test("fflags and frm are windows on fcsr", () => {
  hart.restart();
  hart.set("mstatus", MSTATUS.FS);
  assertEquals(hart.kept("fcsr", (1n << 64n) - 1n), 0xffn);
  hart.writeCsr("frm", 2n);
  assertEquals([hart.readCsr("fcsr"), hart.readCsr("fflags")], [0x5fn, 0x1fn]);
  assertEquals(hart.kept("fflags", 0xffn), 0x1fn);
  assertEquals(hart.kept("frm", 0xffn), 7n);
});

// Rounding modes 5 and 6 are reserved, "In the instruction's rm field …"; frm above 4 makes dynamic
// rounding illegal.
Deno.test("a reserved rounding mode is illegal, in the instruction and through frm", () => {
  const add = (rm: number) => encode("fadd.s", { rd: 5, rs1: 6, rs2: 7, rm });
  for (let mode = 0; mode < 8; mode++) {
    hart.restart();
    hart.set("mstatus", MSTATUS.FS);
    const reserved = mode === 5 || mode === 6;
    const expected = reserved ? machineTrap(2, add(mode)) : "no trap";
    assertEquals(hart.attempt([add(mode)], "machine"), expected, `rm ${mode}`);
    hart.core.setWord(0, "frm", mode);
    const dynamic = mode > 4 ? machineTrap(2, add(7)) : "no trap";
    assertEquals(hart.attempt([add(7)], "machine"), dynamic, `frm ${mode}`);
  }
});
