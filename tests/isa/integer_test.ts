/**
 * Every integer instruction that computes from registers, against a model written from the ISA manual's
 * words with big integers. (QEMU judges whole programs; this names the instruction that is wrong.)
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import { encode } from "../../tools/asm/encode.ts";
import { BareCore } from "../_support/bare_core.ts";

type Model = (a: bigint, b: bigint) => bigint;

const u64 = (v: bigint) => BigInt.asUintN(64, v);
const s64 = (v: bigint) => BigInt.asIntN(64, v);
const u32 = (v: bigint) => BigInt.asUintN(32, v);
const s32 = (v: bigint) => BigInt.asIntN(32, v);
const flag = (v: boolean) => v ? 1n : 0n;
const magnitude = (v: bigint) => v < 0n ? -v : v;

/** Division that truncates, with the results of the M chapter's table for zero and overflow. */
function quotient(a: bigint, b: bigint): bigint {
  return b === 0n ? -1n : a / b;
}
function remainder(a: bigint, b: bigint): bigint {
  return b === 0n ? a : a % b;
}

function leadingZeros(value: bigint, width: number): bigint {
  return BigInt(width - (value === 0n ? 0 : value.toString(2).length));
}
function trailingZeros(value: bigint, width: number): bigint {
  let count = 0;
  while (count < width && (value >> BigInt(count) & 1n) === 0n) count++;
  return BigInt(count);
}
const population = (value: bigint) => BigInt(value.toString(2).replaceAll("0", "").length);
const rotateLeft = (v: bigint, by: bigint, width: bigint) =>
  BigInt.asUintN(Number(width), v << (by % width)) | v >> (width - by % width) % width;

function bytes(value: bigint, change: (byte: bigint, index: number) => [bigint, number]): bigint {
  let result = 0n;
  for (let i = 0; i < 8; i++) {
    const [byte, to] = change(value >> BigInt(8 * i) & 255n, i);
    result |= byte << BigInt(8 * to);
  }
  return result;
}

const MODELS: Readonly<Record<string, Model>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  sll: (a, b) => a << (b & 63n),
  slt: (a, b) => flag(s64(a) < s64(b)),
  sltu: (a, b) => flag(a < b),
  xor: (a, b) => a ^ b,
  srl: (a, b) => a >> (b & 63n),
  sra: (a, b) => s64(a) >> (b & 63n),
  or: (a, b) => a | b,
  and: (a, b) => a & b,
  addw: (a, b) => s32(a + b),
  subw: (a, b) => s32(a - b),
  sllw: (a, b) => s32(a << (b & 31n)),
  srlw: (a, b) => s32(u32(a) >> (b & 31n)),
  sraw: (a, b) => s32(a) >> (b & 31n),
  mul: (a, b) => a * b,
  mulh: (a, b) => s64(a) * s64(b) >> 64n,
  mulhsu: (a, b) => s64(a) * b >> 64n,
  mulhu: (a, b) => a * b >> 64n,
  div: (a, b) => quotient(s64(a), s64(b)),
  divu: (a, b) => quotient(a, b),
  rem: (a, b) => remainder(s64(a), s64(b)),
  remu: (a, b) => remainder(a, b),
  mulw: (a, b) => s32(a * b),
  divw: (a, b) => s32(quotient(s32(a), s32(b))),
  divuw: (a, b) => s32(quotient(u32(a), u32(b))),
  remw: (a, b) => s32(remainder(s32(a), s32(b))),
  remuw: (a, b) => s32(remainder(u32(a), u32(b))),
  "add.uw": (a, b) => u32(a) + b,
  sh1add: (a, b) => (a << 1n) + b,
  sh2add: (a, b) => (a << 2n) + b,
  sh3add: (a, b) => (a << 3n) + b,
  "sh1add.uw": (a, b) => (u32(a) << 1n) + b,
  "sh2add.uw": (a, b) => (u32(a) << 2n) + b,
  "sh3add.uw": (a, b) => (u32(a) << 3n) + b,
  andn: (a, b) => a & ~b,
  orn: (a, b) => a | ~b,
  xnor: (a, b) => ~(a ^ b),
  clz: (a) => leadingZeros(a, 64),
  ctz: (a) => trailingZeros(a, 64),
  cpop: (a) => population(a),
  clzw: (a) => leadingZeros(u32(a), 32),
  ctzw: (a) => trailingZeros(u32(a), 32),
  cpopw: (a) => population(u32(a)),
  max: (a, b) => s64(a) > s64(b) ? a : b,
  maxu: (a, b) => a > b ? a : b,
  min: (a, b) => s64(a) < s64(b) ? a : b,
  minu: (a, b) => a < b ? a : b,
  "sext.b": (a) => BigInt.asIntN(8, a),
  "sext.h": (a) => BigInt.asIntN(16, a),
  "zext.h": (a) => BigInt.asUintN(16, a),
  rol: (a, b) => rotateLeft(a, b & 63n, 64n),
  ror: (a, b) => rotateLeft(a, 64n - (b & 63n), 64n),
  rolw: (a, b) => s32(rotateLeft(u32(a), b & 31n, 32n)),
  rorw: (a, b) => s32(rotateLeft(u32(a), 32n - (b & 31n), 32n)),
  "orc.b": (a) => bytes(a, (byte, i) => [byte === 0n ? 0n : 255n, i]),
  rev8: (a) => bytes(a, (byte, i) => [byte, 7 - i]),
  bclr: (a, b) => a & ~(1n << (b & 63n)),
  bext: (a, b) => a >> (b & 63n) & 1n,
  binv: (a, b) => a ^ 1n << (b & 63n),
  bset: (a, b) => a | 1n << (b & 63n),
};

