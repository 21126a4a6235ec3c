/**
 * Encoding and decoding are inverses, and what matches no row is illegal (unprivileged ISA, "RV32/64G
 * Instruction Set Listings", "Base Instruction-Length Encoding", and the C extension's tables).
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { COMPRESSED, compressedForm } from "../../kernel/cpu/isa/c.ts";
import { decode, ILLEGAL, IMMEDIATE_FORMATS, newDecoded } from "../../kernel/cpu/isa/decode.ts";
import { rowNumber, ROWS } from "../../kernel/cpu/isa/table.ts";
import { encode, encodeRow } from "../../tools/asm/encode.ts";
import { CODE, machineTrap, PrivilegedCore, told } from "../_support/privileged.ts";

const decoded = newDecoded();

/** An immediate that a format can hold. */
function immediate(rng: Prng, position: number): number {
  switch (IMMEDIATE_FORMATS[position]) {
    case "I":
    case "S":
      return (rng.u32() << 20) >> 20;
    case "B":
      return (rng.u32() << 19) >> 19 & ~1;
    case "U":
      return rng.u32() & 0xfffff000;
    case "J":
      return (rng.u32() << 11) >> 11 & ~1;
    case "shift64":
      return rng.below(64);
    case "shift32":
      return rng.below(32);
    case "csr":
      return rng.below(4096);
    default:
      return 0;
  }
}

Deno.test("every row decodes to itself with the operands that were encoded", () => {
  const rng = new Prng(1);
  ROWS.forEach((row, position) => {
    for (let i = 0; i < 200; i++) {
      const operands = {
        rd: rng.below(32),
        rs1: rng.below(32),
        rs2: rng.below(32),
        rs3: rng.below(32),
        rm: rng.below(8),
        imm: immediate(rng, position),
      };
      const word = encodeRow(position, operands);
      assertEquals(word & row.mask, row.match | 0, row.name);
      assertEquals(ROWS[decode(word, decoded)]?.name, row.name);
      assertEquals([decoded.length, decoded.bits], [4, word]);
      const has = (letters: string) => [...letters].some((l) => row.operands.includes(l));
      if (has("dD")) assertEquals(decoded.rd, operands.rd, row.name);
      if (has("sS")) assertEquals(decoded.rs1, operands.rs1, row.name);
      if (has("tT")) assertEquals(decoded.rs2, operands.rs2, row.name);
      if (has("R")) assertEquals(decoded.rs3, operands.rs3, row.name);
      if (has("m")) assertEquals(decoded.rm, operands.rm, row.name);
      if (IMMEDIATE_FORMATS[position] !== "none") {
        assertEquals(decoded.imm, operands.imm, `${row.name} 0x${word.toString(16)}`);
      }
    }
  });
});

Deno.test("encoding refuses registers and rows that do not exist", () => {
  assertThrows(() => encode("add", { rd: 32 }), RangeError, "no register 32");
  assertThrows(() => encode("add", { rs1: -1 }), RangeError, "no register -1");
  assertThrows(() => encode("nonsense"), RangeError, "no instruction is named nonsense");
  assertThrows(() => encodeRow(ROWS.length, {}), RangeError, "there is no instruction");
});

/** The row of a word by looking at all of them: the most specific that matches. */
function byLooking(word: number): number {
  const size = (mask: number) => mask.toString(2).replaceAll("0", "").length;
  let best = ILLEGAL;
  ROWS.forEach((row, i) => {
    if (((word ^ row.match) & row.mask) !== 0) return;
    if (best === ILLEGAL || size(row.mask) > size(ROWS[best]!.mask)) best = i;
  });
  return best;
}

Deno.test("the decoder's buckets find what a look at the whole table finds", () => {
  const rng = new Prng(2);
  for (let i = 0; i < 30_000; i++) {
    const row = rng.pick(ROWS);
    // One bit of the row's own is wrong in half of the words.
    const near = rng.u32() & ~row.mask | row.match;
    const word = (rng.below(2) === 0 ? near : near ^ 1 << 2 + rng.below(30)) >>> 0;
    assertEquals(decode(word, decoded), byLooking(word), `0x${word.toString(16)}`);
  }
});

