/**
 * TABLE: compressed instructions as their long forms (unprivileged ISA, chapter "C" extension, RV64C
 * with F and D loads and stores). Reserved encodings match no row; hints expand to their harmless long
 * forms. All of it is data: the generated decoder (cpu/decoder_table.ts) is made of the same rows.
 */
import { rowNumber } from "./table.ts";

/** Operands that an expansion fills in. */
export interface CompressedOperands {
  rd: number;
  rs1: number;
  rs2: number;
  rs3: number;
  imm: number;
  rm: number;
}

/** Where a register's number comes from: `base + (half >>> shift & mask)`. */
export interface RegisterField {
  readonly shift: number;
  readonly mask: number;
  readonly base: number;
}

/** Bits of a half word that are bits of an immediate. */
export type BitField = readonly [from: number, width: number, to: number];

/** How an immediate is put together. */
export interface CompressedImmediate {
  readonly fields: readonly BitField[];
  /** Bits of a signed immediate, which is extended; 32 for an unsigned one. */
  readonly width: number;
}

/** When the bits of a form are reserved; they are illegal then. */
export type Reserved = "never" | "rd zero" | "immediate zero";

/** One compressed form. */
export interface CompressedRow {
  /** Mnemonic as objdump prints it. */
  readonly name: string;
  readonly mask: number;
  readonly match: number;
  /** Row of the long form. */
  readonly long: number;
  readonly rd: RegisterField;
  readonly rs1: RegisterField;
  readonly rs2: RegisterField;
  readonly immediate: CompressedImmediate;
  readonly reserved: Reserved;
}

/** Bits that hold rd in forms that have all 32 registers: "rd zero" is about these. */
export const FULL_RD_BITS = 0xf80;

const fixed = (register: number): RegisterField => ({ shift: 0, mask: 0, base: register });
const X0 = fixed(0);
const RA = fixed(1);
const SP = fixed(2);
const FULL: RegisterField = { shift: 7, mask: 31, base: 0 };
const FULL2: RegisterField = { shift: 2, mask: 31, base: 0 };
const LOW: RegisterField = { shift: 2, mask: 7, base: 8 };
const HIGH: RegisterField = { shift: 7, mask: 7, base: 8 };

const unsigned = (...fields: BitField[]): CompressedImmediate => ({ fields, width: 32 });
const signed = (width: number, ...fields: BitField[]): CompressedImmediate => ({ fields, width });

/** TABLE: all immediates. */
export const COMPRESSED_IMMEDIATES = {
  none: unsigned(),
  six: signed(6, [2, 5, 0], [12, 1, 5]),
  upper: signed(18, [2, 5, 12], [12, 1, 17]),
  shift: unsigned([2, 5, 0], [12, 1, 5]),
  word: unsigned([10, 3, 3], [5, 1, 6], [6, 1, 2]),
  double: unsigned([10, 3, 3], [5, 2, 6]),
  wordStack: unsigned([12, 1, 5], [4, 3, 2], [2, 2, 6]),
  doubleStack: unsigned([12, 1, 5], [5, 2, 3], [2, 3, 6]),
  wordStackStore: unsigned([9, 4, 2], [7, 2, 6]),
  doubleStackStore: unsigned([10, 3, 3], [7, 3, 6]),
  wide: unsigned([11, 2, 4], [7, 4, 6], [6, 1, 2], [5, 1, 3]),
  stackAdjust: signed(10, [12, 1, 9], [6, 1, 4], [5, 1, 6], [3, 2, 7], [2, 1, 5]),
  jump: signed(
    12,
    [12, 1, 11],
    [11, 1, 4],
    [9, 2, 8],
    [8, 1, 10],
    [7, 1, 6],
    [6, 1, 7],
    [3, 3, 1],
    [2, 1, 5],
  ),
  branch: signed(9, [12, 1, 8], [10, 2, 3], [5, 2, 6], [3, 2, 1], [2, 1, 5]),
} as const satisfies Readonly<Record<string, CompressedImmediate>>;

const IMM = COMPRESSED_IMMEDIATES;

type Operands = Partial<Pick<CompressedRow, "rd" | "rs1" | "rs2" | "immediate">>;

function form(
  name: string,
  mask: number,
  match: number,
  long: string,
  operands: Operands,
  reserved: Reserved = "never",
): CompressedRow {
  const { rd = X0, rs1 = X0, rs2 = X0, immediate = IMM.none } = operands;
  return { name, mask, match, long: rowNumber(long), rd, rs1, rs2, immediate, reserved };
}

const load = (immediate: CompressedImmediate): Operands => ({ rd: LOW, rs1: HIGH, immediate });
const store = (immediate: CompressedImmediate): Operands => ({ rs2: LOW, rs1: HIGH, immediate });
const loadStack = (immediate: CompressedImmediate): Operands => ({ rd: FULL, rs1: SP, immediate });
const storeStack = (immediate: CompressedImmediate): Operands => ({
  rs2: FULL2,
  rs1: SP,
  immediate,
});
const inPlace = (register: RegisterField, immediate: CompressedImmediate): Operands => ({
  rd: register,
  rs1: register,
  immediate,
});
const twoRegisters: Operands = { rd: HIGH, rs1: HIGH, rs2: LOW };
const toZero: Operands = { rs1: HIGH, immediate: IMM.branch };

