/**
 * TABLE: single- and double-precision floating point (unprivileged ISA, chapters "F" and "D").
 * The two extensions have the same rows but for the format field and moves, so both are made here.
 */
import { i32, i64 } from "../../wasm/mod.ts";
import type { FloatFunctionName } from "../softfloat/names.ts";
import type { I32, I64, Ops } from "./ops.ts";
import { OPCODE, type Row, row } from "./row.ts";

const SIGN32 = -0x80000000;
const SIGN64 = -(1n << 63n);
const ON = { float: true };

/** How the meanings of one precision read, write and name things. */
interface Precision {
  readonly extension: "F" | "D";
  /** Value of the format field, bits 26:25. */
  readonly format: 0 | 1;
  readonly suffix: "s" | "d";
  readonly prefix: "f32" | "f64";
  readonly sources: readonly [(o: Ops) => I32 | I64, (o: Ops) => I32 | I64, (o: Ops) => I32 | I64];
  readonly negate: (value: I32 | I64) => I32 | I64;
  readonly write: (o: Ops, value: I32 | I64) => void;
}

const SINGLE: Precision = {
  extension: "F",
  format: 0,
  suffix: "s",
  prefix: "f32",
  sources: [(o) => o.fs1Single(), (o) => o.fs2Single(), (o) => o.fs3Single()],
  negate: (value) => i32.xor(value as I32, SIGN32),
  write: (o, value) => o.setFdSingle(value as I32),
};

const DOUBLE: Precision = {
  extension: "D",
  format: 1,
  suffix: "d",
  prefix: "f64",
  sources: [(o) => o.fs1(), (o) => o.fs2(), (o) => o.fs3()],
  negate: (value) => i64.xor(value as I64, SIGN64),
  write: (o, value) => o.setFd(value as I64),
};

const float = (p: Precision, operation: string) => `${p.prefix}${operation}` as FloatFunctionName;

/** Two sources, rounded: fadd and its like. */
function rounded(p: Precision, name: string, funct5: number, operation: string): Row {
  const match = (funct5 << 2 | p.format) << 25 | OPCODE.float;
  return row(p.extension, `${name}.${p.suffix}`, 0xfe00007f, match, "D,S,Tm", (o) => {
    const mode = o.rounding();
    p.write(o, o.float(float(p, operation), p.sources[0](o), p.sources[1](o), mode) as I32 | I64);
  }, ON);
}

/** Fused multiply-add: signs of the product and the addend are flipped before one rounding. */
function fused(p: Precision, name: string, opcode: number, product: boolean, addend: boolean): Row {
  return row(
    p.extension,
    `${name}.${p.suffix}`,
    0x0600007f,
    p.format << 25 | opcode,
    "D,S,T,Rm",
    (o) => {
      const mode = o.rounding();
      const a = p.sources[0](o);
      const c = p.sources[2](o);
      const result = o.float(
        float(p, "Fma"),
        product ? p.negate(a) : a,
        p.sources[1](o),
        addend ? p.negate(c) : c,
        mode,
      );
      p.write(o, result as I32 | I64);
    },
    ON,
  );
}

/** Rows with funct7, funct3 and a meaning on two float sources. */
function exactRow(
  p: Precision,
  name: string,
  funct7: number,
  funct3: number,
  operands: string,
  meaning: (o: Ops) => void,
): Row {
  const match = (funct7 | p.format) << 25 | funct3 << 12 | OPCODE.float;
  return row(p.extension, name, 0xfe00707f, match, operands, meaning, ON);
}

function signInjection(p: Precision): Row[] {
  const inject =
    (combine: (a: I64, b: I64) => I64, combine32: (a: I32, b: I32) => I32) => (o: Ops) => {
      if (p.format === 1) {
        const a = o.f.let(o.fs1());
        const b = o.f.let(o.fs2());
        o.setFd(i64.or(i64.and(a, ~SIGN64), i64.and(combine(a, b), SIGN64)));
      } else {
        const a = o.f.let(o.fs1Single());
        const b = o.f.let(o.fs2Single());
        o.setFdSingle(i32.or(i32.and(a, 0x7fffffff), i32.and(combine32(a, b), SIGN32)));
      }
    };
  const name = (n: string) => `${n}.${p.suffix}`;
  return [
    exactRow(p, name("fsgnj"), 0x10, 0, "D,S,T", inject((_a, b) => b, (_a, b) => b)),
    exactRow(
      p,
      name("fsgnjn"),
      0x10,
      1,
      "D,S,T",
      inject((_a, b) => i64.xor(b, -1), (_a, b) => i32.xor(b, -1)),
    ),
    exactRow(p, name("fsgnjx"), 0x10, 2, "D,S,T", inject(i64.xor, i32.xor)),
  ];
}

function selections(p: Precision): Row[] {
  const choose = (operation: string) => (o: Ops) =>
    p.write(o, o.float(float(p, operation), p.sources[0](o), p.sources[1](o)) as I32 | I64);
  const compare = (operation: string) => (o: Ops) =>
    o.setRd(
      i64.extendI32U(o.float(float(p, operation), p.sources[0](o), p.sources[1](o)) as I32),
    );
  return [
    exactRow(p, `fmin.${p.suffix}`, 0x14, 0, "D,S,T", choose("Min")),
    exactRow(p, `fmax.${p.suffix}`, 0x14, 1, "D,S,T", choose("Max")),
    exactRow(p, `fle.${p.suffix}`, 0x50, 0, "d,S,T", compare("Le")),
    exactRow(p, `flt.${p.suffix}`, 0x50, 1, "d,S,T", compare("Lt")),
    exactRow(p, `feq.${p.suffix}`, 0x50, 2, "d,S,T", compare("Eq")),
  ];
}

