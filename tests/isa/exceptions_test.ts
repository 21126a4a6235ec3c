/**
 * Every exception cause with what it leaves in mepc, mcause and mtval (privileged ISA, mcause and
 * mtval registers; unprivileged ISA for which instruction raises what).
 *
 * Invariant tested: mepc is the address of the instruction that trapped, in every case.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import {
  CAUSE,
  CODE,
  DATA,
  machineTrap,
  MSTATUS,
  NOP,
  PrivilegedCore,
  told,
} from "../_support/privileged.ts";
import { LEAF, PageTables } from "../_support/page_tables.ts";

const LOAD = encode("ld", { rd: 10, rs1: 11 });
const STORE = encode("sd", { rs1: 11, rs2: 12 });
const JUMP = encode("jalr", { rd: 1, rs1: 11 });
/** Nothing answers here. */
const NOWHERE = 0x4000_0000;

const hart = new PrivilegedCore();

function pointedAt(address: number | bigint, word: number): string {
  hart.restart();
  hart.setX(11, BigInt(address));
  return hart.attempt([word], "machine");
}

// mtval: "faulting virtual address, even for physical-memory access-fault exceptions."
Deno.test("loads, stores and atomics where nothing answers raise access faults", () => {
  const expected = (cause: number) => machineTrap(cause, NOWHERE);
  assertEquals(pointedAt(NOWHERE, LOAD), expected(CAUSE.loadAccess));
  assertEquals(pointedAt(NOWHERE, STORE), expected(CAUSE.storeAccess));
  // mcause: "load and load-reserved instructions generate load exceptions".
  const atomic = (name: string) => encode(name, { rd: 10, rs1: 11, rs2: 0 });
  assertEquals(pointedAt(NOWHERE, atomic("lr.d")), expected(CAUSE.loadAccess));
  assertEquals(pointedAt(NOWHERE, atomic("amoadd.d")), expected(CAUSE.storeAccess));
});

Deno.test("physical addresses have 56 bits: what lies above raises access faults", () => {
  const far = 1n << 56n | BigInt(DATA);
  assertEquals(pointedAt(far, LOAD), machineTrap(CAUSE.loadAccess, far));
  assertEquals(pointedAt(far, STORE), machineTrap(CAUSE.storeAccess, far));
});

// A jump completes; the fetch of its target traps, so that mepc is the target.
Deno.test("a fetch where nothing is raises cause 1 with the target in mepc and mtval", () => {
  hart.restart();
  hart.setX(11, BigInt(NOWHERE));
  hart.program([JUMP]);
  assertEquals(told(hart.step(2)), machineTrap(CAUSE.fetchAccess, NOWHERE, NOWHERE));
  assertEquals(hart.x(1), BigInt(CODE + 4), "the jump itself has happened");
});

Deno.test("running off the end of RAM raises cause 1 at the first address behind it", () => {
  hart.restart();
  const end = RAM + hart.core.plan.ramBytes;
  hart.program([NOP], end - 4);
  assertEquals(told(hart.step(2)), machineTrap(CAUSE.fetchAccess, end, end));
});

// mtval: "the virtual address of the portion of the instruction that caused the fault, while mepc will
// point to the beginning of the instruction."
Deno.test("a 4-byte instruction half behind the end of RAM names its second half in mtval", () => {
  hart.restart();
  const end = RAM + hart.core.plan.ramBytes;
  hart.load([NOP << 16], end - 4);
  hart.set("pc", BigInt(end - 2));
  assertEquals(told(hart.step()), machineTrap(CAUSE.fetchAccess, end, end - 2));
});

// mtval: "the actual faulting instruction", "right-justified and all unused upper bits are cleared to
// zero."
Deno.test("illegal instructions leave their bits in mtval: 32 for long ones, 16 for compressed", () => {
  hart.restart();
  assertEquals(hart.attempt([0xffff_ffff], "machine"), machineTrap(2, 0xffff_ffff));
  assertEquals(hart.attempt([0x8000_0073], "machine"), machineTrap(2, 0x8000_0073));
  // The upper half belongs to the next instruction.
  assertEquals(hart.attempt([0x1234_0000], "machine"), machineTrap(2, 0));
  assertEquals(hart.attempt([0x1234_8000], "machine"), machineTrap(2, 0x8000));
});

Deno.test("an illegal 4-byte instruction on two pages has all its bits in mtval", () => {
  hart.restart();
  const at = CODE + 4094;
  hart.load([0xfffb_0000, 0xabcd], at - 2);
  hart.set("pc", BigInt(at));
  assertEquals(told(hart.step()), machineTrap(CAUSE.illegalInstruction, 0xabcd_fffb, at));
});

// "On a breakpoint exception raised by an EBREAK or C.EBREAK instruction, mtval is written with either
// zero or the virtual address of the instruction." Ours has the address.
Deno.test("ebreak and c.ebreak raise cause 3 with their own address in mtval", () => {
  hart.restart();
  assertEquals(hart.attempt([encode("ebreak")], "machine"), machineTrap(3, CODE));
  assertEquals(hart.attempt([0x0001_9002], "machine"), machineTrap(3, CODE));
});

