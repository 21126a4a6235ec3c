/** TABLE: bit manipulation Zba, Zbb, Zbs (unprivileged ISA, chapter "B" extension). */
import { i32, i64 } from "../../wasm/mod.ts";
import type { I64, Ops } from "./ops.ts";
import { OPCODE, type Row, rowsOf } from "./row.ts";

const zba = rowsOf("Zba");
const zbb = rowsOf("Zbb");
const zbs = rowsOf("Zbs");

type Binary = (a: I64, b: I64) => I64;
const registers = (op: Binary) => (o: Ops) => o.setRd(op(o.rs1(), o.rs2()));
const immediate = (op: Binary) => (o: Ops) => o.setRd(op(o.rs1(), o.imm()));
const source = (op: (a: I64) => I64) => (o: Ops) => o.setRd(op(o.rs1()));

const low32 = (value: I64) => i64.and(value, 0xffffffff);
const not = (value: I64) => i64.xor(value, -1);
const shiftAdd = (shift: number): Binary => (a, b) => i64.add(i64.shl(a, shift), b);
const shiftAddWord = (shift: number): Binary => (a, b) => i64.add(i64.shl(low32(a), shift), b);
const oneAt = (index: I64) => i64.shl(1, index);

const ZBA: Row[] = [
  zba.r("add.uw", OPCODE.register32, 0, 0x04, registers((a, b) => i64.add(low32(a), b))),
  zba.r("sh1add", OPCODE.register, 2, 0x10, registers(shiftAdd(1))),
  zba.r("sh2add", OPCODE.register, 4, 0x10, registers(shiftAdd(2))),
  zba.r("sh3add", OPCODE.register, 6, 0x10, registers(shiftAdd(3))),
  zba.r("sh1add.uw", OPCODE.register32, 2, 0x10, registers(shiftAddWord(1))),
  zba.r("sh2add.uw", OPCODE.register32, 4, 0x10, registers(shiftAddWord(2))),
  zba.r("sh3add.uw", OPCODE.register32, 6, 0x10, registers(shiftAddWord(3))),
  zba.shift64(
    "slli.uw",
    1,
    0x02,
    immediate((a, b) => i64.shl(low32(a), b)),
    OPCODE.immediate32,
  ),
];

/** Binds both operands, since a comparison and a choice each read them. */
const choose = (better: (a: I64, b: I64) => ReturnType<typeof i64.ltS>) => (o: Ops) => {
  const a = o.f.let(o.rs1());
  const b = o.f.let(o.rs2());
  o.setRd(i64.select(better(a, b), a, b));
};

/** Sets every byte that is not zero to 0xff. */
function orCombine(o: Ops): void {
  const value = o.f.let(o.rs1());
  const low7 = 0x7f7f_7f7f_7f7f_7f7fn;
  const high = i64.or(i64.add(i64.and(value, low7), low7), value);
  const ones = i64.and(i64.shrU(high, 7), 0x0101_0101_0101_0101n);
  o.setRd(i64.mul(ones, 0xff));
}

/** Reverses the bytes by swapping bytes, then halves, then words. */
function reverseBytes(o: Ops): void {
  const value = o.f.let(o.rs1());
  const swap = (mask: bigint, shift: number) =>
    o.f.set(
      value,
      i64.or(
        i64.and(i64.shrU(value, shift), mask),
        i64.shl(i64.and(value, mask), shift),
      ),
    );
  swap(0x00ff_00ff_00ff_00ffn, 8);
  swap(0x0000_ffff_0000_ffffn, 16);
  o.setRd(i64.rotl(value, 32));
}

const word = (op: (a: ReturnType<typeof i32.wrap>) => ReturnType<typeof i32.wrap>) => (o: Ops) =>
  o.setRd(i64.extendI32U(op(i32.wrap(o.rs1()))));