Deno.test("no two rows of the same specificity match one word", () => {
  for (const [i, a] of ROWS.entries()) {
    for (const b of ROWS.slice(i + 1)) {
      const common = a.mask & b.mask;
      if (((a.match ^ b.match) & common) !== 0) continue;
      assert(
        common === (a.mask | 0) !== (common === (b.mask | 0)),
        `${a.name} and ${b.name} overlap`,
      );
    }
  }
});

// "mtval will contain … the actual faulting instruction".
Deno.test("words of no row are illegal on the hart, with all their bits in mtval", () => {
  const hart = new PrivilegedCore();
  const rng = new Prng(3);
  let tried = 0;
  while (tried < 2000) {
    const word = (rng.u32() | 3) >>> 0;
    if (decode(word, decoded) !== ILLEGAL) continue;
    tried++;
    hart.program([word]);
    hart.core.setWord(0, "privilege", 3);
    assertEquals(told(hart.step()), machineTrap(2, word));
  }
});

Deno.test("illegal half words are illegal on the hart, with 16 bits in mtval", () => {
  const hart = new PrivilegedCore();
  let illegal = 0;
  for (let half = 0; half < 65536; half++) {
    if ((half & 3) === 3 || compressedForm(half) !== undefined) continue;
    illegal++;
    hart.program([(half | 0xabcd << 16) >>> 0]);
    hart.core.setWord(0, "privilege", 3);
    assertEquals(told(hart.step()), machineTrap(2, half));
  }
  assert(illegal > 2000, `${illegal} half words`);
});

// C: "a 16-bit instruction with all bits zero is permanently reserved as an illegal instruction"; the
// other code points that the chapter's tables mark RES.
Deno.test("the reserved code points of the C extension are illegal", () => {
  const reserved: number[] = [0];
  const every = (mask: number, match: number) => {
    for (let half = 0; half < 65536; half++) if ((half & mask) === match) reserved.push(half);
  };
  every(0xffe3, 0x0000); // c.addi4spn with nzuimm = 0
  every(0xe003, 0x8000); // quadrant 0, funct3 100
  every(0xef83, 0x2001); // c.addiw with rd = 0
  every(0xffff, 0x6101); // c.addi16sp with nzimm = 0
  every(0xf07f, 0x6001); // c.lui with nzimm = 0
  every(0xfc43, 0x9c41); // quadrant 1, the two unused register operations
  every(0xef83, 0x4002); // c.lwsp with rd = 0
  every(0xef83, 0x6002); // c.ldsp with rd = 0
  every(0xffff, 0x8002); // c.jr with rs1 = 0
  for (const half of reserved) {
    assertEquals(decode(half, decoded), ILLEGAL, `0x${half.toString(16)}`);
  }
  const legal = Array.from({ length: 65536 }, (_, half) => half)
    .filter((half) => (half & 3) !== 3 && decode(half, decoded) !== ILLEGAL).length;
  assertEquals(legal, 49152 - new Set(reserved).size, "and there are no others");
});

