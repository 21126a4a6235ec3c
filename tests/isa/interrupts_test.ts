/**
 * Which interrupt is taken when (privileged ISA: mip and mie, sip and sie registers), and
 * waiting for one ("Wait for Interrupt").
 */
import { assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { RUN_END } from "../../kernel/cpu/run_end.ts";
import { encode } from "../../tools/asm/encode.ts";
import {
  CODE,
  INTERRUPT,
  MACHINE_VECTOR,
  machineTrap,
  type Mode,
  MSTATUS,
  NOP,
  PrivilegedCore,
  SUPERVISOR_VECTOR,
} from "../_support/privileged.ts";

const WFI = encode("wfi");
const ALL = 0xaaan;
const MODES: readonly Mode[] = ["user", "supervisor", "machine"];
const hart = new PrivilegedCore();

const bit = (number: number) => 1n << BigInt(number);

/** Executes one nop and gives the interrupt taken before it, or undefined. */
function taken(mode: Mode): number | undefined {
  hart.core.setWord(0, "privilege", mode === "user" ? 0 : mode === "supervisor" ? 1 : 3);
  hart.program([NOP]);
  hart.run(1);
  const pc = Number(hart.get("pc")) - 4;
  if (pc === MACHINE_VECTOR) return Number(hart.get("mcause") & 63n);
  if (pc === SUPERVISOR_VECTOR) return Number(hart.get("scause") & 63n);
  assertEquals(pc, CODE);
  return undefined;
}

// "Multiple simultaneous interrupts destined for M-mode are handled in the following decreasing
// priority order: MEI, MSI, MTI, SEI, SSI, STI" and the same order for those destined for S-mode.
Deno.test("pending interrupts are taken in the order MEI, MSI, MTI, SEI, SSI, STI", () => {
  const { MEI, MSI, MTI, SEI, SSI, STI } = INTERRUPT;
  for (const delegated of [0n, 0x222n]) {
    hart.restart();
    let pending = ALL;
    const order: number[] = [];
    while (pending !== 0n) {
      hart.set("mstatus", 0n);
      hart.set("mideleg", delegated);
      hart.set("mie", ALL);
      hart.set("mipLines", pending);
      const number = taken("user")!;
      order.push(number);
      pending &= ~bit(number);
    }
    assertEquals(order, [MEI, MSI, MTI, SEI, SSI, STI]);
  }
});

// "(a) either the current privilege mode is M and the MIE bit in the mstatus register is set, or the
// current privilege mode has less privilege than M-mode; (b) bit i is set in both mip and mie; and (c)
// if register mideleg exists, bit i is not set in mideleg."
Deno.test("an interrupt for M is taken below M always, and in M with MIE", () => {
  for (const mode of MODES) {
    for (const enabled of [false, true]) {
      hart.restart();
      hart.set("mstatus", enabled ? MSTATUS.MIE : 0n);
      hart.set("mie", bit(INTERRUPT.MTI));
      hart.set("mipLines", ALL);
      const expected = mode !== "machine" || enabled ? INTERRUPT.MTI : undefined;
      assertEquals(taken(mode), expected, `${mode}, MIE ${enabled}`);
    }
  }
});

// The same conditions one level down, with mideleg and SIE; "STIs will not be taken when executing in
// M-mode" when delegated.
Deno.test("a delegated interrupt is taken in U always, in S with SIE, in M never", () => {
  for (const mode of MODES) {
    for (const enabled of [false, true]) {
      hart.restart();
      hart.set("mstatus", MSTATUS.MIE | (enabled ? MSTATUS.SIE : 0n));
      hart.set("mideleg", bit(INTERRUPT.SEI));
      hart.set("mie", ALL);
      hart.set("mipLines", bit(INTERRUPT.SEI));
      const wanted = mode === "user" || (mode === "supervisor" && enabled);
      assertEquals(taken(mode), wanted ? INTERRUPT.SEI : undefined, `${mode}, SIE ${enabled}`);
    }
  }
});

Deno.test("an interrupt that mie does not enable is never taken", () => {
  for (const mode of MODES) {
    hart.restart();
    hart.set("mstatus", MSTATUS.MIE | MSTATUS.SIE);
    hart.set("mie", bit(INTERRUPT.MSI));
    hart.set("mipLines", ALL & ~bit(INTERRUPT.MSI));
    assertEquals(taken(mode), undefined, mode);
  }
});

// The conditions must "be evaluated immediately following the execution of an xRET instruction or an
// explicit write to a CSR on which these interrupt trap conditions expressly depend (including mip, mie,
// mstatus, and mideleg)."
Deno.test("enabling a pending interrupt takes it before the next instruction", () => {
  const writes: readonly (readonly [string, bigint])[] = [
    ["mstatus", MSTATUS.MIE],
    ["mie", ALL],
    ["mip", bit(INTERRUPT.SSI)],
  ];
  for (const [name, value] of writes) {
    hart.restart();
    hart.set("mstatus", name === "mstatus" ? 0n : MSTATUS.MIE);
    hart.set("mie", name === "mie" ? 0n : ALL);
    hart.set("mipLines", name === "mip" ? 0n : bit(INTERRUPT.MTI));
    hart.setX(11, value);
    hart.program([encode("csrrs", { rs1: 11, imm: csrNumber(name) }), NOP, NOP]);
    hart.run(3);
    assertEquals(hart.get("mepc"), BigInt(CODE + 4), name);
    assertEquals(hart.get("pc"), BigInt(MACHINE_VECTOR + 8), name);
  }
});

Deno.test("enabling by sret and mret counts as well", () => {
  for (const name of ["mret", "sret"]) {
    hart.restart();
    hart.set("mstatus", MSTATUS.MPIE | MSTATUS.SPIE | MSTATUS.SPP | 1n << 11n);
    hart.set("mepc", BigInt(CODE + 0x100));
    hart.set("sepc", BigInt(CODE + 0x100));
    hart.set("mideleg", bit(INTERRUPT.STI));
    hart.set("mie", bit(INTERRUPT.STI));
    hart.set("mipLines", bit(INTERRUPT.STI));
    hart.load([NOP], CODE + 0x100);
    hart.program([encode(name), NOP]);
    // mret goes to S with SIE clear, so only sret, which restores SIE, opens the interrupt.
    hart.run(2);
    const open = name === "sret";
    assertEquals(hart.get("sepc"), BigInt(CODE + 0x100));
    assertEquals(hart.get("pc"), BigInt((open ? SUPERVISOR_VECTOR : CODE + 0x100) + 4), name);
  }
});

// "MEIP is read-only in mip", and so are MTIP and MSIP; "SEIP is writable in mip", as are STIP, without
// stimecmp, and SSIP.
Deno.test("software sets the supervisor's pending bits in mip, and no machine bit", () => {
  hart.restart();
  hart.set("menvcfg", 0n);
  assertEquals(hart.kept("mip", (1n << 64n) - 1n), 0x222n);
  assertEquals(hart.kept("mip", 0n), 0n);
  assertEquals(hart.kept("mie", (1n << 64n) - 1n), ALL);
});

// sip: SSIP "is writable in sip", SEIP and STIP are not; only delegated bits can be reached.
Deno.test("sip writes SSIP when it is delegated, and nothing else", () => {
  hart.restart();
  hart.set("mideleg", 0x222n);
  hart.writeCsr("sip", (1n << 64n) - 1n, "supervisor");
  assertEquals(hart.readCsr("mip"), bit(INTERRUPT.SSI));
  hart.writeCsr("sip", 0n, "supervisor");
  assertEquals(hart.readCsr("mip"), 0n);
  hart.set("mideleg", 0n);
  hart.writeCsr("sip", (1n << 64n) - 1n, "supervisor");
  assertEquals(hart.readCsr("mip"), 0n);
});

// Reads give "the logical-OR of the software-writable bit and the interrupt signal from the interrupt
// controller"; "Only the software-writable SEIP bit participates in the read-modify-write sequence of a
// CSRRS or CSRRC instruction."
Deno.test("a csrrs of mip reads the controller's SEIP line and does not write it back", () => {
  hart.restart();
  hart.set("mipLines", bit(INTERRUPT.SEI));
  hart.setX(11, bit(INTERRUPT.SSI));
  hart.attempt([encode("csrrs", { rd: 10, rs1: 11, imm: csrNumber("mip") })], "machine");
  assertEquals(hart.x(10), bit(INTERRUPT.SEI));
  hart.set("mipLines", 0n);
  assertEquals(hart.readCsr("mip"), bit(INTERRUPT.SSI));
});

// "the hart must resume if a locally enabled interrupt becomes pending" whatever MIE, SIE and mideleg say.
Deno.test("wfi does not wait while an interrupt is pending and locally enabled", () => {
  for (const delegated of [0n, bit(INTERRUPT.STI)]) {
    hart.restart();
    hart.set("mstatus", 0n);
    hart.set("mideleg", delegated);
    hart.set("mie", bit(INTERRUPT.STI));
    hart.set("mipLines", bit(INTERRUPT.STI));
    hart.program([WFI, NOP]);
    hart.run(2);
    assertEquals(hart.get("pc"), BigInt(CODE + 8));
    assertEquals(hart.core.word(0, "waiting"), 0);
  }
});

Deno.test("wfi waits when nothing is pending, and when what is pending is not locally enabled", () => {
  for (const pending of [0n, bit(INTERRUPT.SEI)]) {
    hart.restart();
    hart.set("mstatus", MSTATUS.MIE);
    hart.set("mie", bit(INTERRUPT.STI));
    hart.set("mipLines", pending);
    hart.program([WFI, NOP]);
    hart.core.setControl("runEnd", 2n);
    hart.core.setControl("budget", 2n);
    assertEquals(hart.core.exports.run(), RUN_END.wait);
    assertEquals(hart.core.word(0, "waiting"), 1);
    // "Execution will resume at pc + 4", and the wait itself used one instruction.
    assertEquals(hart.get("pc"), BigInt(CODE + 4));
    assertEquals(hart.core.control("budget"), 1n);
  }
});

// "When S-mode is implemented, then executing WFI in U-mode causes an illegal-instruction exception,
// regardless of the value of the TW bit, unless the instruction completes within an
// implementation-specific, bounded time limit." TW does so for S. Our limit is zero.
Deno.test("wfi is illegal in U, and in S when TW is set", () => {
  const cases: readonly (readonly [Mode, bigint, boolean])[] = [
    ["user", 0n, false],
    ["user", MSTATUS.TW, false],
    ["supervisor", 0n, true],
    ["supervisor", MSTATUS.TW, false],
    ["machine", MSTATUS.TW, true],
  ];
  for (const [mode, status, allowed] of cases) {
    hart.restart();
    hart.set("mstatus", status);
    const expected = allowed ? "no trap" : machineTrap(2, WFI);
    assertEquals(hart.attempt([WFI], mode), expected, `${mode}, TW ${status !== 0n}`);
  }
});