// Zalrsc and Zaamo: misaligned addresses raise address-misaligned (or access-fault) exceptions.
Deno.test("misaligned atomics raise causes 4 and 6, even where nothing answers", () => {
  const atomic = (name: string) => encode(name, { rd: 10, rs1: 11, rs2: 0 });
  for (const base of [DATA, NOWHERE]) {
    for (const [name, offset] of [["lr.w", 2], ["lr.d", 4]] as const) {
      const at = base + offset;
      assertEquals(pointedAt(at, atomic(name)), machineTrap(CAUSE.loadMisaligned, at), name);
    }
    for (const [name, offset] of [["sc.w", 1], ["sc.d", 4], ["amoor.w", 3]] as const) {
      const at = base + offset;
      assertEquals(pointedAt(at, atomic(name)), machineTrap(CAUSE.storeMisaligned, at), name);
    }
  }
});

// mcause table: environment calls are 8, 9 and 11; "For other traps, mtval is set to zero".
Deno.test("ecall raises 8, 9 and 11 from U, S and M with zero in mtval", () => {
  hart.restart();
  const calls = (["user", "supervisor", "machine"] as const).map((mode) =>
    hart.attempt([encode("ecall")], mode)
  );
  assertEquals(calls, [machineTrap(8, 0), machineTrap(9, 0), machineTrap(11, 0)]);
});

// "When page-based virtual memory is enabled, mtval is written with the faulting virtual address".
Deno.test("page faults raise 12, 13 and 15 with the virtual address in mtval", () => {
  hart.restart();
  const tables = new PageTables(hart, "sv39");
  tables.map(BigInt(CODE), CODE, LEAF.all);
  tables.turnOn();
  hart.setX(11, BigInt(DATA + 5));
  assertEquals(hart.attempt([LOAD], "supervisor"), machineTrap(CAUSE.loadPage, DATA + 5));
  assertEquals(hart.attempt([STORE], "supervisor"), machineTrap(CAUSE.storePage, DATA + 5));
  hart.setX(11, BigInt(DATA + 6));
  hart.core.setWord(0, "privilege", 1);
  hart.program([JUMP]);
  assertEquals(told(hart.step(2)), machineTrap(CAUSE.fetchPage, DATA + 6, DATA + 6));
});

// stval: "the virtual address of the portion of the instruction that caused the fault, while sepc will
// point to the beginning of the instruction."
Deno.test("a fault on an instruction's second page names that page in stval and its start in sepc", () => {
  hart.restart();
  const tables = new PageTables(hart, "sv39");
  tables.map(BigInt(CODE), CODE, LEAF.all);
  tables.turnOn();
  hart.set("medeleg", 1n << 12n);
  const at = CODE + 4094;
  hart.load([NOP << 16], at - 2);
  hart.core.setWord(0, "privilege", 1);
  hart.set("pc", BigInt(at));
  const trap = hart.step();
  assertEquals(
    told(trap),
    told({ mode: "supervisor", cause: 12n, epc: BigInt(at), value: BigInt(CODE + 4096) }),
  );
  // A compressed instruction in the same place needs only the first page.
  hart.load([0x0001_0000], at - 2);
  hart.core.setWord(0, "privilege", 1);
  hart.set("pc", BigInt(at));
  assertEquals(told(hart.step()), "no trap");
});

// With C, IALIGN is 16, so that no instruction address can be misaligned.
Deno.test("no branch or jump can reach a misaligned address: jalr clears bit 0", () => {
  hart.restart();
  hart.setX(11, BigInt(CODE + 0x101));
  assertEquals(hart.attempt([JUMP], "machine"), "no trap");
  assertEquals(hart.get("pc"), BigInt(CODE + 0x100));
  assertEquals(hart.attempt([encode("jal", { rd: 0, imm: 0x102 })], "machine"), "no trap");
  assertEquals(hart.get("pc"), BigInt(CODE + 0x102));
  assertEquals(hart.attempt([encode("beq", { imm: 6 })], "machine"), "no trap");
  assertEquals(hart.get("pc"), BigInt(CODE + 6));
  // "mepc[0] is always zero."
  assertEquals(hart.kept("mepc", BigInt(CODE + 3)), BigInt(CODE + 2));
  assertEquals(hart.kept("sepc", BigInt(CODE + 3)), BigInt(CODE + 2));
});

Deno.test("a faulting load leaves its destination register and memory as they were", () => {
  hart.restart();
  hart.setX(10, 77n);
  hart.setX(11, BigInt(NOWHERE));
  assertEquals(hart.attempt([LOAD], "machine"), machineTrap(CAUSE.loadAccess, NOWHERE));
  assertEquals(hart.x(10), 77n);
  assertEquals(hart.get("mstatus") & MSTATUS.MPP, MSTATUS.MPP, "the trap came from M");
});

// An instruction that cannot be fetched uses its part of the budget like any other; otherwise a guest
// whose trap vector lies nowhere would keep the run for ever.
Deno.test("a trap vector that cannot be fetched uses one instruction for each fault", () => {
  hart.restart();
  hart.set("mtvec", 0n);
  hart.set("pc", 0n);
  hart.run(1000);
  assertEquals(hart.core.control("budget"), 0n);
  assertEquals(hart.get("notRetired"), 1000n);
});
