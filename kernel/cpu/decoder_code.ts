/**
 * The generated decoder: from instruction bits to predecoded records, by the table of decoder_table.ts. It is
 * generated because it runs when a place is executed for the first time, and that is what a VM that goes on
 * from a checkpoint, or runs cold code, does most: V8 would take longer to compile a decoder in TypeScript.
 *
 *     interpreter ── undecoded record ──► decodeRun ──► decodeInstruction, for it and some behind it
 *
 * Invariant: decodes as isa/decode.ts does, which lists what is legal from the same rows
 * (tests/isa/decoder_test.ts).
 */
import { HART } from "../memory/hart_layout.ts";
import { DECODED_PAGE_BYTES, DECODED_SLOTS, RECORD_BYTES } from "../memory/memory_plan.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  type I32Value,
  type Label,
  type Local,
} from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";
import {
  DECODER_FLAG,
  DECODER_FORM,
  DECODER_PARTS,
  DECODER_ROW,
  decoderTable,
  LONG_IMMEDIATES,
  RESERVED,
  SHORT_IMMEDIATES,
} from "./decoder_table.ts";
import { type CompressedImmediate, FULL_RD_BITS } from "./isa/c.ts";
import type { ImmediateFormat } from "./isa/decode.ts";
import { MARKER_FAMILY } from "./isa/marker.ts";
import { RECORD, SPECIAL } from "./record_layout.ts";
import { SINK } from "./records.ts";

/** Most instructions decoded ahead of the one asked for. */
const DECODE_AHEAD = 24;
/** Bytes of a page. */
const PAGE = 4096;
/** Offset in a page of the last halfword. */
const LAST_HALF = PAGE - 2;
/** Offset of instructions that are part of no decoded page: none of their branches is near. */
const NOWHERE = -1;
/** Bit of what `decodeInstruction` gives, besides the length: decoding ahead stops here. */
const ENDS = 8;
/** Bytes of an instruction times this are bytes of records. */
const RECORD_SHIFT = 3;

/** (address of the record, instruction bits, offset in its page) → its length, and ENDS. */
type DecodeInstruction = FunctionReference<readonly ["i32", "i32", "i32"], "i32">;

interface Operands {
  readonly row: Local<"i32">;
  readonly rd: Local<"i32">;
  readonly rs1: Local<"i32">;
  readonly rs2: Local<"i32">;
  readonly imm: Local<"i32">;
  readonly operation: Local<"i32">;
  readonly length: Local<"i32">;
}

/** Defines the functions that decode, and puts their table into the module. */
export function emitDecoder(code: CpuCode): void {
  code.module.data(code.plan.decoderTable, decoderTable());
  const decodeInstruction = emitDecodeInstruction(code);
  emitDecodeRun(code, decodeInstruction);
  const { straddle } = code.plan;
  code.module.define(code.functions.decodeStraddle, (f) => {
    f.call(decodeInstruction, straddle, f.parameters[0], NOWHERE);
    special(f, straddle + 2 * RECORD_BYTES, SPECIAL.pageEnd);
  });
  code.module.define(code.functions.decodePoint, (f) => {
    const [record, page] = f.parameters;
    const offset = f.let(i32.shrU(i32.sub(record, page), RECORD_SHIFT));
    const bits = bitsAt(f, f.let(i32.add(codeOf(code, page), offset)));
    const length = i32.and(call(decodeInstruction, straddle, bits, NOWHERE), ENDS - 1);
    const next = f.let(i32.add(i32.shl(length, RECORD_SHIFT), straddle));
    special(f, next, SPECIAL.pageEnd);
  });
}

/** Writes an operation that is no instruction. */
function special(
  f: FunctionBuilder,
  record: I32Value,
  operation: number,
  bits: I32Value = 0,
): void {
  f.store16(record, RECORD.operation, operation);
  f.store32(record, RECORD.bits, bits);
}

/** Address of the guest page that a decoded page is of. */
function codeOf({ plan }: CpuCode, decodedPage: Expression<"i32">): Expression<"i32"> {
  const slot = i32.divU(i32.sub(decodedPage, plan.decoded), DECODED_PAGE_BYTES);
  const page = i32.load(i32.shl(slot, 2), plan.decodedOwner);
  return i32.add(i32.mul(page, PAGE), plan.ram);
}

