/**
 * TABLE: compressed instructions as their long forms (unprivileged ISA, chapter "C" extension, RV64C
 * with F and D loads and stores). Reserved encodings match no row; hints expand to their harmless long
 * forms.
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

/** One compressed form. */
export interface CompressedRow {
  /** Mnemonic as objdump prints it. */
  readonly name: string;
  readonly mask: number;
  readonly match: number;
  /** Whether these bits are reserved within the form; then they are illegal. */
  readonly reserved: (half: number) => boolean;
  /** Row of the long form. */
  readonly long: number;
  readonly expand: (half: number, out: CompressedOperands) => void;
}

const full = (half: number) => half >>> 7 & 31;
const full2 = (half: number) => half >>> 2 & 31;
const low = (half: number) => 8 + (half >>> 2 & 7);
const high = (half: number) => 8 + (half >>> 7 & 7);

/** Gathers immediate bits: each pair takes bit `from` of the half word to bit `to`. */
function bits(half: number, pairs: readonly (readonly [from: number, to: number])[]): number {
  let value = 0;
  for (const [from, to] of pairs) value |= (half >>> from & 1) << to;
  return value;
}

const signed = (value: number, width: number) => value << 32 - width >> 32 - width;

const imm6 = (half: number) => signed((half >>> 12 & 1) << 5 | half >>> 2 & 31, 6);
const shift6 = (half: number) => (half >>> 12 & 1) << 5 | half >>> 2 & 31;
const word = (half: number) => bits(half, [[5, 6], [6, 2]]) | (half >>> 10 & 7) << 3;
const double = (half: number) => (half >>> 10 & 7) << 3 | (half >>> 5 & 3) << 6;
const wordStack = (half: number) =>
  (half >>> 12 & 1) << 5 | (half >>> 4 & 7) << 2 | (half >>> 2 & 3) << 6;
const doubleStack = (half: number) =>
  (half >>> 12 & 1) << 5 | (half >>> 5 & 3) << 3 | (half >>> 2 & 7) << 6;
const wordStackStore = (half: number) => (half >>> 9 & 15) << 2 | (half >>> 7 & 3) << 6;
const doubleStackStore = (half: number) => (half >>> 10 & 7) << 3 | (half >>> 7 & 7) << 6;
const wide = (half: number) =>
  (half >>> 11 & 3) << 4 | (half >>> 7 & 15) << 6 | (half >>> 6 & 1) << 2 | (half >>> 5 & 1) << 3;
const stackAdjust = (half: number) =>
  signed(bits(half, [[12, 9], [6, 4], [5, 6], [4, 8], [3, 7], [2, 5]]), 10);
const jump = (half: number) =>
  signed(
    bits(half, [
      [12, 11],
      [11, 4],
      [10, 9],
      [9, 8],
      [8, 10],
      [7, 6],
      [6, 7],
      [5, 3],
      [4, 2],
      [3, 1],
      [
        2,
        5,
      ],
    ]),
    12,
  );
const branch = (half: number) =>
  signed(
    bits(half, [[12, 8], [11, 4], [10, 3], [6, 7], [5, 6], [4, 2], [3, 1], [2, 5]]),
    9,
  );

type Fill = (half: number, out: CompressedOperands) => void;

const never = () => false;

function form(
  name: string,
  mask: number,
  match: number,
  long: string,
  fill: Fill,
  reserved: (half: number) => boolean = never,
): CompressedRow {
  const expand: Fill = (half, out) => {
    out.rd =
      out.rs1 =
      out.rs2 =
      out.rs3 =
      out.imm =
      out.rm =
        0;
    fill(half, out);
  };
  return { name, mask, match, long: rowNumber(long), expand, reserved };
}

const load = (offset: (half: number) => number): Fill => (half, out) => {
  out.rd = low(half);
  out.rs1 = high(half);
  out.imm = offset(half);
};
const store = (offset: (half: number) => number): Fill => (half, out) => {
  out.rs2 = low(half);
  out.rs1 = high(half);
  out.imm = offset(half);
};
const loadStack = (offset: (half: number) => number): Fill => (half, out) => {
  out.rd = full(half);
  out.rs1 = 2;
  out.imm = offset(half);
};
const storeStack = (offset: (half: number) => number): Fill => (half, out) => {
  out.rs2 = full2(half);
  out.rs1 = 2;
  out.imm = offset(half);
};
const inPlace = (register: (half: number) => number, imm: (half: number) => number): Fill =>
(
  half,
  out,
) => {
  out.rd = out.rs1 = register(half);
  out.imm = imm(half);
};
const twoRegisters: Fill = (half, out) => {
  out.rd = out.rs1 = high(half);
  out.rs2 = low(half);
};
const rdZero = (half: number) => full(half) === 0;

