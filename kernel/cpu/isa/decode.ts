/**
 * From instruction bits to a row and operands, for 32-bit and compressed words. Illegal encodings are
 * exactly those that match no row (unprivileged ISA, "RV32/64G Instruction Set Listings").
 *
 * Invariant: decoding depends on the bits alone and never throws.
 */
import { expandCompressed } from "./c.ts";
import { ROWS } from "./table.ts";

/** What `decode` answers when no row matches. */
export const ILLEGAL = -1;

/** A decoded instruction; reused between calls. */
export interface Decoded {
  /** Position in ROWS, or ILLEGAL. */
  row: number;
  rd: number;
  rs1: number;
  rs2: number;
  rs3: number;
  /** Immediate, sign-extended to 32 bits. CSR number for Zicsr. */
  imm: number;
  /** Bytes: 2 or 4. */
  length: number;
  /** The bits as fetched; the upper half is zero for compressed instructions. */
  bits: number;
  /** Rounding mode field. */
  rm: number;
}

/** A fresh Decoded. */
export function newDecoded(): Decoded {
  return { row: ILLEGAL, rd: 0, rs1: 0, rs2: 0, rs3: 0, imm: 0, length: 4, bits: 0, rm: 0 };
}

/** Which immediate a row has, found in its operands. */
export type ImmediateFormat = "none" | "I" | "S" | "B" | "U" | "J" | "shift64" | "shift32" | "csr";

function immediateFormat(operands: string): ImmediateFormat {
  const letters: [string, ImmediateFormat][] = [
    ["j", "I"],
    ["o", "I"],
    ["q", "S"],
    ["p", "B"],
    ["a", "J"],
    ["u", "U"],
    [">", "shift64"],
    ["<", "shift32"],
    ["E", "csr"],
  ];
  return letters.find(([letter]) => operands.includes(letter))?.[1] ?? "none";
}

/** Immediate format of each row. */
export const IMMEDIATE_FORMATS: readonly ImmediateFormat[] = ROWS.map((row) =>
  immediateFormat(row.operands)
);

function bitCount(word: number): number {
  let count = 0;
  for (let rest = word >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Major opcodes of 5 bits times funct3. */
export const BUCKETS = 256;

/** Rows that words with a major opcode and funct3 may be, most specific first. */
export function bucketOf(key: number): Uint16Array {
  const word = (key >> 3) << 2 | 3 | (key & 7) << 12;
  const candidates = ROWS.map((row, i) => ({ row, i }))
    .filter(({ row }) => ((word ^ row.match) & row.mask & 0x707f) === 0)
    .sort((a, b) => bitCount(b.row.mask) - bitCount(a.row.mask));
  return Uint16Array.from(candidates, ({ i }) => i);
}

/** Those that were asked for: making all takes a new world milliseconds. */
const buckets: (Uint16Array | undefined)[] = new Array(BUCKETS).fill(undefined);

const masks = Int32Array.from(ROWS, (row) => row.mask);
const matches = Int32Array.from(ROWS, (row) => row.match);

/** The immediate of a 32-bit word. */
export function immediateOf(bits: number, format: ImmediateFormat): number {
  switch (format) {
    case "I":
      return bits >> 20;
    case "S":
      return (bits >> 25) << 5 | bits >>> 7 & 31;
    case "B":
      return (bits >> 31) << 12 | (bits >>> 7 & 1) << 11 | (bits >>> 25 & 63) << 5 |
        (bits >>> 8 & 15) << 1;
    case "U":
      return bits & 0xfffff000;
    case "J":
      return (bits >> 31) << 20 | (bits >>> 12 & 255) << 12 | (bits >>> 20 & 1) << 11 |
        (bits >>> 21 & 1023) << 1;
    case "shift64":
      return bits >>> 20 & 63;
    case "shift32":
      return bits >>> 20 & 31;
    case "csr":
      return bits >>> 20;
    default:
      return 0;
  }
}

/** Decodes the word at an instruction's address; for a compressed one only the low half matters. */
export function decode(bits: number, out: Decoded): number {
  if ((bits & 3) !== 3) {
    out.length = 2;
    out.bits = bits & 0xffff;
    return out.row = expandCompressed(out.bits, out);
  }
  out.length = 4;
  out.bits = bits >>> 0;
  const key = (bits >>> 2 & 31) << 3 | bits >>> 12 & 7;
  const bucket = buckets[key] ??= bucketOf(key);
  for (let i = 0; i < bucket.length; i++) {
    const row = bucket[i]!;
    if (((bits ^ matches[row]!) & masks[row]!) !== 0) continue;
    out.row = row;
    out.rd = bits >>> 7 & 31;
    out.rs1 = bits >>> 15 & 31;
    out.rs2 = bits >>> 20 & 31;
    out.rs3 = bits >>> 27;
    out.rm = bits >>> 12 & 7;
    out.imm = immediateOf(bits, IMMEDIATE_FORMATS[row]!);
    return row;
  }
  return out.row = ILLEGAL;
}
