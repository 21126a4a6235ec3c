/** TABLE: atomics (unprivileged ISA, chapter "A" extension). aq and rl need nothing: harts take turns. */
import { i64 } from "../../wasm/mod.ts";
import type { I64, Ops } from "./ops.ts";
import { OPCODE, type Row, row } from "./row.ts";

const FUNCT5_AND_3 = 0xf800707f;

type Update = (old: I64, operand: I64) => I64;

function atomicRow(
  name: string,
  width: 4 | 8,
  funct5: number,
  operands: string,
  meaning: (o: Ops) => void,
): Row {
  const suffix = width === 4 ? "w" : "d";
  const match = funct5 << 27 | (width === 4 ? 2 : 3) << 12 | OPCODE.atomic;
  return row("A", `${name}.${suffix}`, FUNCT5_AND_3, match, operands, meaning);
}

function amo(name: string, funct5: number, update: Update): Row[] {
  return ([4, 8] as const).map((width) =>
    atomicRow(name, width, funct5, "d,t,(s)", (o) => {
      // For words the operand is compared and combined as a sign-extended word, like the old value.
      const operand = o.f.let(width === 4 ? i64.extend32S(o.rs2()) : o.rs2());
      o.setRd(o.atomic(width, o.rs1(), (old) => update(old, operand)));
    })
  );
}

function reserved(width: 4 | 8): Row[] {
  const suffix = width === 4 ? "w" : "d";
  const funct3 = (width === 4 ? 2 : 3) << 12;
  return [
    // rs2 must be zero for LR.
    row("A", `lr.${suffix}`, 0xf9f0707f, 0x02 << 27 | funct3 | OPCODE.atomic, "d,(s)", (o) => {
      o.setRd(o.loadReserved(width, o.rs1()));
    }),
    atomicRow("sc", width, 0x03, "d,t,(s)", (o) => {
      o.setRd(o.storeConditional(width, o.rs1(), o.rs2()));
    }),
  ];
}

const pick = (better: (a: I64, b: I64) => ReturnType<typeof i64.ltS>): Update => (old, operand) =>
  i64.select(better(old, operand), old, operand);

/** Unsigned comparison of sign-extended words orders them as unsigned words too. */
const minimumUnsigned = pick(i64.ltU);
const maximumUnsigned = pick(i64.gtU);

/** Rows of this table. */
export const A: readonly Row[] = [
  ...reserved(4),
  ...reserved(8),
  ...amo("amoswap", 0x01, (_old, operand) => operand),
  ...amo("amoadd", 0x00, i64.add),
  ...amo("amoxor", 0x04, i64.xor),
  ...amo("amoand", 0x0c, i64.and),
  ...amo("amoor", 0x08, i64.or),
  ...amo("amomin", 0x10, pick(i64.ltS)),
  ...amo("amomax", 0x14, pick(i64.gtS)),
  ...amo("amominu", 0x18, minimumUnsigned),
  ...amo("amomaxu", 0x1c, maximumUnsigned),
];
