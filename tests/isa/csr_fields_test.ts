/**
 * What the fields of CSRs keep of what is written (privileged ISA, "Write Any Values, Reads Legal Values
 * (WARL)" and the registers' own sections).
 *
 * Invariant tested: "Implementations will not raise an exception on writes of unsupported values to a
 * WARL field" and every read gives a legal value.
 */
import { assertEquals } from "@std/assert";
import { CSR_ROWS } from "../../kernel/cpu/csr_table.ts";
import { MSTATUS, PrivilegedCore } from "../_support/privileged.ts";

const ALL_ONES = (1n << 64n) - 1n;
const WIDTHS = 2n << 32n | 2n << 34n;
const hart = new PrivilegedCore();

function keptAfter(name: string, value: bigint): bigint {
  hart.restart();
  return hart.kept(name, value);
}

Deno.test("no write to a writable CSR traps, whatever the value", () => {
  for (const { name, number } of CSR_ROWS.filter((row) => row.number >> 10 !== 3)) {
    for (const value of [0n, ALL_ONES, 0x5555_5555_5555_5555n, 0xaaaa_aaaa_aaaa_aaaan]) {
      hart.restart();
      hart.set("mstatus", MSTATUS.FS);
      assertEquals(hart.writeCsr(name, value), true, `${name} 0x${number.toString(16)}`);
    }
  }
});

// Machine mstatus: no endianness, vector, virtualization or landing-pad fields; UXL and SXL are 2.
Deno.test("mstatus keeps the fields that exist; the widths are fixed at 64 bits", () => {
  const fields = MSTATUS.SIE | MSTATUS.MIE | MSTATUS.SPIE | MSTATUS.MPIE | MSTATUS.SPP |
    MSTATUS.MPP |
    MSTATUS.FS | MSTATUS.MPRV | MSTATUS.SUM | MSTATUS.MXR | MSTATUS.TVM | MSTATUS.TW | MSTATUS.TSR;
  assertEquals(keptAfter("mstatus", ALL_ONES), fields | WIDTHS | MSTATUS.SD);
  assertEquals(keptAfter("mstatus", 0n), WIDTHS);
});

// "xPP fields are WARL fields that can hold only privilege mode x and any implemented privilege mode
// lower than x."
Deno.test("MPP holds 0, 1 and 3, and keeps what it had when 2 is written", () => {
  for (const mode of [0n, 1n, 3n]) {
    assertEquals(keptAfter("mstatus", mode << 11n) & MSTATUS.MPP, mode << 11n);
    assertEquals(hart.kept("mstatus", 2n << 11n) & MSTATUS.MPP, mode << 11n);
  }
});

// "The sstatus register is a subset of the mstatus register."
Deno.test("sstatus shows and writes the supervisor's fields of mstatus alone", () => {
  hart.restart();
  const fields = MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM | MSTATUS.MXR;
  const machine = MSTATUS.MIE | MSTATUS.MPP | MSTATUS.TVM;
  hart.writeCsr("mstatus", machine);
  assertEquals(hart.kept("sstatus", ALL_ONES), fields | 2n << 32n | MSTATUS.SD);
  assertEquals(hart.readCsr("mstatus"), fields | machine | WIDTHS | MSTATUS.SD);
  assertEquals(hart.kept("sstatus", 0n), 2n << 32n);
  assertEquals(hart.readCsr("mstatus"), machine | WIDTHS);
});

// "All bits that are reserved for future use must return zero when read"; ours is read-only.
Deno.test("misa says RV64ACDFIMSU and ignores writes", () => {
  const letters = [..."ACDFIMSU"].reduce(
    (bits, letter) => bits | 1n << BigInt(letter.charCodeAt(0) - 65),
    2n << 62n,
  );
  assertEquals(keptAfter("misa", 0n), letters);
  assertEquals(keptAfter("misa", ALL_ONES), letters);
});