const QUADRANT0: CompressedRow[] = [
  form(
    "c.addi4spn",
    0xe003,
    0x0000,
    "addi",
    { rd: LOW, rs1: SP, immediate: IMM.wide },
    "immediate zero",
  ),
  form("c.fld", 0xe003, 0x2000, "fld", load(IMM.double)),
  form("c.lw", 0xe003, 0x4000, "lw", load(IMM.word)),
  form("c.ld", 0xe003, 0x6000, "ld", load(IMM.double)),
  form("c.fsd", 0xe003, 0xa000, "fsd", store(IMM.double)),
  form("c.sw", 0xe003, 0xc000, "sw", store(IMM.word)),
  form("c.sd", 0xe003, 0xe000, "sd", store(IMM.double)),
];

const QUADRANT1: CompressedRow[] = [
  form("c.addi", 0xe003, 0x0001, "addi", inPlace(FULL, IMM.six)),
  form("c.addiw", 0xe003, 0x2001, "addiw", inPlace(FULL, IMM.six), "rd zero"),
  form("c.li", 0xe003, 0x4001, "addi", { rd: FULL, immediate: IMM.six }),
  form("c.addi16sp", 0xef83, 0x6101, "addi", inPlace(SP, IMM.stackAdjust), "immediate zero"),
  form("c.lui", 0xe003, 0x6001, "lui", { rd: FULL, immediate: IMM.upper }, "immediate zero"),
  form("c.srli", 0xec03, 0x8001, "srli", inPlace(HIGH, IMM.shift)),
  form("c.srai", 0xec03, 0x8401, "srai", inPlace(HIGH, IMM.shift)),
  form("c.andi", 0xec03, 0x8801, "andi", inPlace(HIGH, IMM.six)),
  form("c.sub", 0xfc63, 0x8c01, "sub", twoRegisters),
  form("c.xor", 0xfc63, 0x8c21, "xor", twoRegisters),
  form("c.or", 0xfc63, 0x8c41, "or", twoRegisters),
  form("c.and", 0xfc63, 0x8c61, "and", twoRegisters),
  form("c.subw", 0xfc63, 0x9c01, "subw", twoRegisters),
  form("c.addw", 0xfc63, 0x9c21, "addw", twoRegisters),
  form("c.j", 0xe003, 0xa001, "jal", { immediate: IMM.jump }),
  form("c.beqz", 0xe003, 0xc001, "beq", toZero),
  form("c.bnez", 0xe003, 0xe001, "bne", toZero),
];

const QUADRANT2: CompressedRow[] = [
  form("c.slli", 0xe003, 0x0002, "slli", inPlace(FULL, IMM.shift)),
  form("c.fldsp", 0xe003, 0x2002, "fld", loadStack(IMM.doubleStack)),
  form("c.lwsp", 0xe003, 0x4002, "lw", loadStack(IMM.wordStack), "rd zero"),
  form("c.ldsp", 0xe003, 0x6002, "ld", loadStack(IMM.doubleStack), "rd zero"),
  form("c.jr", 0xf07f, 0x8002, "jalr", { rs1: FULL }, "rd zero"),
  form("c.mv", 0xf003, 0x8002, "add", { rd: FULL, rs2: FULL2 }),
  form("c.ebreak", 0xffff, 0x9002, "ebreak", {}),
  form("c.jalr", 0xf07f, 0x9002, "jalr", { rd: RA, rs1: FULL }),
  form("c.add", 0xf003, 0x9002, "add", { rd: FULL, rs1: FULL, rs2: FULL2 }),
  form("c.fsdsp", 0xe003, 0xa002, "fsd", storeStack(IMM.doubleStackStore)),
  form("c.swsp", 0xe003, 0xc002, "sw", storeStack(IMM.wordStackStore)),
  form("c.sdsp", 0xe003, 0xe002, "sd", storeStack(IMM.doubleStackStore)),
];

/** All compressed forms; of forms that match the same bits the first is meant. */
export const COMPRESSED: readonly CompressedRow[] = [...QUADRANT0, ...QUADRANT1, ...QUADRANT2];

function registerOf(half: number, { shift, mask, base }: RegisterField): number {
  return base + (half >>> shift & mask);
}

function immediateOf(half: number, { fields, width }: CompressedImmediate): number {
  let value = 0;
  for (const [from, bits, to] of fields) value |= (half >>> from & (1 << bits) - 1) << to;
  return value << 32 - width >> 32 - width;
}

function isReserved(half: number, { reserved, immediate }: CompressedRow): boolean {
  if (reserved === "never") return false;
  return reserved === "rd zero" ? (half & FULL_RD_BITS) === 0 : immediateOf(half, immediate) === 0;
}

const UNKNOWN = 0;
const NONE = 1;
/** Form of each half word: UNKNOWN until asked, NONE, or position plus two. */
const memo = new Uint8Array(65536);

/** The form of a half word, or undefined when it is illegal. */
export function compressedForm(half: number): CompressedRow | undefined {
  let entry = memo[half]!;
  if (entry === UNKNOWN) {
    const position = COMPRESSED.findIndex((row) => (half & row.mask) === row.match);
    const legal = position >= 0 && !isReserved(half, COMPRESSED[position]!);
    entry = memo[half] = legal ? position + 2 : NONE;
  }
  return entry === NONE ? undefined : COMPRESSED[entry - 2];
}

/** Fills in the operands of the long form and gives its row, or -1 when the half word is illegal. */
export function expandCompressed(half: number, out: CompressedOperands): number {
  const row = compressedForm(half);
  if (row === undefined) return -1;
  out.rd = registerOf(half, row.rd);
  out.rs1 = registerOf(half, row.rs1);
  out.rs2 = registerOf(half, row.rs2);
  out.rs3 = out.rm = 0;
  out.imm = immediateOf(half, row.immediate);
  return row.long;
}