/** The bits of an instruction in one page: nothing is read behind a compressed one. */
function bitsAt(f: FunctionBuilder, at: Local<"i32">): Local<"i32"> {
  const bits = f.let(i32.load16U(at));
  f.if(i32.eq(i32.and(bits, 3), 3), () => f.set(bits, i32.load(at)));
  return bits;
}

function emitDecodeRun(code: CpuCode, decodeInstruction: DecodeInstruction): void {
  const { plan } = code;
  code.module.define(code.functions.decodeRun, (f) => {
    const [record, page] = f.parameters;
    const offset = f.let(i32.shrU(i32.sub(record, page), RECORD_SHIFT));
    f.if(i32.geU(offset, DECODED_SLOTS * 2), () => f.unreachable(), undefined, "unlikely");
    f.if(
      i32.geU(offset, PAGE),
      () => {
        special(f, record, SPECIAL.pageEnd);
        f.return();
      },
      undefined,
      "unlikely",
    );
    const bytes = f.let(codeOf(code, page));
    const left = f.let(i32.const(DECODE_AHEAD));
    f.loop((again) => {
      f.if(i32.load16U(record, RECORD.operation), () => f.return());
      const at = f.let(i32.add(bytes, offset));
      const asks = f.let(i32.load8U(i32.shrU(offset, 1), plan.pointSlots));
      const isLong = i32.eq(i32.and(i32.load8U(at), 3), 3);
      f.if(
        i32.and(i32.eq(offset, LAST_HALF), isLong),
        () => {
          special(f, record, SPECIAL.straddle);
          f.if(asks, () => special(f, record, SPECIAL.straddlePoint));
          f.return();
        },
        undefined,
        "unlikely",
      );
      const length = f.let(call(decodeInstruction, record, bitsAt(f, at), offset));
      f.if(asks, () => special(f, record, SPECIAL.point), undefined, "unlikely");
      f.if(i32.and(length, ENDS), () => f.return());
      f.set(offset, i32.add(offset, length));
      f.set(record, i32.add(record, i32.shl(length, RECORD_SHIFT)));
      f.set(left, i32.sub(left, 1));
      f.brIf(again, i32.and(i32.ltU(offset, PAGE), i32.ne(left, 0)));
    });
  });
}

function emitDecodeInstruction(code: CpuCode): DecodeInstruction {
  return code.module.function("decodeInstruction", ["i32", "i32", "i32"], "i32", (f) => {
    const [record, bits, offset] = f.parameters;
    const operands: Operands = {
      row: f.local("i32"),
      rd: f.local("i32"),
      rs1: f.local("i32"),
      rs2: f.local("i32"),
      imm: f.local("i32"),
      operation: f.local("i32"),
      length: f.local("i32"),
    };
    const { length } = operands;
    f.block((illegal) => {
      const isLong = i32.eq(i32.and(bits, 3), 3);
      f.if(isLong, () => {
        f.set(length, 4);
        emitLong(code, f, bits, operands, illegal);
        emitMarkerRecord(f, record, bits);
      }, () => {
        f.set(length, 2);
        f.set(bits, i32.and(bits, 0xffff));
        emitCompressed(code, f, bits, operands, illegal);
      });
      const flags = f.let(i32.load8U(operands.row, code.plan.decoderTable + DECODER_ROW.flags));
      emitRecord(f, record, operands, { bits, offset, flags });
      const ends = i32.ne(i32.and(flags, DECODER_FLAG.endsRun), 0);
      f.return(i32.or(length, i32.mul(ends, ENDS)));
    });
    special(f, record, SPECIAL.illegal, bits);
    f.return(i32.or(length, ENDS));
  });
}

/** A marker of replay-only code is an operation of its own; control falls to the next instruction. */
function emitMarkerRecord(f: FunctionBuilder, record: Local<"i32">, bits: Local<"i32">): void {
  const { bits: family, kindShift, kindMask } = MARKER_FAMILY;
  const kind = kindMask << kindShift;
  f.if(
    i32.eq(i32.and(bits, ~kind), family | 0),
    () => {
      f.if(i32.and(bits, kind), () => {
        special(f, record, SPECIAL.marker, bits);
        f.return(i32.const(4));
      });
    },
    undefined,
    "unlikely",
  );
}