const QUADRANT0: CompressedRow[] = [
  form("c.addi4spn", 0xe003, 0x0000, "addi", (half, out) => {
    out.rd = low(half);
    out.rs1 = 2;
    out.imm = wide(half);
  }, (half) => wide(half) === 0),
  form("c.fld", 0xe003, 0x2000, "fld", load(double)),
  form("c.lw", 0xe003, 0x4000, "lw", load(word)),
  form("c.ld", 0xe003, 0x6000, "ld", load(double)),
  form("c.fsd", 0xe003, 0xa000, "fsd", store(double)),
  form("c.sw", 0xe003, 0xc000, "sw", store(word)),
  form("c.sd", 0xe003, 0xe000, "sd", store(double)),
];

const QUADRANT1: CompressedRow[] = [
  form("c.addi", 0xe003, 0x0001, "addi", inPlace(full, imm6)),
  form("c.addiw", 0xe003, 0x2001, "addiw", inPlace(full, imm6), rdZero),
  form("c.li", 0xe003, 0x4001, "addi", (half, out) => {
    out.rd = full(half);
    out.imm = imm6(half);
  }),
  form("c.addi16sp", 0xef83, 0x6101, "addi", (half, out) => {
    out.rd = out.rs1 = 2;
    out.imm = stackAdjust(half);
  }, (half) => stackAdjust(half) === 0),
  form("c.lui", 0xe003, 0x6001, "lui", (half, out) => {
    out.rd = full(half);
    out.imm = imm6(half) << 12;
  }, (half) => imm6(half) === 0),
  form("c.srli", 0xec03, 0x8001, "srli", inPlace(high, shift6)),
  form("c.srai", 0xec03, 0x8401, "srai", inPlace(high, shift6)),
  form("c.andi", 0xec03, 0x8801, "andi", inPlace(high, imm6)),
  form("c.sub", 0xfc63, 0x8c01, "sub", twoRegisters),
  form("c.xor", 0xfc63, 0x8c21, "xor", twoRegisters),
  form("c.or", 0xfc63, 0x8c41, "or", twoRegisters),
  form("c.and", 0xfc63, 0x8c61, "and", twoRegisters),
  form("c.subw", 0xfc63, 0x9c01, "subw", twoRegisters),
  form("c.addw", 0xfc63, 0x9c21, "addw", twoRegisters),
  form("c.j", 0xe003, 0xa001, "jal", (half, out) => {
    out.imm = jump(half);
  }),
  form("c.beqz", 0xe003, 0xc001, "beq", (half, out) => {
    out.rs1 = high(half);
    out.imm = branch(half);
  }),
  form("c.bnez", 0xe003, 0xe001, "bne", (half, out) => {
    out.rs1 = high(half);
    out.imm = branch(half);
  }),
];

const QUADRANT2: CompressedRow[] = [
  form("c.slli", 0xe003, 0x0002, "slli", inPlace(full, shift6)),
  form("c.fldsp", 0xe003, 0x2002, "fld", loadStack(doubleStack)),
  form("c.lwsp", 0xe003, 0x4002, "lw", loadStack(wordStack), rdZero),
  form("c.ldsp", 0xe003, 0x6002, "ld", loadStack(doubleStack), rdZero),
  form("c.jr", 0xf07f, 0x8002, "jalr", (half, out) => {
    out.rs1 = full(half);
  }, rdZero),
  form("c.mv", 0xf003, 0x8002, "add", (half, out) => {
    out.rd = full(half);
    out.rs2 = full2(half);
  }),
  form("c.ebreak", 0xffff, 0x9002, "ebreak", () => {}),
  form("c.jalr", 0xf07f, 0x9002, "jalr", (half, out) => {
    out.rd = 1;
    out.rs1 = full(half);
  }),
  form("c.add", 0xf003, 0x9002, "add", (half, out) => {
    out.rd = out.rs1 = full(half);
    out.rs2 = full2(half);
  }),
  form("c.fsdsp", 0xe003, 0xa002, "fsd", storeStack(doubleStackStore)),
  form("c.swsp", 0xe003, 0xc002, "sw", storeStack(wordStackStore)),
  form("c.sdsp", 0xe003, 0xe002, "sd", storeStack(doubleStackStore)),
];

/** All compressed forms; of forms that match the same bits the first is meant. */
export const COMPRESSED: readonly CompressedRow[] = [...QUADRANT0, ...QUADRANT1, ...QUADRANT2];

const UNKNOWN = 0;
const NONE = 1;
/** Form of each half word: UNKNOWN until asked, NONE, or position plus two. */
const memo = new Uint8Array(65536);

/** The form of a half word, or undefined when it is illegal. */
export function compressedForm(half: number): CompressedRow | undefined {
  let entry = memo[half]!;
  if (entry === UNKNOWN) {
    const position = COMPRESSED.findIndex((row) => (half & row.mask) === row.match);
    const legal = position >= 0 && !COMPRESSED[position]!.reserved(half);
    entry = memo[half] = legal ? position + 2 : NONE;
  }
  return entry === NONE ? undefined : COMPRESSED[entry - 2];
}

/** Fills in the operands of the long form and gives its row, or -1 when the half word is illegal. */
export function expandCompressed(half: number, out: CompressedOperands): number {
  const row = compressedForm(half);
  if (row === undefined) return -1;
  row.expand(half, out);
  return row.long;
}
