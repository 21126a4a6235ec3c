/**
 * The shape of a row of the instruction table and the small constructors that keep rows readable.
 * Encoding formats: unprivileged ISA, "Base Instruction Formats".
 *
 * Operand letters, in the order the disassembler prints them:
 *   d rd   s rs1   t rs2   D fd   S fs1   T fs2   R fs3          registers
 *   j I-immediate   o load offset   q store offset   p branch target   a jump target   u upper
 *   > 6-bit shift   < 5-bit shift   E CSR   Z CSR immediate   m rounding mode
 *   P Q what a fence orders before and after it   other: literal text
 */
import type { Meaning } from "./ops.ts";

/** How an instruction leaves: what a tier must know without reading the meaning. */
export type Flow = "straight" | "branch" | "jump" | "indirect" | "system";

/** One instruction. */
export interface Row {
  /** Mnemonic as objdump prints it with `no-aliases`. */
  readonly name: string;
  /** Bits that must have a value. */
  readonly mask: number;
  /** The value of those bits. */
  readonly match: number;
  /** Operands, see the head of this file. */
  readonly operands: string;
  /** Extension whose chapter of the ISA manual defines it. */
  readonly extension: string;
  /** Where control goes afterwards. */
  readonly flow: Flow;
  /** Whether mstatus.FS must be on. */
  readonly float: boolean;
  /** What it does. */
  readonly meaning: Meaning;
}

/** Major opcodes with their low bits (unprivileged ISA, "RV32/64G Instruction Set Listings"). */
export const OPCODE = {
  load: 0x03,
  loadFloat: 0x07,
  miscMemory: 0x0f,
  immediate: 0x13,
  auipc: 0x17,
  immediate32: 0x1b,
  store: 0x23,
  storeFloat: 0x27,
  atomic: 0x2f,
  register: 0x33,
  lui: 0x37,
  register32: 0x3b,
  fmadd: 0x43,
  fmsub: 0x47,
  fnmsub: 0x4b,
  fnmadd: 0x4f,
  float: 0x53,
  branch: 0x63,
  jalr: 0x67,
  jal: 0x6f,
  system: 0x73,
} as const;

const FUNCT3 = 0x7000;
const FUNCT7 = 0xfe000000;
const RS2 = 0x01f00000;

/** What varies between rows of one table. */
export interface RowOptions {
  readonly flow?: Flow;
  readonly float?: boolean;
}

/** Makes a row from its mask and match. */
export function row(
  extension: string,
  name: string,
  mask: number,
  match: number,
  operands: string,
  meaning: Meaning,
  options: RowOptions = {},
): Row {
  return {
    extension,
    name,
    mask: mask >>> 0,
    match: match >>> 0,
    operands,
    meaning,
    flow: options.flow ?? "straight",
    float: options.float ?? false,
  };
}

/** Makes the row constructors of one extension. */
export function rowsOf(extension: string): {
  /** funct7, rs2, rs1, funct3, rd. */
  r(name: string, op: number, f3: number, f7: number, meaning: Meaning): Row;
  /** I-immediate and funct3. */
  i(name: string, op: number, f3: number, operands: string, meaning: Meaning, o?: RowOptions): Row;
  /** 6-bit shift amount: bits 31:26 fixed. */
  shift64(name: string, f3: number, top: number, meaning: Meaning, op?: number): Row;
  /** 5-bit shift amount: bits 31:25 fixed. */
  shift32(name: string, f3: number, top: number, meaning: Meaning): Row;
  /** funct7 and rs2 fixed: one source. */
  unary(name: string, op: number, f3: number, f12: number, meaning: Meaning): Row;
  /** All but rd, rs1 and rounding mode or funct3 given by mask and match. */
  exact(
    name: string,
    mask: number,
    match: number,
    operands: string,
    meaning: Meaning,
    options?: RowOptions,
  ): Row;
} {
  return {
    r: (name, op, f3, f7, meaning) =>
      row(extension, name, FUNCT7 | FUNCT3 | 0x7f, f7 << 25 | f3 << 12 | op, "d,s,t", meaning),
    i: (name, op, f3, operands, meaning, options) =>
      row(extension, name, FUNCT3 | 0x7f, f3 << 12 | op, operands, meaning, options),
    shift64: (name, f3, top, meaning, op = OPCODE.immediate) =>
      row(extension, name, 0xfc000000 | FUNCT3 | 0x7f, top << 26 | f3 << 12 | op, "d,s,>", meaning),
    shift32: (name, f3, top, meaning) =>
      row(
        extension,
        name,
        FUNCT7 | FUNCT3 | 0x7f,
        top << 25 | f3 << 12 | OPCODE.immediate32,
        "d,s,<",
        meaning,
      ),
    unary: (name, op, f3, f12, meaning) =>
      row(
        extension,
        name,
        FUNCT7 | RS2 | FUNCT3 | 0x7f,
        f12 << 20 | f3 << 12 | op,
        "d,s",
        meaning,
      ),
    exact: (name, mask, match, operands, meaning, options) =>
      row(extension, name, mask, match, operands, meaning, options),
  };
}