/** Goes through a list of candidates: `matches` is given where in the table each lies. */
function emitSearch(
  { plan: { decoderTable: table } }: CpuCode,
  f: FunctionBuilder,
  list: Expression<"i32">,
  illegal: Label,
  matches: (candidate: Local<"i32">) => Expression<"i32">,
): Local<"i32"> {
  const next = f.let(list);
  const candidate = f.local("i32");
  f.block((found) => {
    f.loop((again) => {
      f.set(candidate, i32.load16U(next, table));
      f.brIf(illegal, i32.eqz(candidate), "unlikely");
      f.brIf(found, matches(candidate));
      f.set(next, i32.add(next, 2));
      f.br(again);
    });
  });
  return candidate;
}

/** A list's place, by its number among buckets or quadrants. */
function listOf({ plan }: CpuCode, part: number, key: Expression<"i32">): Expression<"i32"> {
  return i32.load16U(i32.shl(key, 1), plan.decoderTable + part);
}

function emitLong(
  code: CpuCode,
  f: FunctionBuilder,
  bits: Local<"i32">,
  { row, rd, rs1, rs2, imm, operation }: Operands,
  illegal: Label,
): void {
  const table = code.plan.decoderTable;
  const opcode = i32.and(i32.shl(bits, 1), 31 << 3);
  const key = i32.or(opcode, i32.and(i32.shrU(bits, 12), 7));
  const list = listOf(code, DECODER_PARTS.buckets, key);
  const found = emitSearch(code, f, list, illegal, (at) => {
    const differs = i32.xor(bits, i32.load(at, table + DECODER_ROW.match));
    return i32.eqz(i32.and(differs, i32.load(at, table + DECODER_ROW.mask)));
  });
  f.set(row, found);
  f.set(rd, i32.and(i32.shrU(bits, 7), 31));
  f.set(rs1, i32.and(i32.shrU(bits, 15), 31));
  f.set(rs2, i32.and(i32.shrU(bits, 20), 31));
  f.set(operation, i32.load16U(row, table + DECODER_ROW.longOperation));
  const format = i32.load8U(row, table + DECODER_ROW.immediate);
  emitChoice(f, format, LONG_IMMEDIATES.map((name) => () => f.set(imm, longImmediate(bits, name))));
}

function emitCompressed(
  code: CpuCode,
  f: FunctionBuilder,
  half: Local<"i32">,
  { row, rd, rs1, rs2, imm, operation }: Operands,
  illegal: Label,
): void {
  const table = code.plan.decoderTable;
  const key = i32.or(i32.shl(i32.and(half, 3), 3), i32.shrU(half, 13));
  const list = listOf(code, DECODER_PARTS.quadrants, key);
  const form = emitSearch(code, f, list, illegal, (at) => {
    const fixed = i32.and(half, i32.load16U(at, table + DECODER_FORM.mask));
    return i32.eq(fixed, i32.load16U(at, table + DECODER_FORM.match));
  });
  const immediate = i32.load8U(form, table + DECODER_FORM.immediate);
  emitChoice(
    f,
    immediate,
    SHORT_IMMEDIATES.map((one) => () => f.set(imm, shortImmediate(half, one))),
  );
  const reserved = f.let(i32.load8U(form, table + DECODER_FORM.reserved));
  const is = (name: typeof RESERVED[number]) => i32.eq(reserved, RESERVED.indexOf(name));
  const isRdZero = i32.eqz(i32.and(half, FULL_RD_BITS));
  f.brIf(illegal, i32.and(is("rd zero"), isRdZero), "unlikely");
  f.brIf(illegal, i32.and(is("immediate zero"), i32.eqz(imm)), "unlikely");
  const register = (part: number) => {
    const [shift, mask, base] = [0, 1, 2].map((i) => i32.load8U(form, table + part + i));
    return i32.add(i32.and(i32.shrU(half, shift!), mask!), base!);
  };
  f.set(rd, register(DECODER_FORM.rd));
  f.set(rs1, register(DECODER_FORM.rs1));
  f.set(rs2, register(DECODER_FORM.rs2));
  f.set(row, i32.load16U(form, table + DECODER_FORM.row));
  f.set(operation, i32.load16U(row, table + DECODER_ROW.compressedOperation));
}

