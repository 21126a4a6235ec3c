/**
 * Who handles a trap and where its handler starts (privileged ISA: medeleg, mideleg, mtvec
 * and stvec registers).
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import {
  CAUSE,
  CODE,
  INTERRUPT,
  MACHINE_VECTOR,
  machineTrap,
  type Mode,
  MSTATUS,
  NOP,
  PrivilegedCore,
  SUPERVISOR_VECTOR,
  supervisorTrap,
} from "../_support/privileged.ts";

const ECALL = encode("ecall");
const EBREAK = encode("ebreak");
const hart = new PrivilegedCore();

/** Runs a nop with an interrupt pending and gives where the hart went instead. */
function interrupted(number: number, mode: Mode): { pc: number; cause: bigint } {
  hart.core.setWord(0, "privilege", mode === "user" ? 0 : mode === "supervisor" ? 1 : 3);
  hart.set("mie", 1n << BigInt(number));
  hart.set("mipLines", 1n << BigInt(number));
  hart.program([NOP]);
  hart.run(1);
  // One nop of the handler has been executed.
  const pc = Number(hart.get("pc")) - 4;
  hart.set("mipLines", 0n);
  return { pc, cause: hart.get(hart.privilege === 3 ? "mcause" : "scause") };
}

// "Setting a bit in medeleg or mideleg will delegate the corresponding trap, when occurring in S-mode or
// U-mode, to the S-mode trap handler." "Traps never transition from a more-privileged mode to a
// less-privileged mode."
Deno.test("medeleg sends an exception of U and S to S, and one of M never", () => {
  hart.restart();
  hart.set("medeleg", 1n << 3n);
  assertEquals(hart.attempt([EBREAK], "user"), supervisorTrap(3, CODE));
  assertEquals(hart.attempt([EBREAK], "supervisor"), supervisorTrap(3, CODE));
  assertEquals(hart.attempt([EBREAK], "machine"), machineTrap(3, CODE));
  assertEquals(hart.attempt([ECALL], "user"), machineTrap(CAUSE.ecallUser, 0));
});

Deno.test("each delegable exception is delegated by its own bit alone", () => {
  const attempts: readonly (readonly [number, number, Mode])[] = [
    [CAUSE.illegalInstruction, 0xffff_ffff, "user"],
    [CAUSE.breakpoint, EBREAK, "user"],
    [CAUSE.ecallUser, ECALL, "user"],
    [CAUSE.ecallSupervisor, ECALL, "supervisor"],
    [CAUSE.loadMisaligned, encode("lr.d", { rd: 5, rs1: 11 }), "user"],
    [CAUSE.storeMisaligned, encode("sc.d", { rd: 5, rs1: 11 }), "user"],
    [CAUSE.loadAccess, encode("ld", { rd: 5, rs1: 12 }), "user"],
    [CAUSE.storeAccess, encode("sd", { rs1: 12 }), "user"],
  ];
  for (const [cause, word, mode] of attempts) {
    hart.restart();
    hart.setX(11, BigInt(CODE + 1));
    hart.setX(12, 0x4000_0000n);
    hart.set("medeleg", 0xffffn & ~(1n << BigInt(cause)));
    assertEquals(hart.attempt([word], mode).slice(0, 7), "machine", `cause ${cause} kept`);
    hart.set("medeleg", 1n << BigInt(cause));
    const told = hart.attempt([word], mode);
    assertEquals(told.split(",")[0], `supervisor: cause ${cause}`);
  }
});

// "In particular, medeleg[11] is read-only zero"; the reserved causes 10 and 14 do not exist either.
Deno.test("medeleg keeps the bits of exceptions that exist and can be delegated", () => {
  hart.restart();
  assertEquals(hart.kept("medeleg", (1n << 64n) - 1n), 0xb3ffn);
});

// "An implementation can choose to subset the delegatable traps": here the supervisor's interrupts.
Deno.test("mideleg keeps the supervisor's three interrupts", () => {
  hart.restart();
  assertEquals(hart.kept("mideleg", (1n << 64n) - 1n), 0x222n);
  // A delegated interrupt "becomes visible in the sip register and is maskable using the sie register.
  // Otherwise, the corresponding bits in sip and sie are read-only zero."
  hart.set("mideleg", 0x020n);
  hart.set("mie", 0xaaan);
  hart.set("mipLines", 0xaaan);
  hart.set("mstatus", 0n);
  assertEquals([hart.readCsr("sie"), hart.readCsr("sip")], [0x20n, 0x20n]);
});

