/**
 * A small guest that writes a number that rises to each of 512 pages, round for round, and prints a letter
 * after each. In the middle it sleeps (WFI) until something is typed, so that it cannot end before a test has
 * done with it what it wants; what it executes in all does not depend on when that is.
 */
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { BOARD } from "../../kernel/machine/memory_map.ts";
import { type Place, Program } from "./program.ts";

/** Rounds in all: letters that it prints. */
export const WRITING_ROUNDS = 20;
/** Pages written in each round. */
const PAGES = 512;
/** Where they begin behind the start of RAM. */
const PAGES_OFFSET = 0x10_0000;
const RAM = 0x8000_0000;

const [UART_AT, PAGES_AT, ROUNDS, PAGES_LEFT, AT, VALUE, PAGE_BYTES] = [5, 6, 7, 10, 11, 12, 13];
const [A, B] = [14, 15];

/** The guest as a raw image for machine mode, `--bios none`. */
export function writingGuest(): Uint8Array<ArrayBuffer> {
  const program = new Program(RAM);
  const { plic, uart16550: uart, syscon } = BOARD;
  const store = (address: number, value: number) => {
    program.set(A, address);
    program.set(B, value);
    program.op("sw", { rs1: A, rs2: B, imm: 0 });
  };
  program.set(UART_AT, uart!.base);
  program.setLong(PAGES_AT, BigInt(RAM + PAGES_OFFSET));
  program.set(PAGE_BYTES, 4096);
  // The UART's interrupt ends WFI, whether interrupts are taken or not.
  store(plic!.base + 4 * uart!.irq, 1);
  store(plic!.base + 0x2000, 1 << uart!.irq);
  store(plic!.base + 0x20_0000, 0);
  program.op("addi", { rd: A, rs1: 0, imm: 1 });
  program.op("sb", { rs1: UART_AT, rs2: A, imm: 1 });
  program.set(A, 1 << 11);
  program.op("csrrw", { rd: 0, rs1: A, imm: csrNumber("mie") });
  rounds(program, WRITING_ROUNDS, WRITING_ROUNDS / 2);
  program.op("wfi");
  rounds(program, WRITING_ROUNDS / 2, 0);
  store(syscon!.base, 0x5555);
  const end = program.place();
  program.to("jal", end);
  return program.bytes();
}

/** Rounds, with so many left before and behind them. */
function rounds(program: Program, from: number, to: number): void {
  program.op("addi", { rd: ROUNDS, rs1: 0, imm: from });
  const round = program.place();
  program.op("addi", { rd: PAGES_LEFT, rs1: 0, imm: PAGES });
  program.op("addi", { rd: AT, rs1: PAGES_AT, imm: 0 });
  const page = program.place();
  // Written at its begin and its end.
  program.op("addi", { rd: VALUE, rs1: VALUE, imm: 1 });
  program.op("sd", { rs1: AT, rs2: VALUE, imm: 0 });
  program.op("add", { rd: AT, rs1: AT, rs2: PAGE_BYTES });
  program.op("sd", { rs1: AT, rs2: VALUE, imm: -8 });
  program.op("addi", { rd: PAGES_LEFT, rs1: PAGES_LEFT, imm: -1 });
  // Some time for itself: 65536 instructions.
  program.op("lui", { rd: A, imm: 0x8000 });
  const wait: Place = program.place();
  program.op("addi", { rd: A, rs1: A, imm: -1 });
  program.to("bne", wait, { rs1: A, rs2: 0 });
  program.to("bne", page, { rs1: PAGES_LEFT, rs2: 0 });
  program.op("addi", { rd: A, rs1: ROUNDS, imm: 48 });
  program.op("sb", { rs1: UART_AT, rs2: A, imm: 0 });
  program.op("addi", { rd: ROUNDS, rs1: ROUNDS, imm: -1 });
  program.op("addi", { rd: A, rs1: 0, imm: to });
  program.to("bne", round, { rs1: ROUNDS, rs2: A });
}