Deno.test("identification registers read as not implemented, and mhartid as the hart", () => {
  hart.restart();
  const names = ["mvendorid", "marchid", "mimpid", "mconfigptr", "mhartid"];
  assertEquals(names.map((name) => hart.readCsr(name)), [0n, 0n, 0n, 0n, 0n]);
  hart.core.setWord(0, "hartid", 5);
  assertEquals(hart.readCsr("mhartid"), 5n);
  hart.core.setWord(0, "hartid", 0);
});

// "If satp is written with an unsupported MODE, the entire write has no effect; no fields in satp are
// modified."
Deno.test("satp holds bare, Sv39, Sv48 and Sv57; a write of another mode has no effect at all", () => {
  const rest = 0xabcn << 44n | 0x12345n;
  for (let mode = 0n; mode < 16n; mode++) {
    hart.restart();
    const before = 8n << 60n | 0x77n;
    hart.writeCsr("satp", before);
    const supported = [0n, 8n, 9n, 10n].includes(mode);
    const expected = supported ? mode << 60n | rest : before;
    assertEquals(hart.kept("satp", mode << 60n | rest), expected, `mode ${mode}`);
  }
});

Deno.test("satp keeps 16 bits of ASID and 44 of the page number", () => {
  assertEquals(keptAfter("satp", 8n << 60n | ALL_ONES >> 4n), 8n << 60n | ALL_ONES >> 4n);
});

Deno.test("registers for software's own use keep all 64 bits", () => {
  for (const name of ["mscratch", "sscratch", "mtval", "stval", "mcause", "scause", "stimecmp"]) {
    assertEquals(keptAfter(name, ALL_ONES), ALL_ONES, name);
  }
});

// "The counter-enable mcounteren register is a 32-bit register", scounteren likewise.
Deno.test("counter enables have 32 bits", () => {
  assertEquals(keptAfter("mcounteren", ALL_ONES), 0xffff_ffffn);
  assertEquals(keptAfter("scounteren", ALL_ONES), 0xffff_ffffn);
});

// menvcfg: FIOM, CBIE, CBCFE, CBZE, ADUE, STCE exist; "If Svpbmt is not implemented, PBMTE is read-only
// zero", and so on for the others.
Deno.test("menvcfg and senvcfg keep the fields of the extensions that exist", () => {
  assertEquals(keptAfter("menvcfg", ALL_ONES), 1n << 63n | 1n << 61n | 0xf1n);
  assertEquals(keptAfter("senvcfg", ALL_ONES), 0xf1n);
});

// CBIE: "The encoding 0b10 is reserved", and the field is WARL.
Deno.test("CBIE never reads as its reserved encoding", () => {
  for (const name of ["menvcfg", "senvcfg"]) {
    for (const before of [0n, 1n, 3n]) {
      hart.restart();
      hart.writeCsr(name, before << 4n);
      assertEquals(hart.readCsr(name)! >> 4n & 3n, before);
      const kept = hart.kept(name, 2n << 4n) >> 4n & 3n;
      assertEquals([0n, 1n, 3n].includes(kept), true, `${name}: ${kept}`);
    }
  }
});

// pmpaddr: "bits 55-2 of a 56-bit physical address", so that bits 63:54 are zero.
Deno.test("pmpaddr keeps 54 bits and pmpcfg no reserved bits", () => {
  assertEquals(keptAfter("pmpaddr3", ALL_ONES), (1n << 54n) - 1n);
  assertEquals(keptAfter("pmpcfg0", 0x7f7f_7f7f_7f7f_7f7fn), 0x1f1f_1f1f_1f1f_1f1fn);
});

// "The R, W, and X fields form a collective WARL field for which the combinations with R=0 and W=1 are
// reserved."
Deno.test("a PMP entry never reads as writable but not readable", () => {
  for (const execute of [0n, 4n]) {
    hart.restart();
    for (const name of ["pmpcfg0", "pmpcfg2"]) {
      const kept = hart.kept(name, (0x18n | 2n | execute) << 16n | 0x1bn) >> 16n & 7n;
      assertEquals((kept & 3n) !== 2n, true, `${name}: ${kept}`);
      assertEquals(hart.readCsr(name)! & 0xffn, 0x1bn, "its neighbour is written as it stands");
    }
  }
});
