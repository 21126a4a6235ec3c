/**
 * mret and sret, and the bits of mstatus that trap what a supervisor does (privileged ISA, "Privilege
 * and Global Interrupt-Enable Stack in mstatus", "Memory Privilege", "Virtualization Support").
 */
import { assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { encode } from "../../tools/asm/encode.ts";
import {
  CODE,
  DATA,
  machineTrap,
  type Mode,
  MSTATUS,
  NOP,
  PrivilegedCore,
} from "../_support/privileged.ts";

const MRET = encode("mret");
const SRET = encode("sret");
const TARGET = CODE + 0x200;
const MPP = (mode: number) => BigInt(mode) << 11n;
const hart = new PrivilegedCore();

/** Returns by an instruction from a mode with a status and gives where the hart is then. */
function returned(word: number, mode: Mode, status: bigint): { mode: number; status: bigint } {
  hart.restart();
  hart.set("mstatus", status);
  hart.set("mepc", BigInt(TARGET));
  hart.set("sepc", BigInt(TARGET));
  assertEquals(hart.attempt([word], mode), "no trap");
  assertEquals(hart.get("pc"), BigInt(TARGET));
  return { mode: hart.privilege, status: hart.get("mstatus") };
}

// "When executing an xRET instruction, supposing xPP holds the value y, xIE is set to xPIE; the
// privilege mode is changed to y; xPIE is set to 1; and xPP is set to the least-privileged supported
// mode".
Deno.test("mret restores MIE from MPIE, sets MPIE, goes to MPP and leaves U there", () => {
  for (const mode of [0, 1, 3]) {
    assertEquals(returned(MRET, "machine", MPP(mode) | MSTATUS.MPIE), {
      mode,
      status: MSTATUS.MIE | MSTATUS.MPIE,
    });
    assertEquals(returned(MRET, "machine", MPP(mode) | MSTATUS.MIE), {
      mode,
      status: MSTATUS.MPIE,
    });
  }
});

Deno.test("sret restores SIE from SPIE, sets SPIE, goes to SPP and leaves U there", () => {
  for (const mode of ["supervisor", "machine"] as const) {
    assertEquals(returned(SRET, mode, MSTATUS.SPP | MSTATUS.SPIE), {
      mode: 1,
      status: MSTATUS.SIE | MSTATUS.SPIE,
    });
    assertEquals(returned(SRET, mode, MSTATUS.SIE), { mode: 0, status: MSTATUS.SPIE });
  }
});

Deno.test("each return leaves the other level's bits alone", () => {
  const machine = MSTATUS.MIE | MPP(3);
  assertEquals(returned(SRET, "supervisor", machine).status, machine | MSTATUS.SPIE);
  const supervisor = MSTATUS.SPP | MSTATUS.SIE;
  assertEquals(returned(MRET, "machine", supervisor).status, supervisor | MSTATUS.MPIE);
});

// "An MRET or SRET instruction that changes the privilege mode to a mode less privileged than M also
// sets MPRV=0."
Deno.test("MPRV is cleared by a return that leaves M, and only then", () => {
  const kept = (word: number, mode: Mode, status: bigint) =>
    (returned(word, mode, status | MSTATUS.MPRV).status & MSTATUS.MPRV) !== 0n;
  assertEquals(kept(MRET, "machine", MPP(3)), true);
  assertEquals(kept(MRET, "machine", MPP(1)), false);
  assertEquals(kept(MRET, "machine", MPP(0)), false);
  assertEquals(kept(SRET, "machine", MSTATUS.SPP), false);
  assertEquals(kept(SRET, "supervisor", 0n), false);
});

// "An xRET instruction can be executed in privilege mode x or higher."
Deno.test("mret is illegal below M and sret in U", () => {
  hart.restart();
  assertEquals(hart.attempt([MRET], "supervisor"), machineTrap(2, MRET));
  assertEquals(hart.attempt([MRET], "user"), machineTrap(2, MRET));
  assertEquals(hart.attempt([SRET], "user"), machineTrap(2, SRET));
});

/** What a supervisor's instruction does with a bit of mstatus set, and the machine's. */
function trapped(word: number, bit: bigint): { supervisor: string; machine: string } {
  const one = (mode: Mode) => {
    hart.restart();
    hart.set("sepc", BigInt(TARGET));
    hart.set("mstatus", bit | MSTATUS.SPP);
    return hart.attempt([word], mode);
  };
  return { supervisor: one("supervisor"), machine: one("machine") };
}

// "When TSR=1, attempts to execute SRET while executing in S-mode will raise an illegal-instruction
// exception. When TSR=0, this operation is permitted in S-mode."
Deno.test("TSR traps sret in S and not in M", () => {
  assertEquals(trapped(SRET, MSTATUS.TSR), {
    supervisor: machineTrap(2, SRET),
    machine: "no trap",
  });
  assertEquals(trapped(SRET, 0n).supervisor, "no trap");
});

// "When TVM=1, attempts to read or write the satp CSR or execute an SFENCE.VMA or SINVAL.VMA
// instruction while executing in S-mode will raise an illegal-instruction exception."
Deno.test("TVM traps satp, sfence.vma and sinval.vma in S and not in M", () => {
  const words = [
    encode("csrrs", { rd: 5, imm: csrNumber("satp") }),
    encode("csrrw", { rs1: 0, imm: csrNumber("satp") }),
    encode("sfence.vma"),
    encode("sfence.vma", { rs1: 5, rs2: 6 }),
    encode("sinval.vma"),
  ];
  for (const word of words) {
    assertEquals(trapped(word, MSTATUS.TVM), {
      supervisor: machineTrap(2, word),
      machine: "no trap",
    });
    assertEquals(trapped(word, 0n).supervisor, "no trap");
  }
});

// Svinval: "SFENCE.W.INVAL and SFENCE.INVAL.IR are unaffected by the mstatus.TVM"; in U all are illegal.
Deno.test("TVM leaves sfence.w.inval and sfence.inval.ir, and U may execute no such fence", () => {
  for (const name of ["sfence.w.inval", "sfence.inval.ir"]) {
    const word = encode(name);
    assertEquals(trapped(word, MSTATUS.TVM).supervisor, "no trap", name);
  }
  for (const name of ["sfence.vma", "sinval.vma", "sfence.w.inval", "sfence.inval.ir"]) {
    hart.restart();
    const word = encode(name);
    assertEquals(hart.attempt([word], "user"), machineTrap(2, word), name);
  }
  for (const name of ["fence", "fence.i"]) {
    hart.restart();
    assertEquals(hart.attempt([encode(name)], "user"), "no trap", name);
  }
});

// "When MPRV=1, load and store memory addresses are translated and protected … as though the current
// privilege mode were set to MPP. Instruction address-translation and protection are unaffected."
Deno.test("MPRV gives loads and stores the protection of MPP and fetches their own", () => {
  const load = encode("ld", { rd: 10, rs1: 11 });
  for (const [mode, allowed] of [[0, false], [1, false], [3, true]] as const) {
    hart.restart();
    // No PMP entry opens anything below M.
    hart.set("pmpcfg", 0n);
    hart.setX(11, BigInt(DATA));
    hart.set("mstatus", MSTATUS.MPRV | MPP(mode));
    hart.core.exports.flushAll();
    const expected = allowed ? "no trap" : machineTrap(5, DATA);
    assertEquals(hart.attempt([load], "machine"), expected, `MPP ${mode}`);
    assertEquals(hart.attempt([NOP], "machine"), "no trap");
  }
});
