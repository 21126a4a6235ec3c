/**
 * From a decoded instruction to text, as `objdump -M no-aliases` writes it (RISC-V Assembly Programmer's
 * Manual). Used by traces and the debugger.
 */
import { type Decoded, ILLEGAL } from "./decode.ts";
import { ROWS } from "./table.ts";

/** ABI names of the integer registers. */
export const X_NAMES: readonly string[] = [
  "zero",
  "ra",
  "sp",
  "gp",
  "tp",
  "t0",
  "t1",
  "t2",
  "s0",
  "s1",
  "a0",
  "a1",
  "a2",
  "a3",
  "a4",
  "a5",
  "a6",
  "a7",
  "s2",
  "s3",
  "s4",
  "s5",
  "s6",
  "s7",
  "s8",
  "s9",
  "s10",
  "s11",
  "t3",
  "t4",
  "t5",
  "t6",
];

/** ABI names of the float registers. */
export const F_NAMES: readonly string[] = [
  "ft0",
  "ft1",
  "ft2",
  "ft3",
  "ft4",
  "ft5",
  "ft6",
  "ft7",
  "fs0",
  "fs1",
  "fa0",
  "fa1",
  "fa2",
  "fa3",
  "fa4",
  "fa5",
  "fa6",
  "fa7",
  "fs2",
  "fs3",
  "fs4",
  "fs5",
  "fs6",
  "fs7",
  "fs8",
  "fs9",
  "fs10",
  "fs11",
  "ft8",
  "ft9",
  "ft10",
  "ft11",
];

const ROUNDING = ["rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"];

/** What a fence orders, as letters: device input and output, memory reads and writes. */
function ordered(bits: number): string {
  const letters = [..."iorw"].filter((_letter, i) => (bits & 8 >> i) !== 0).join("");
  return letters === "" ? "unknown" : letters;
}

/** How to name things outside the instruction. */
export interface DisassemblyNames {
  /** Name of a CSR, or undefined. */
  readonly csr?: (number: number) => string | undefined;
  /** Text for a code address, such as "80000010 <main+0x4>". */
  readonly target?: (address: bigint) => string;
}

/** Text of an instruction at an address. */
export function disassemble(decoded: Decoded, pc: bigint, names: DisassemblyNames = {}): string {
  const { row, bits, length } = decoded;
  if (row === ILLEGAL) return `.${length === 2 ? "2byte" : "4byte"}\t0x${bits.toString(16)}`;
  const { name, operands, extension } = ROWS[row]!;
  let text = "";
  for (const letter of operands) text += operand(letter, decoded, pc, names);
  const ordering = extension === "A" ? ["", ".rl", ".aq", ".aqrl"][bits >>> 25 & 3]! : "";
  // A compressed instruction is shown as the long form that it stands for.
  const mnemonic = length === 2 ? name : name + ordering;
  return text === "" ? mnemonic : `${mnemonic}\t${text}`;
}

function operand(letter: string, decoded: Decoded, pc: bigint, names: DisassemblyNames): string {
  const { rd, rs1, rs2, rs3, imm, bits, rm } = decoded;
  const target = () => {
    const address = BigInt.asUintN(64, pc + BigInt(imm));
    return names.target?.(address) ?? `0x${address.toString(16)}`;
  };
  switch (letter) {
    case "d":
      return X_NAMES[rd]!;
    case "s":
      return X_NAMES[rs1]!;
    case "t":
      return X_NAMES[rs2]!;
    case "D":
      return F_NAMES[rd]!;
    case "S":
      return F_NAMES[rs1]!;
    case "T":
      return F_NAMES[rs2]!;
    case "R":
      return F_NAMES[rs3]!;
    case "j":
    case "o":
    case "q":
      return String(imm);
    case ">":
    case "<":
      return `0x${imm.toString(16)}`;
    case "u":
      return `0x${(imm >>> 12).toString(16)}`;
    case "p":
    case "a":
      return target();
    case "E":
      return names.csr?.(imm) ?? `0x${imm.toString(16)}`;
    case "Z":
      return String(bits >>> 15 & 31);
    case "P":
      return ordered(bits >>> 24 & 15);
    case "Q":
      return ordered(bits >>> 20 & 15);
    case "m":
      return rm === 7 ? "" : `,${ROUNDING[rm]}`;
    default:
      return letter;
  }
}