/** Rows whose rs2 field selects the operation; the rounding mode is in funct3 unless fixed. */
function unaryRow(
  p: Precision,
  name: string,
  funct7: number,
  rs2: number,
  operands: string,
  meaning: (o: Ops) => void,
  funct3?: number,
): Row {
  const match = (funct7 | p.format) << 25 | rs2 << 20 | (funct3 ?? 0) << 12 | OPCODE.float;
  const mask = funct3 === undefined ? 0xfff0007f : 0xfff0707f;
  return row(p.extension, name, mask, match, operands, meaning, ON);
}

function conversions(p: Precision): Row[] {
  const integers = [["w", "I32", 0], ["wu", "U32", 1], ["l", "I64", 2], ["lu", "U64", 3]] as const;
  return integers.flatMap(([name, kind, rs2]) => {
    const narrow = rs2 < 2;
    const to = (o: Ops) => {
      const mode = o.rounding();
      const value = o.float(float(p, `To${kind}`), p.sources[0](o), mode);
      o.setRd(narrow ? i64.extendI32S(value as I32) : value as I64);
    };
    // Every 32-bit integer is a double, so those two conversions take no rounding mode.
    const exact = narrow && p.format === 1;
    const from = (o: Ops) => {
      const mode = o.rounding();
      const integer = narrow ? i32.wrap(o.rs1()) : o.rs1();
      const args = exact ? [integer] : [integer, mode];
      p.write(o, o.float(float(p, `From${kind}`), ...args) as I32 | I64);
    };
    return [
      unaryRow(p, `fcvt.${name}.${p.suffix}`, 0x60, rs2, "d,Sm", to),
      unaryRow(p, `fcvt.${p.suffix}.${name}`, 0x68, rs2, exact ? "D,s" : "D,sm", from),
    ];
  });
}

function precisionRows(p: Precision): Row[] {
  const square = (o: Ops) => {
    const mode = o.rounding();
    p.write(o, o.float(float(p, "Sqrt"), p.sources[0](o), mode) as I32 | I64);
  };
  return [
    rounded(p, "fadd", 0x00, "Add"),
    rounded(p, "fsub", 0x01, "Sub"),
    rounded(p, "fmul", 0x02, "Mul"),
    rounded(p, "fdiv", 0x03, "Div"),
    unaryRow(p, `fsqrt.${p.suffix}`, 0x2c, 0, "D,Sm", square),
    fused(p, "fmadd", OPCODE.fmadd, false, false),
    fused(p, "fmsub", OPCODE.fmsub, false, true),
    fused(p, "fnmsub", OPCODE.fnmsub, true, false),
    fused(p, "fnmadd", OPCODE.fnmadd, true, true),
    ...signInjection(p),
    ...selections(p),
    ...conversions(p),
    unaryRow(p, `fclass.${p.suffix}`, 0x70, 0, "d,S", (o) => {
      o.setRd(i64.extendI32U(o.float(float(p, "Class"), p.sources[0](o)) as I32));
    }, 1),
  ];
}

const i = (
  extension: string,
  name: string,
  op: number,
  f3: number,
  operands: string,
  meaning: (o: Ops) => void,
) => row(extension, name, 0x707f, f3 << 12 | op, operands, meaning, ON);

const address = (o: Ops) => i64.add(o.rs1(), o.imm());

/** Rows of single precision. */
export const F: readonly Row[] = [
  i("F", "flw", OPCODE.loadFloat, 2, "D,o(s)", (o) => {
    o.setFdSingle(i32.wrap(o.load(4, false, address(o))));
  }),
  i("F", "fsw", OPCODE.storeFloat, 2, "T,q(s)", (o) => {
    o.store(4, address(o), i64.extendI32U(o.fs2Low()));
  }),
  ...precisionRows(SINGLE),
  unaryRow(SINGLE, "fmv.x.w", 0x70, 0, "d,S", (o) => o.setRd(i64.extendI32S(o.fs1Low())), 0),
  unaryRow(SINGLE, "fmv.w.x", 0x78, 0, "D,s", (o) => o.setFdSingle(i32.wrap(o.rs1())), 0),
];

/** Rows of double precision. */
export const D: readonly Row[] = [
  i("D", "fld", OPCODE.loadFloat, 3, "D,o(s)", (o) => o.setFd(o.load(8, false, address(o)))),
  i("D", "fsd", OPCODE.storeFloat, 3, "T,q(s)", (o) => o.store(8, address(o), o.fs2())),
  ...precisionRows(DOUBLE),
  unaryRow(DOUBLE, "fmv.x.d", 0x70, 0, "d,S", (o) => o.setRd(o.fs1()), 0),
  unaryRow(DOUBLE, "fmv.d.x", 0x78, 0, "D,s", (o) => o.setFd(o.rs1()), 0),
  row("D", "fcvt.s.d", 0xfff0007f, 0x20 << 25 | 1 << 20 | OPCODE.float, "D,Sm", (o) => {
    const mode = o.rounding();
    o.setFdSingle(o.float("f32FromF64", o.fs1(), mode) as I32);
  }, ON),
  row("D", "fcvt.d.s", 0xfff0007f, 0x21 << 25 | OPCODE.float, "D,S", (o) => {
    o.rounding();
    o.setFd(o.float("f64FromF32", o.fs1Single()) as I64);
  }, ON),
];