/** Immediate forms by the register form that means the same. */
const IMMEDIATE: Readonly<Record<string, string>> = {
  addi: "add",
  slti: "slt",
  sltiu: "sltu",
  xori: "xor",
  ori: "or",
  andi: "and",
  slli: "sll",
  srli: "srl",
  srai: "sra",
  addiw: "addw",
  slliw: "sllw",
  srliw: "srlw",
  sraiw: "sraw",
  rori: "ror",
  roriw: "rorw",
  bclri: "bclr",
  bexti: "bext",
  binvi: "binv",
  bseti: "bset",
};

const EDGES = [0n, 1n, 2n, 31n, 32n, 63n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 1n << 63n]
  .concat([(1n << 63n) - 1n, (1n << 64n) - 1n, (1n << 64n) - 2n, 0x0102_0304_0506_0708n]);

function operands(rng: Prng): [bigint, bigint] {
  const one = () => rng.below(2) === 0 ? rng.pick(EDGES) : rng.u64() >> BigInt(rng.below(64));
  return [one(), one()];
}

function check(
  name: string,
  word: (a: bigint, b: bigint) => number,
  model: Model,
  seed: number,
): void {
  const bare = new BareCore();
  const rng = new Prng(seed);
  for (let i = 0; i < 60; i++) {
    const [a, b] = operands(rng);
    bare.reset();
    bare.load([word(a, b)]);
    bare.setX(11, a);
    bare.setX(12, b);
    bare.run(1);
    const expected = u64(model(a, b));
    assertEquals(bare.x(10), expected, `${name} 0x${a.toString(16)}, 0x${b.toString(16)}`);
    assertEquals(bare.x(11), a);
  }
}

Deno.test("every instruction that computes from two registers does as the manual says", () => {
  Object.entries(MODELS).forEach(([name, model], seed) => {
    check(name, () => encode(name, { rd: 10, rs1: 11, rs2: 12 }), model, seed);
  });
});

Deno.test("every immediate form means its register form", () => {
  Object.entries(IMMEDIATE).forEach(([name, register], seed) => {
    const shift = !/^(addi|slti|xori|ori|andi)/.test(name);
    const wide = !name.endsWith("w");
    const value = (b: bigint) =>
      shift ? Number(b & (wide ? 63n : 31n)) : Number(BigInt.asIntN(12, b));
    const word = (_a: bigint, b: bigint) => encode(name, { rd: 10, rs1: 11, imm: value(b) });
    check(name, word, (a, b) => MODELS[register]!(a, u64(BigInt(value(b)))), seed);
  });
  check(
    "slli.uw",
    (_a, b) => encode("slli.uw", { rd: 10, rs1: 11, imm: Number(b & 63n) }),
    (a, b) => u32(a) << (b & 63n),
    99,
  );
});

Deno.test("the model covers every integer row that only computes", () => {
  const computing = ROWS.filter((row) =>
    ["I", "M", "Zba", "Zbb", "Zbs"].includes(row.extension) && row.flow === "straight" &&
    /^d,s/.test(row.operands)
  ).map(({ name }) => name);
  const covered = new Set([...Object.keys(MODELS), ...Object.keys(IMMEDIATE), "slli.uw"]);
  assertEquals(computing.filter((name) => !covered.has(name)), []);
});

Deno.test("a signed quotient of two magnitudes truncates toward zero", () => {
  for (const [a, b] of [[-7n, 2n], [7n, -2n], [-7n, -2n]] as const) {
    assertEquals(magnitude(quotient(a, b)), 3n);
  }
});
