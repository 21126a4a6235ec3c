/**
 * A small guest that lives until it is told: it prints "ready", then for each byte that it reads the number of
 * bytes so far, as one digit and a newline; "q" powers it off. It sleeps between (WFI), for a hundredth of a
 * second of its own time, so that many of them do not keep a machine busy. The count lies in memory.
 */
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { type Place, Program } from "./program.ts";

const RAM = 0x8000_0000;
const UART = 0x1000_0000;
const POWER = 0x10_0000;
const MTIMECMP = 0x0200_4000;
const MTIME = 0x0200_bff8;
/** Where the count lies behind the start of RAM: page 64. */
export const COUNT_OFFSET = 0x4_0000;

const [UART_AT, COUNT_AT, COMPARE_AT, TIME_AT] = [8, 9, 18, 19];
const [A, B, C] = [5, 6, 7];

/** The guest as a raw image for machine mode, `--bios none`. */
export function countingGuest(): Uint8Array<ArrayBuffer> {
  const program = new Program(RAM);
  program.set(UART_AT, UART);
  program.setLong(COUNT_AT, BigInt(RAM + COUNT_OFFSET));
  program.set(COMPARE_AT, MTIMECMP);
  program.set(TIME_AT, MTIME);
  // WFI ends with the timer, whether interrupts are taken or not.
  program.set(A, 1 << 7);
  program.op("csrrw", { rd: 0, rs1: A, imm: csrNumber("mie") });
  for (const letter of "ready\n") print(program, letter);
  const loop = program.place();
  const sleep: Place = {};
  program.op("lbu", { rd: A, rs1: UART_AT, imm: 5 });
  program.op("andi", { rd: A, rs1: A, imm: 1 });
  program.to("beq", sleep, { rs1: A, rs2: 0 });
  program.op("lbu", { rd: A, rs1: UART_AT, imm: 0 });
  program.op("addi", { rd: B, rs1: 0, imm: "q".charCodeAt(0) });
  const counts: Place = {};
  program.to("bne", counts, { rs1: A, rs2: B });
  program.set(A, POWER);
  program.set(B, 0x5555);
  program.op("sw", { rs1: A, rs2: B, imm: 0 });
  program.place(counts);
  program.op("ld", { rd: C, rs1: COUNT_AT, imm: 0 });
  program.op("addi", { rd: C, rs1: C, imm: 1 });
  program.op("sd", { rs1: COUNT_AT, rs2: C, imm: 0 });
  program.op("addi", { rd: B, rs1: C, imm: "0".charCodeAt(0) });
  program.op("sb", { rs1: UART_AT, rs2: B, imm: 0 });
  print(program, "\n");
  program.to("jal", loop);
  program.place(sleep);
  program.op("ld", { rd: A, rs1: TIME_AT, imm: 0 });
  program.set(B, 100_000);
  program.op("add", { rd: A, rs1: A, rs2: B });
  program.op("sd", { rs1: COMPARE_AT, rs2: A, imm: 0 });
  program.op("wfi");
  program.to("jal", loop);
  return program.bytes();
}

function print(program: Program, letter: string): void {
  program.op("addi", { rd: A, rs1: 0, imm: letter.charCodeAt(0) });
  program.op("sb", { rs1: UART_AT, rs2: A, imm: 0 });
}
