/** TABLE: RV64I base integer instructions (unprivileged ISA, chapters "RV32I" and "RV64I"). */
import { i32, i64 } from "../../wasm/mod.ts";
import type { I32, I64, Ops, Width } from "./ops.ts";
import { OPCODE, type Row, row, rowsOf } from "./row.ts";

const { r, i, shift64, shift32 } = rowsOf("I");

type Binary = (a: I64, b: I64) => I64;
type Compare = (a: I64, b: I64) => I32;

const registers = (op: Binary) => (o: Ops) => o.setRd(op(o.rs1(), o.rs2()));
const immediate = (op: Binary) => (o: Ops) => o.setRd(op(o.rs1(), o.imm()));
/** *w forms: computed on the low 32 bits, result sign-extended. */
const registers32 = (op: (a: I32, b: I32) => I32) => (o: Ops) =>
  o.setRd(i64.extendI32S(op(i32.wrap(o.rs1()), i32.wrap(o.rs2()))));
const immediate32 = (op: (a: I32, b: I32) => I32) => (o: Ops) =>
  o.setRd(i64.extendI32S(op(i32.wrap(o.rs1()), i32.wrap(o.imm()))));

const lessSigned: Binary = (a, b) => i64.extendI32U(i64.ltS(a, b));
const lessUnsigned: Binary = (a, b) => i64.extendI32U(i64.ltU(a, b));

const load = (name: string, f3: number, width: Width, signed: boolean): Row =>
  i(name, OPCODE.load, f3, "d,o(s)", (o) => {
    o.setRd(o.load(width, signed, i64.add(o.rs1(), o.imm())));
  });

const store = (name: string, f3: number, width: Width): Row =>
  i(name, OPCODE.store, f3, "t,q(s)", (o) => {
    o.store(width, i64.add(o.rs1(), o.imm()), o.rs2());
  });

const branch = (name: string, f3: number, compare: Compare): Row =>
  i(name, OPCODE.branch, f3, "s,t,p", (o) => o.branch(compare(o.rs1(), o.rs2())), {
    flow: "branch",
  });

/** Rows of this table. */
export const RV64I: readonly Row[] = [
  row("I", "lui", 0x7f, OPCODE.lui, "d,u", (o) => o.setRd(o.imm())),
  row("I", "auipc", 0x7f, OPCODE.auipc, "d,u", (o) => o.setRd(i64.add(o.pc(), o.imm()))),
  row("I", "jal", 0x7f, OPCODE.jal, "d,a", (o) => {
    o.setRd(o.nextPc());
    o.jump();
  }, { flow: "jump" }),
  i("jalr", OPCODE.jalr, 0, "d,o(s)", (o) => {
    const target = o.f.let(i64.and(i64.add(o.rs1(), o.imm()), -2));
    o.setRd(o.nextPc());
    o.jumpTo(target);
  }, { flow: "indirect" }),

  branch("beq", 0, i64.eq),
  branch("bne", 1, i64.ne),
  branch("blt", 4, i64.ltS),
  branch("bge", 5, i64.geS),
  branch("bltu", 6, i64.ltU),
  branch("bgeu", 7, i64.geU),

  load("lb", 0, 1, true),
  load("lh", 1, 2, true),
  load("lw", 2, 4, true),
  load("ld", 3, 8, true),
  load("lbu", 4, 1, false),
  load("lhu", 5, 2, false),
  load("lwu", 6, 4, false),
  store("sb", 0, 1),
  store("sh", 1, 2),
  store("sw", 2, 4),
  store("sd", 3, 8),

  i("addi", OPCODE.immediate, 0, "d,s,j", immediate(i64.add)),
  i("slti", OPCODE.immediate, 2, "d,s,j", immediate(lessSigned)),
  i("sltiu", OPCODE.immediate, 3, "d,s,j", immediate(lessUnsigned)),
  i("xori", OPCODE.immediate, 4, "d,s,j", immediate(i64.xor)),
  i("ori", OPCODE.immediate, 6, "d,s,j", immediate(i64.or)),
  i("andi", OPCODE.immediate, 7, "d,s,j", immediate(i64.and)),
  shift64("slli", 1, 0x00, immediate(i64.shl)),
  shift64("srli", 5, 0x00, immediate(i64.shrU)),
  shift64("srai", 5, 0x10, immediate(i64.shrS)),

  i("addiw", OPCODE.immediate32, 0, "d,s,j", immediate32(i32.add)),
  shift32("slliw", 1, 0x00, immediate32(i32.shl)),
  shift32("srliw", 5, 0x00, immediate32(i32.shrU)),
  shift32("sraiw", 5, 0x20, immediate32(i32.shrS)),

  r("add", OPCODE.register, 0, 0x00, registers(i64.add)),
  r("sub", OPCODE.register, 0, 0x20, registers(i64.sub)),
  r("sll", OPCODE.register, 1, 0x00, registers(i64.shl)),
  r("slt", OPCODE.register, 2, 0x00, registers(lessSigned)),
  r("sltu", OPCODE.register, 3, 0x00, registers(lessUnsigned)),
  r("xor", OPCODE.register, 4, 0x00, registers(i64.xor)),
  r("srl", OPCODE.register, 5, 0x00, registers(i64.shrU)),
  r("sra", OPCODE.register, 5, 0x20, registers(i64.shrS)),
  r("or", OPCODE.register, 6, 0x00, registers(i64.or)),
  r("and", OPCODE.register, 7, 0x00, registers(i64.and)),

  r("addw", OPCODE.register32, 0, 0x00, registers32(i32.add)),
  r("subw", OPCODE.register32, 0, 0x20, registers32(i32.sub)),
  r("sllw", OPCODE.register32, 1, 0x00, registers32(i32.shl)),
  r("srlw", OPCODE.register32, 5, 0x00, registers32(i32.shrU)),
  r("sraw", OPCODE.register32, 5, 0x20, registers32(i32.shrS)),

  // Reserved fields of fence are ignored, as the chapter on forward compatibility asks.
  i("fence", OPCODE.miscMemory, 0, "P,Q", (o) => o.system("fence")),
  i("fence.i", OPCODE.miscMemory, 1, "", (o) => o.system("fence.i"), { flow: "system" }),
  row("I", "ecall", 0xffffffff, 0x00000073, "", (o) => o.system("ecall"), { flow: "system" }),
  row("I", "ebreak", 0xffffffff, 0x00100073, "", (o) => o.system("ebreak"), { flow: "system" }),
];