/** One half word of each form, and what it stands for by the chapter's encoding tables. */
const EXAMPLES: readonly (readonly [number, string, Partial<typeof decoded>])[] = [
  [0x1ffc, "addi", { rd: 15, rs1: 2, imm: 1020 }],
  [0x3ffc, "fld", { rd: 15, rs1: 15, imm: 248 }],
  [0x5ffc, "lw", { rd: 15, rs1: 15, imm: 124 }],
  [0x7ffc, "ld", { rd: 15, rs1: 15, imm: 248 }],
  [0xbffc, "fsd", { rs2: 15, rs1: 15, imm: 248 }],
  [0xdffc, "sw", { rs2: 15, rs1: 15, imm: 124 }],
  [0xfffc, "sd", { rs2: 15, rs1: 15, imm: 248 }],
  [0x1ffd, "addi", { rd: 31, rs1: 31, imm: -1 }],
  [0x3ffd, "addiw", { rd: 31, rs1: 31, imm: -1 }],
  [0x5ffd, "addi", { rd: 31, rs1: 0, imm: -1 }],
  [0x717d, "addi", { rd: 2, rs1: 2, imm: -16 }],
  [0x7ffd, "lui", { rd: 31, imm: -4096 }],
  [0x93fd, "srli", { rd: 15, rs1: 15, imm: 63 }],
  [0x97fd, "srai", { rd: 15, rs1: 15, imm: 63 }],
  [0x9bfd, "andi", { rd: 15, rs1: 15, imm: -1 }],
  [0x8f9d, "sub", { rd: 15, rs1: 15, rs2: 15 }],
  [0xbffd, "jal", { rd: 0, imm: -2 }],
  [0xdffd, "beq", { rs1: 15, rs2: 0, imm: -2 }],
  [0xeffd, "bne", { rs1: 15, rs2: 0, imm: 254 }],
  [0x1ffe, "slli", { rd: 31, rs1: 31, imm: 63 }],
  [0x3ffe, "fld", { rd: 31, rs1: 2, imm: 504 }],
  [0x5ffe, "lw", { rd: 31, rs1: 2, imm: 252 }],
  [0x7ffe, "ld", { rd: 31, rs1: 2, imm: 504 }],
  [0x8f82, "jalr", { rd: 0, rs1: 31, imm: 0 }],
  [0x8ffe, "add", { rd: 31, rs1: 0, rs2: 31 }],
  [0x9f82, "jalr", { rd: 1, rs1: 31, imm: 0 }],
  [0x9ffe, "add", { rd: 31, rs1: 31, rs2: 31 }],
  [0xbffe, "fsd", { rs2: 31, rs1: 2, imm: 504 }],
  [0xdffe, "sw", { rs2: 31, rs1: 2, imm: 252 }],
  [0xfffe, "sd", { rs2: 31, rs1: 2, imm: 504 }],
];

Deno.test("half words with all operand bits set stand for the right long forms", () => {
  for (const [half, name, operands] of EXAMPLES) {
    assertEquals(decode(half, decoded), rowNumber(name), `0x${half.toString(16)}`);
    assertEquals({ ...decoded, ...operands }, decoded, `0x${half.toString(16)} ${name}`);
    assertEquals(decoded.length, 2);
  }
  const forms = new Set(EXAMPLES.map(([half]) => compressedForm(half)?.name));
  const others = ["c.ebreak", "c.xor", "c.or", "c.and", "c.subw", "c.addw"];
  const missing = COMPRESSED.filter(({ name }) => !forms.has(name) && !others.includes(name));
  assertEquals(missing.map(({ name }) => name), []);
});

Deno.test("each operand bit of a jump and a branch lands at its own place in the distance", () => {
  const distances = (base: number, bits: readonly number[]) =>
    bits.map((bit) => {
      decode(base | 1 << bit, decoded);
      return decoded.imm;
    });
  // imm[11|4|9:8|10|6|7|3:1|5] and imm[8|4:3] rs1' imm[7:6|2:1|5].
  assertEquals(
    distances(0xa001, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]),
    [-2048, 16, 512, 256, 1024, 64, 128, 8, 4, 2, 32],
  );
  assertEquals(distances(0xc001, [12, 11, 10, 6, 5, 4, 3, 2]), [-256, 16, 8, 128, 64, 4, 2, 32]);
});

// "c.jalr … writes the address of the instruction following the jump (pc+2)".
Deno.test("links and branches that fall through step over two bytes", () => {
  const hart = new PrivilegedCore();
  hart.setX(15, BigInt(CODE + 0x40));
  assertEquals(hart.attempt([0x9782], "machine"), "no trap");
  assertEquals([hart.x(1), hart.get("pc")], [BigInt(CODE + 2), BigInt(CODE + 0x40)]);
  assertEquals(hart.attempt([0xc789], "machine"), "no trap");
  assertEquals(hart.get("pc"), BigInt(CODE + 2), "x15 is not zero");
});
