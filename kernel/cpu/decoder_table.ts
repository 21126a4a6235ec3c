/**
 * The table that the generated decoder (decoder_code.ts) reads: the rows of the instruction table and the
 * compressed forms, packed.
 *
 *     rows      mask u32, match u32, operations u16 x 2 (long, compressed), immediate u8, flags u8, 2 free
 *     forms     mask u16, match u16, row u16, reserved u8, immediate u8, rd, rs1, rs2: shift, mask, base u8
 *     buckets   u16: where in the table the list of a 32-bit word's candidates begins (isa/decode.ts)
 *     quadrants u16: the same for compressed words, by their low two and high three bits
 *     lists     u16: where rows or forms lie, most specific first; 0 at the end
 *
 * All places are relative to the table. Invariant: made of the same rows as isa/decode.ts, which decodes alike.
 */
import { assert } from "../base/assert.ts";
import { DECODER_TABLE_BYTES } from "../memory/memory_plan.ts";
import { ByteSink } from "../wasm/byte_sink.ts";
import {
  COMPRESSED,
  COMPRESSED_IMMEDIATES,
  type CompressedRow,
  type RegisterField,
  type Reserved,
} from "./isa/c.ts";
import { bucketOf, BUCKETS, IMMEDIATE_FORMATS, type ImmediateFormat } from "./isa/decode.ts";
import { ROWS } from "./isa/table.ts";
import { operationOf } from "./records.ts";

/** A row's offsets, and its size. */
export const DECODER_ROW = {
  mask: 0,
  match: 4,
  longOperation: 8,
  compressedOperation: 10,
  immediate: 12,
  flags: 13,
  bytes: 16,
} as const;

/** What a row's flags say. */
export const DECODER_FLAG = {
  floatDestination: 1,
  floatSource1: 2,
  floatSource2: 4,
  /** The immediate is a distance from the instruction. */
  relative: 8,
  /** Control does not simply fall to the next instruction: decoding ahead stops. */
  endsRun: 16,
} as const;

/** A form's offsets, and its size. */
export const DECODER_FORM = {
  mask: 0,
  match: 2,
  row: 4,
  reserved: 6,
  immediate: 7,
  rd: 8,
  rs1: 11,
  rs2: 14,
  bytes: 18,
} as const;

/** Numbers of the immediates of 32-bit words. */
export const LONG_IMMEDIATES: readonly ImmediateFormat[] = [
  "none",
  "I",
  "S",
  "B",
  "U",
  "J",
  "shift64",
  "shift32",
  "csr",
];

/** Numbers of the immediates of compressed words. */
export const SHORT_IMMEDIATES = Object.values(COMPRESSED_IMMEDIATES);

/** Numbers of what is reserved. */
export const RESERVED: readonly Reserved[] = ["never", "rd zero", "immediate zero"];

/** Quadrants of compressed words times funct3. */
const QUADRANTS = 3 * 8;

/** In front of the first row: 0 is the end of a list. */
const EMPTY_BYTES = 16;
const FORMS = EMPTY_BYTES + ROWS.length * DECODER_ROW.bytes;
const BUCKET_PLACES = FORMS + COMPRESSED.length * DECODER_FORM.bytes;
const QUADRANT_PLACES = BUCKET_PLACES + BUCKETS * 2;
const LISTS = QUADRANT_PLACES + QUADRANTS * 2;

/** Where those parts of the table begin that are asked first. */
export const DECODER_PARTS = { buckets: BUCKET_PLACES, quadrants: QUADRANT_PLACES } as const;

const rowPlace = (row: number) => EMPTY_BYTES + row * DECODER_ROW.bytes;
const formPlace = (form: number) => FORMS + form * DECODER_FORM.bytes;

/** The table's bytes. */
export function decoderTable(): Uint8Array {
  const lists: number[] = [];
  const known = new Map<string, number>();
  const place = (list: readonly number[]) => {
    const key = list.join();
    const at = known.get(key) ?? LISTS + lists.length * 2;
    if (!known.has(key)) lists.push(...list, 0);
    known.set(key, at);
    return at;
  };
  const buckets = Array.from({ length: BUCKETS }, (_, i) => place([...bucketOf(i)].map(rowPlace)));
  const quadrants = Array.from({ length: QUADRANTS }, (_, i) => place(quadrantOf(i)));
  const out = new ByteSink(DECODER_TABLE_BYTES);
  out.append(new Uint8Array(EMPTY_BYTES));
  ROWS.forEach((_, row) => putRow(out, row));
  COMPRESSED.forEach((form) => putForm(out, form));
  for (const word of [...buckets, ...quadrants, ...lists]) put16(out, word);
  assert(out.length <= DECODER_TABLE_BYTES, "the decoder's table has its place");
  return out.bytes();
}

/** Forms that a compressed word may be, by its low two and high three bits: the first that matches is meant. */
function quadrantOf(key: number): number[] {
  const word = key >> 3 | (key & 7) << 13;
  return COMPRESSED.map((form, i) => ({ form, i }))
    .filter(({ form }) => ((word ^ form.match) & form.mask & 0xe003) === 0)
    .map(({ i }) => formPlace(i));
}

function putRow(out: ByteSink, number: number): void {
  const { mask, match, operands, flow } = ROWS[number]!;
  const flag = (is: boolean, bit: number) => is ? bit : 0;
  put16(out, mask & 0xffff);
  put16(out, mask >>> 16);
  put16(out, match & 0xffff);
  put16(out, match >>> 16);
  put16(out, operationOf(number, 4)!);
  put16(out, operationOf(number, 2) ?? 0);
  out.byte(LONG_IMMEDIATES.indexOf(IMMEDIATE_FORMATS[number]!));
  out.byte(
    flag(operands.includes("D"), DECODER_FLAG.floatDestination) |
      flag(operands.includes("S"), DECODER_FLAG.floatSource1) |
      flag(operands.includes("T"), DECODER_FLAG.floatSource2) |
      flag(flow === "branch" || flow === "jump", DECODER_FLAG.relative) |
      flag(flow === "jump" || flow === "indirect" || flow === "system", DECODER_FLAG.endsRun),
  );
  put16(out, 0);
}

function putForm(out: ByteSink, form: CompressedRow): void {
  put16(out, form.mask);
  put16(out, form.match);
  put16(out, rowPlace(form.long));
  out.byte(RESERVED.indexOf(form.reserved));
  out.byte(SHORT_IMMEDIATES.indexOf(form.immediate));
  for (const register of [form.rd, form.rs1, form.rs2]) putRegister(out, register);
  out.byte(0);
}

function putRegister(out: ByteSink, { shift, mask, base }: RegisterField): void {
  out.append([shift, mask, base]);
}

function put16(out: ByteSink, value: number): void {
  out.append([value & 0xff, value >>> 8 & 0xff]);
}
