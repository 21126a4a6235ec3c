/**
 * The CSR `seed` and who may access it (unprivileged ISA, "Entropy Source"; privileged ISA, mseccfg).
 */
import { assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { encode } from "../../tools/asm/encode.ts";
import { machineTrap, type Mode, PrivilegedCore } from "../_support/privileged.ts";

const SEED = csrNumber("seed");
const ACCESS = encode("csrrw", { rd: 10, rs1: 0, imm: SEED });
const USEED = 1n << 8n;
const SSEED = 1n << 9n;
const ALL_ONES = (1n << 64n) - 1n;

/** Harts with an exact clock and without one: the rules are the same. */
const HARTS = [new PrivilegedCore(), new PrivilegedCore({ nondetEntries: 4 })];

/** Gives a hart entropy that counts up from 1, and restarts it. */
function prepared(hart: PrivilegedCore): { drawn: number } {
  const source = { drawn: 0 };
  hart.restart();
  hart.core.nondeterminism = {
    hostTicks: () => 0,
    entropy16: () => ++source.drawn,
    exchange: () => 0,
  };
  return source;
}

Deno.test("seed has the numbers that the specification gives it and mseccfg", () => {
  assertEquals([SEED, csrNumber("mseccfg")], [0x015, 0x747]);
});

// "OPST = ES16 (0b10): the low 16 bits contain 16 bits of randomness"; the other bits are reserved or for
// the implementation's own use, and zero here.
Deno.test("seed gives 16 fresh bits each time, with OPST saying ES16 and the upper half zero", () => {
  for (const hart of HARTS) {
    prepared(hart);
    const values = [1, 2, 3].map(() => {
      assertEquals(hart.attempt([ACCESS], "machine"), "no trap");
      return hart.x(10);
    });
    assertEquals(values, [0x8000_0001n, 0x8000_0002n, 0x8000_0003n]);
    hart.core.nondeterminism = { ...hart.core.nondeterminism, entropy16: () => -1 };
    hart.attempt([ACCESS], "machine");
    assertEquals(hart.x(10), 0x8000_ffffn, "no more than 16 bits come from the source");
  }
});

// "Attempts to access the seed CSR using a read-only CSR-access instruction (CSRRS/CSRRC with rs1=x0 or
// CSRRSI/CSRRCI with uimm=0) raise an illegal-instruction exception"; the value written is ignored.
Deno.test("only forms that write access seed, and one that does not draws no entropy", () => {
  for (const hart of HARTS) {
    for (const kind of ["csrrs", "csrrc", "csrrsi", "csrrci"]) {
      const source = prepared(hart);
      const word = encode(kind, { rd: 10, rs1: 0, imm: SEED });
      assertEquals(hart.attempt([word], "machine"), machineTrap(2, word), kind);
      assertEquals(source.drawn, 0);
      const writes = encode(kind, { rd: 10, rs1: 11, imm: SEED });
      assertEquals(hart.attempt([writes], "machine"), "no trap", kind);
      assertEquals(source.drawn, 1);
    }
    const source = prepared(hart);
    for (const kind of ["csrrw", "csrrwi"]) {
      const word = encode(kind, { rd: 0, rs1: 0, imm: SEED });
      assertEquals(hart.attempt([word], "machine"), "no trap", kind);
    }
    assertEquals(source.drawn, 2, "a result that goes nowhere is drawn all the same");
  }
});

// mseccfg: "M: the seed CSR is always available; S: SSEED=1; U: USEED=1".
Deno.test("mseccfg opens seed to S and to U, each by its own bit; refused, nothing is drawn", () => {
  for (const hart of HARTS) {
    for (const open of [0n, USEED, SSEED, USEED | SSEED]) {
      const readers: Mode[] = ["machine"];
      if ((open & SSEED) !== 0n) readers.push("supervisor");
      if ((open & USEED) !== 0n) readers.push("user");
      for (const mode of ["machine", "supervisor", "user"] as const) {
        const source = prepared(hart);
        hart.writeCsr("mseccfg", open);
        const allowed = readers.includes(mode);
        const expected = allowed ? "no trap" : machineTrap(2, ACCESS);
        assertEquals(hart.attempt([ACCESS], mode), expected, `mseccfg ${open} in ${mode} mode`);
        assertEquals(source.drawn, allowed ? 1 : 0);
      }
    }
  }
});

Deno.test("mseccfg keeps USEED and SSEED, is zero after reset, and is there for machine mode only", () => {
  const hart = HARTS[0]!;
  hart.restart();
  assertEquals(hart.readCsr("mseccfg"), 0n);
  assertEquals(hart.kept("mseccfg", ALL_ONES), USEED | SSEED);
  assertEquals(hart.kept("mseccfg", USEED), USEED);
  assertEquals(hart.readCsr("mseccfg", "supervisor"), undefined);
  assertEquals(hart.writeCsr("mseccfg", 0n, "supervisor"), false);
});
