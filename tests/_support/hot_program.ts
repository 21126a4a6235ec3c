/**
 * Programs that are hot from the start: endless rounds of nested loops over snippets, with a trap handler
 * that keeps a hash of all traps and goes on behind the instruction that trapped.
 *
 * Invariant: handler and loops touch no memory, so they work under any translation that maps them.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { type Place, Program } from "./program.ts";

/** Where programs start in machine mode; the first two megabytes are theirs. */
export const START = 0x8000_0000;
/** Registers that snippets compute with. */
export const COMPUTED: readonly number[] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/** Registers for snippets' own use. */
export const SCRATCH = [16, 17, 18] as const;
/** Pointers that stay as they are: to data, and free ones. */
export const POINTERS = [19, 20, 21, 22, 23] as const;
/** Where the handler goes on when the trap was not in the program's first two megabytes. */
export const RECOVERY = 26;

const INNER = 25;
const HASH = 27;
const TRAP = [28, 29] as const;
const COUNT = 30;
const ROUNDS = 31;
/** log2 of the bytes that belong to the program itself. */
const OWN_SHIFT = 21;
const OPEN_TO_ALL = 0x1f;

/** Reads a CSR. */
export function readCsr(program: Program, rd: number, name: string): void {
  program.op("csrrs", { rd, rs1: 0, imm: csrNumber(name) });
}

/** Changes a CSR by a register. */
export function changeCsr(
  program: Program,
  how: "csrrw" | "csrrs" | "csrrc",
  name: string,
  rs1: number,
  rd = 0,
): void {
  program.op(how, { rd, rs1, imm: csrNumber(name) });
}

/** Opens all memory to all modes. */
export function openMemory(program: Program): void {
  program.set(SCRATCH[0], -1);
  changeCsr(program, "csrrw", "pmpaddr0", SCRATCH[0]);
  program.op("csrrwi", { rs1: OPEN_TO_ALL, imm: csrNumber("pmpcfg0") });
}

/**
 * Writes a trap handler of a mode and makes it the vector's.
 * @param onInterrupt writes what an interrupt does besides being hashed, with two registers at hand
 */
export function emitHandler(
  program: Program,
  mode: "m" | "s",
  onInterrupt?: (registers: readonly [number, number]) => void,
): void {
  const start: Place = {};
  const behind: Place = {};
  const [first, second] = TRAP;
  program.address(first, start);
  changeCsr(program, "csrrw", `${mode}tvec`, first);
  program.to("jal", behind);
  program.align(8);
  program.place(start);
  emitHash(program, mode);
  readCsr(program, first, `${mode}cause`);
  const exception: Place = {};
  program.to("bge", exception, { rs1: first, rs2: 0 });
  onInterrupt?.(TRAP);
  program.op(`${mode}ret`);
  program.place(exception);
  // Behind the instruction, or where the program wants to recover.
  readCsr(program, second, `${mode}epc`);
  program.op("srli", { rd: first, rs1: second, imm: OWN_SHIFT });
  program.op("addi", { rd: first, rs1: first, imm: -Math.floor(program.base / 2 ** OWN_SHIFT) });
  program.op("addi", { rd: second, rs1: second, imm: 4 });
  program.op("beq", { rs1: first, rs2: 0, imm: 8 });
  program.op("addi", { rd: second, rs1: RECOVERY });
  changeCsr(program, "csrrw", `${mode}epc`, second);
  program.op(`${mode}ret`);
  program.place(behind);
}

/** Mixes cause, address and value of the trap into the hash. */
function emitHash(program: Program, mode: "m" | "s"): void {
  const [first] = TRAP;
  for (const name of ["cause", "epc", "tval"]) {
    readCsr(program, first, mode + name);
    program.op("xor", { rd: HASH, rs1: HASH, rs2: first });
    program.op("rori", { rd: HASH, rs1: HASH, imm: 57 });
    program.op("addi", { rd: HASH, rs1: HASH, imm: 1 });
  }
}

/** Goes to a place in a lower mode by a return from machine mode. */
export function enterMode(program: Program, mode: "s" | "u"): void {
  const to: Place = {};
  program.address(SCRATCH[0], to);
  changeCsr(program, "csrrw", "mepc", SCRATCH[0]);
  program.setLong(SCRATCH[0], 3n << 11n);
  changeCsr(program, "csrrc", "mstatus", SCRATCH[0]);
  if (mode === "s") {
    program.setLong(SCRATCH[0], 1n << 11n);
    changeCsr(program, "csrrs", "mstatus", SCRATCH[0]);
  }
  program.op("mret");
  program.place(to);
}

/** Gives the computed registers values. */
export function seedRegisters(program: Program, rng: Prng): void {
  for (const rd of COMPUTED) program.setLong(rd, rng.u64() >> BigInt(rng.pick([0, 0, 40, 60])));
}

/** Writes endless rounds of loops, some of them nested, over what `snippet` writes. */
export function emitHotLoops(
  program: Program,
  rng: Prng,
  snippet: () => void,
  loops = 2 + rng.below(5),
): void {
  const snippets = (most: number) => {
    for (let i = 1 + rng.below(most); i > 0; i--) snippet();
  };
  const round = program.place();
  program.op("addi", { rd: ROUNDS, rs1: ROUNDS, imm: 1 });
  for (let i = 0; i < loops; i++) {
    counted(program, COUNT, 1 + rng.below(rng.pick([3, 60])), () => {
      snippets(6);
      if (rng.below(3) > 0) return;
      counted(program, INNER, 1 + rng.below(30), () => snippets(4));
      snippets(2);
    });
  }
  program.to("jal", round);
}

/** A loop that a register counts down. */
function counted(program: Program, register: number, times: number, body: () => void): void {
  program.op("addi", { rd: register, imm: times });
  const head = program.place();
  body();
  program.op("addi", { rd: register, rs1: register, imm: -1 });
  program.op("beq", { rs1: register, rs2: 0, imm: 8 });
  program.to("jal", head);
}

/** An instruction on computed registers, often one that depends on what came before. */
export function emitCompute(program: Program, rng: Prng): void {
  const names = ["add", "sub", "xor", "and", "or", "sltu", "sll", "addw", "mul", "rol", "divu"];
  const [rd, rs1, rs2] = [rng.pick(COMPUTED), rng.pick(COMPUTED), rng.pick(COMPUTED)];
  if (rng.below(3) === 0) program.op("addi", { rd, rs1, imm: rng.below(4096) - 2048 });
  else program.op(rng.pick(names), { rd, rs1, rs2 });
}

/** A branch on computed registers around what `body` writes. */
export function emitMaybe(program: Program, rng: Prng, body: () => void): void {
  const behind: Place = {};
  const operands = { rs1: rng.pick(COMPUTED), rs2: rng.pick(COMPUTED) };
  program.to(rng.pick(["beq", "bne", "bltu", "bge"]), behind, operands);
  body();
  program.place(behind);
}
