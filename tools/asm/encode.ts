/**
 * From a row of the instruction table and operands to bits: the inverse of decode.ts, for tests and
 * generated programs.
 */
import { IMMEDIATE_FORMATS, type ImmediateFormat } from "../../kernel/cpu/isa/decode.ts";
import { rowNumber, ROWS } from "../../kernel/cpu/isa/table.ts";

/** Operands of an instruction; those that a row does not have are ignored. */
export interface EncodeOperands {
  readonly rd?: number;
  readonly rs1?: number;
  readonly rs2?: number;
  readonly rs3?: number;
  /** Immediate, shift amount, CSR number or branch distance. */
  readonly imm?: number;
  /** Rounding mode. */
  readonly rm?: number;
}

function immediateBits(imm: number, format: ImmediateFormat): number {
  switch (format) {
    case "I":
    case "csr":
      return imm << 20;
    case "S":
      return (imm >> 5 & 127) << 25 | (imm & 31) << 7;
    case "B":
      return (imm >> 12 & 1) << 31 | (imm >> 5 & 63) << 25 | (imm >> 1 & 15) << 8 |
        (imm >> 11 & 1) << 7;
    case "U":
      return imm & 0xfffff000;
    case "J":
      return (imm >> 20 & 1) << 31 | (imm >> 1 & 1023) << 21 | (imm >> 11 & 1) << 20 |
        (imm >> 12 & 255) << 12;
    case "shift64":
      return (imm & 63) << 20;
    case "shift32":
      return (imm & 31) << 20;
    default:
      return 0;
  }
}

/** Bits of the row at a position. Throws RangeError for a register or immediate out of range. */
export function encodeRow(position: number, operands: EncodeOperands): number {
  const row = ROWS[position];
  if (row === undefined) throw new RangeError(`there is no instruction ${position}`);
  const { rd = 0, rs1 = 0, rs2 = 0, rs3 = 0, imm = 0, rm = 7 } = operands;
  for (const register of [rd, rs1, rs2, rs3]) {
    if (register < 0 || register > 31) throw new RangeError(`there is no register ${register}`);
  }
  let fields = rd << 7 | rs1 << 15 | rs2 << 20 | rs3 << 27;
  if (row.operands.includes("m")) fields |= rm << 12;
  const free = ~row.mask;
  const immediate = immediateBits(imm, IMMEDIATE_FORMATS[position]!);
  // An immediate takes the place of the register fields that its format has not.
  const format = IMMEDIATE_FORMATS[position]!;
  const taken = format === "none" ? 0 : immediateBits(-1, format);
  fields = fields & ~taken | immediate;
  return (row.match | fields & free) >>> 0;
}

/** Bits of an instruction by name. Throws RangeError for an unknown name. */
export function encode(name: string, operands: EncodeOperands = {}): number {
  return encodeRow(rowNumber(name), operands);
}