const rotateWord = (op: typeof i32.rotl, amount: (o: Ops) => I64) => (o: Ops) =>
  o.setRd(i64.extendI32S(op(i32.wrap(o.rs1()), i32.wrap(amount(o)))));

const ZBB: Row[] = [
  zbb.r("andn", OPCODE.register, 7, 0x20, registers((a, b) => i64.and(a, not(b)))),
  zbb.r("orn", OPCODE.register, 6, 0x20, registers((a, b) => i64.or(a, not(b)))),
  zbb.r("xnor", OPCODE.register, 4, 0x20, registers((a, b) => not(i64.xor(a, b)))),
  zbb.unary("clz", OPCODE.immediate, 1, 0x600, source(i64.clz)),
  zbb.unary("ctz", OPCODE.immediate, 1, 0x601, source(i64.ctz)),
  zbb.unary("cpop", OPCODE.immediate, 1, 0x602, source(i64.popcnt)),
  zbb.unary("clzw", OPCODE.immediate32, 1, 0x600, word(i32.clz)),
  zbb.unary("ctzw", OPCODE.immediate32, 1, 0x601, word(i32.ctz)),
  zbb.unary("cpopw", OPCODE.immediate32, 1, 0x602, word(i32.popcnt)),
  zbb.r("max", OPCODE.register, 6, 0x05, choose(i64.gtS)),
  zbb.r("maxu", OPCODE.register, 7, 0x05, choose(i64.gtU)),
  zbb.r("min", OPCODE.register, 4, 0x05, choose(i64.ltS)),
  zbb.r("minu", OPCODE.register, 5, 0x05, choose(i64.ltU)),
  zbb.unary("sext.b", OPCODE.immediate, 1, 0x604, source(i64.extend8S)),
  zbb.unary("sext.h", OPCODE.immediate, 1, 0x605, source(i64.extend16S)),
  zbb.unary("zext.h", OPCODE.register32, 4, 0x080, source((a) => i64.and(a, 0xffff))),
  zbb.r("rol", OPCODE.register, 1, 0x30, registers(i64.rotl)),
  zbb.r("ror", OPCODE.register, 5, 0x30, registers(i64.rotr)),
  zbb.shift64("rori", 5, 0x18, immediate(i64.rotr)),
  zbb.r("rolw", OPCODE.register32, 1, 0x30, rotateWord(i32.rotl, (o) => o.rs2())),
  zbb.r("rorw", OPCODE.register32, 5, 0x30, rotateWord(i32.rotr, (o) => o.rs2())),
  zbb.shift32("roriw", 5, 0x30, rotateWord(i32.rotr, (o) => o.imm())),
  zbb.unary("orc.b", OPCODE.immediate, 5, 0x287, orCombine),
  zbb.unary("rev8", OPCODE.immediate, 5, 0x6b8, reverseBytes),
];

const clear: Binary = (a, b) => i64.and(a, not(oneAt(b)));
const extract: Binary = (a, b) => i64.and(i64.shrU(a, b), 1);
const invert: Binary = (a, b) => i64.xor(a, oneAt(b));
const set: Binary = (a, b) => i64.or(a, oneAt(b));

const ZBS: Row[] = [
  zbs.r("bclr", OPCODE.register, 1, 0x24, registers(clear)),
  zbs.r("bext", OPCODE.register, 5, 0x24, registers(extract)),
  zbs.r("binv", OPCODE.register, 1, 0x34, registers(invert)),
  zbs.r("bset", OPCODE.register, 1, 0x14, registers(set)),
  zbs.shift64("bclri", 1, 0x12, immediate(clear)),
  zbs.shift64("bexti", 5, 0x12, immediate(extract)),
  zbs.shift64("binvi", 1, 0x1a, immediate(invert)),
  zbs.shift64("bseti", 1, 0x0a, immediate(set)),
];

/** Rows of this table. */
export const ZB: readonly Row[] = [...ZBA, ...ZBB, ...ZBS];