/** Does what the number says, which is in range. */
function emitChoice(
  f: FunctionBuilder,
  number: Expression<"i32">,
  choices: readonly (() => void)[],
): void {
  f.block((end) => {
    const nest = (position: number, cases: Label[]): void => {
      if (position === choices.length) return f.brTable(number, cases, cases[0]!);
      f.block((label) => nest(position + 1, [label, ...cases]));
      choices[choices.length - 1 - position]!();
      f.br(end);
    };
    nest(0, []);
  });
}

/** The immediate of a 32-bit word (unprivileged ISA, "Immediate Encoding Variants"); see isa/decode.ts. */
function longImmediate(bits: Local<"i32">, format: ImmediateFormat): Expression<"i32"> {
  const part = (from: number, width: number, to: number) =>
    i32.shl(i32.and(i32.shrU(bits, from), (1 << width) - 1), to);
  const sign = (to: number) => i32.shl(i32.shrS(bits, 31), to);
  switch (format) {
    case "I":
      return i32.shrS(bits, 20);
    case "S":
      return i32.or(i32.shl(i32.shrS(bits, 25), 5), part(7, 5, 0));
    case "B":
      return i32.or(i32.or(sign(12), part(7, 1, 11)), i32.or(part(25, 6, 5), part(8, 4, 1)));
    case "U":
      return i32.and(bits, 0xfffff000);
    case "J":
      return i32.or(i32.or(sign(20), part(12, 8, 12)), i32.or(part(20, 1, 11), part(21, 10, 1)));
    case "shift64":
      return part(20, 6, 0);
    case "shift32":
      return part(20, 5, 0);
    case "csr":
      return i32.shrU(bits, 20);
    case "none":
      return i32.const(0);
  }
}

function shortImmediate(
  half: Local<"i32">,
  { fields, width }: CompressedImmediate,
): Expression<"i32"> {
  let value = i32.const(0);
  for (const [from, bits, to] of fields) {
    const part = i32.and(i32.shrU(half, from), (1 << bits) - 1);
    value = i32.or(value, i32.shl(part, to));
  }
  return i32.shrS(i32.shl(value, 32 - width), 32 - width);
}

/** Writes the record of an instruction; the operation comes last. */
function emitRecord(
  f: FunctionBuilder,
  record: Local<"i32">,
  { rd, rs1, rs2, imm, operation }: Operands,
  { bits, offset, flags }: {
    readonly bits: Local<"i32">;
    readonly offset: Local<"i32">;
    readonly flags: Local<"i32">;
  },
): void {
  const place = (register: Local<"i32">, float: number) => {
    const base = i32.select(i32.and(flags, float), HART.offset.f, 0);
    return i32.add(i32.shl(register, 3), base);
  };
  const destination = f.let(place(rd, DECODER_FLAG.floatDestination));
  f.if(i32.eqz(destination), () => f.set(destination, SINK));
  f.store16(record, RECORD.rd, destination);
  f.store16(record, RECORD.rs1, place(rs1, DECODER_FLAG.floatSource1));
  f.store16(record, RECORD.rs2, place(rs2, DECODER_FLAG.floatSource2));
  f.if(i32.and(flags, DECODER_FLAG.relative), () => {
    // Behind the page's end as before its start: both are far as unsigned numbers.
    const isNear = i32.ltU(i32.add(offset, imm), PAGE);
    f.if(i32.and(isNear, i32.geS(offset, 0)), () => {
      f.set(operation, i32.add(operation, 1));
      f.set(imm, i32.shl(imm, RECORD_SHIFT));
    });
  });
  f.store32(record, RECORD.immediate, imm);
  f.store32(record, RECORD.bits, bits);
  f.store16(record, RECORD.operation, operation);
}