// "The mcause, mepc, and mtval registers and the MPP and MPIE fields of mstatus are not written."
Deno.test("a delegated trap writes the supervisor's registers and no machine register", () => {
  hart.restart();
  hart.set("medeleg", 1n << 3n);
  hart.set("mcause", 55n);
  hart.set("mepc", 66n);
  hart.set("mtval", 77n);
  hart.set("mstatus", MSTATUS.SIE | MSTATUS.MPIE | 1n << 11n);
  hart.attempt([EBREAK], "supervisor");
  assertEquals([hart.get("mcause"), hart.get("mepc"), hart.get("mtval")], [55n, 66n, 77n]);
  assertEquals(hart.get("mstatus"), MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.MPIE | 1n << 11n);
  hart.set("mstatus", MSTATUS.SPIE);
  hart.attempt([EBREAK], "user");
  assertEquals(hart.get("mstatus"), 0n, "SPIE takes SIE, SPP takes U");
});

// "xPIE is set to the value of xIE; xIE is set to 0; and xPP is set to y."
Deno.test("a trap to M stacks MIE in MPIE and the mode in MPP, and leaves SIE and SPP", () => {
  for (const [mode, mpp] of [["user", 0n], ["supervisor", 1n], ["machine", 3n]] as const) {
    hart.restart();
    hart.set("mstatus", MSTATUS.MIE | MSTATUS.SIE | MSTATUS.SPP);
    hart.attempt([EBREAK], mode);
    const expected = MSTATUS.MPIE | MSTATUS.SIE | MSTATUS.SPP | mpp << 11n;
    assertEquals(hart.get("mstatus"), expected, mode);
  }
});

// "All synchronous exceptions into machine mode cause the pc to be set to the address in the BASE field,
// whereas interrupts cause the pc to be set to the address in the BASE field plus four times the
// interrupt cause number."
Deno.test("vectored mode offsets interrupts by four times their cause and exceptions not at all", () => {
  hart.restart();
  hart.set("mtvec", BigInt(MACHINE_VECTOR) | 1n);
  hart.set("stvec", BigInt(SUPERVISOR_VECTOR) | 1n);
  assertEquals(hart.attempt([EBREAK], "machine"), machineTrap(3, CODE));
  hart.set("medeleg", 8n);
  assertEquals(hart.attempt([EBREAK], "user"), supervisorTrap(3, CODE));
  hart.set("mideleg", 0x222n);
  for (const number of [INTERRUPT.MSI, INTERRUPT.MTI, INTERRUPT.MEI]) {
    const cause = 1n << 63n | BigInt(number);
    assertEquals(interrupted(number, "user"), { pc: MACHINE_VECTOR + 4 * number, cause });
  }
  for (const number of [INTERRUPT.SSI, INTERRUPT.STI, INTERRUPT.SEI]) {
    const cause = 1n << 63n | BigInt(number);
    assertEquals(interrupted(number, "user"), { pc: SUPERVISOR_VECTOR + 4 * number, cause });
  }
});

Deno.test("direct mode sends interrupts to the base too", () => {
  hart.restart();
  hart.set("mideleg", 0x222n);
  assertEquals(interrupted(INTERRUPT.MTI, "user").pc, MACHINE_VECTOR);
  assertEquals(interrupted(INTERRUPT.STI, "user").pc, SUPERVISOR_VECTOR);
});

// "For other traps, mtval is set to zero"; mepc is the instruction that was interrupted.
Deno.test("an interrupt leaves zero in the trap value and the next instruction in epc", () => {
  hart.restart();
  hart.set("mtval", 99n);
  hart.set("mstatus", MSTATUS.MIE);
  interrupted(INTERRUPT.MTI, "machine");
  assertEquals([hart.get("mepc"), hart.get("mtval")], [BigInt(CODE), 0n]);
});

// Modes from 2 on are reserved, and the field is WARL.
Deno.test("tvec never holds a reserved mode", () => {
  hart.restart();
  for (const name of ["mtvec", "stvec"] as const) {
    hart.writeCsr(name, 0x8000_1001n);
    for (const reserved of [2n, 3n]) {
      const kept = hart.kept(name, 0x8000_2000n | reserved);
      assertEquals(kept & 2n, 0n, name);
    }
    assertEquals(hart.kept(name, 0x8000_3000n), 0x8000_3000n, name);
  }
});
