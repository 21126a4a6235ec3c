/**
 * Decoder and disassembler against binutils: every compressed half word, and random words of every row
 * and of none. Assembler and stripper only wrap the bytes, so that objdump knows the extensions.
 *
 * Invariant tested: a word has the text that `objdump -M no-aliases` gives it, or both say that it is
 * no instruction.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { csrName } from "../../kernel/cpu/csr_table.ts";
import { compressedForm } from "../../kernel/cpu/isa/c.ts";
import { decode, type Decoded, ILLEGAL, newDecoded } from "../../kernel/cpu/isa/decode.ts";
import { disassemble, F_NAMES, X_NAMES } from "../../kernel/cpu/isa/disassemble.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import { peerTest, runPeer } from "../_support/peers.ts";

const PREFIX = "riscv64-unknown-elf-";
const PEERS = ["as", "strip", "objdump"].map((tool) => PREFIX + tool);
const ARCH = "rv64gc_zba_zbb_zbs_zicbom_zicboz_svinval";
/** Room for the longest instruction that objdump knows; what is left over are c.nop. */
const STRIDE = 32;
const COMPRESSED_NOP = 1;
const FENCE_FIXED = 0xf00fff80;

/** Text of the instruction at each multiple of the stride. */
async function objdump(words: readonly number[]): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  try {
    const halves = new Uint16Array(words.length * STRIDE / 2).fill(COMPRESSED_NOP);
    words.forEach((word, i) => {
      halves[i * STRIDE / 2] = word & 0xffff;
      if ((word & 3) === 3) halves[i * STRIDE / 2 + 1] = word >>> 16;
    });
    await Deno.writeFile(`${folder}/words`, new Uint8Array(halves.buffer));
    await Deno.writeTextFile(`${folder}/words.s`, `.text\n.incbin "${folder}/words"\n`);
    await must("as", [`-march=${ARCH}`, "-o", `${folder}/words.o`, `${folder}/words.s`]);
    // Without symbols objdump does not take the bytes for data.
    await must("strip", ["-s", `${folder}/words.o`]);
    const text = await must("objdump", ["-D", "-z", "-M", "no-aliases", `${folder}/words.o`]);
    return textAtStrides(text, words.length);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function must(tool: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runPeer(PREFIX + tool, args);
  assertEquals(code, 0, `${tool}: ${stderr}`);
  return new TextDecoder().decode(stdout);
}

function textAtStrides(listing: string, count: number): string[] {
  const texts = new Array<string>(count).fill("");
  let inText = false;
  for (const line of listing.split("\n")) {
    if (line.startsWith("Disassembly of section")) inText = line.includes(".text");
    const [address, , ...text] = line.split("\t");
    const at = parseInt(address!, 16);
    if (!inText || !/^\s*[0-9a-f]+:$/.test(address!) || at % STRIDE !== 0) continue;
    texts[at / STRIDE] = text.join("\t").replace(/ (<|#).*/, "").trim();
  }
  return texts;
}

/** How objdump writes each compressed form, from the operands of the long form. */
const FORMS: Readonly<Record<string, (d: Decoded, pc: bigint) => string>> = {
  "c.addi4spn": (d) => `${X_NAMES[d.rd]},sp,${d.imm}`,
  "c.fld": (d) => `${F_NAMES[d.rd]},${d.imm}(${X_NAMES[d.rs1]})`,
  "c.fsd": (d) => `${F_NAMES[d.rs2]},${d.imm}(${X_NAMES[d.rs1]})`,
  "c.lui": (d) => `${X_NAMES[d.rd]},0x${(d.imm >>> 12).toString(16)}`,
  "c.j": (d, pc) => target(d, pc),
  "c.beqz": (d, pc) => `${X_NAMES[d.rs1]},${target(d, pc)}`,
  "c.bnez": (d, pc) => `${X_NAMES[d.rs1]},${target(d, pc)}`,
  "c.jr": (d) => X_NAMES[d.rs1]!,
  "c.jalr": (d) => X_NAMES[d.rs1]!,
  "c.ebreak": () => "",
  ...byName(["c.lw", "c.ld", "c.lwsp", "c.ldsp"], (d) => {
    return `${X_NAMES[d.rd]},${d.imm}(${X_NAMES[d.rs1]})`;
  }),
  ...byName(["c.sw", "c.sd", "c.swsp", "c.sdsp"], (d) => {
    return `${X_NAMES[d.rs2]},${d.imm}(${X_NAMES[d.rs1]})`;
  }),
  "c.fldsp": (d) => `${F_NAMES[d.rd]},${d.imm}(sp)`,
  "c.fsdsp": (d) => `${F_NAMES[d.rs2]},${d.imm}(sp)`,
  ...byName(["c.addi", "c.addiw", "c.li", "c.addi16sp", "c.andi"], (d) => {
    return `${X_NAMES[d.rd]},${d.imm}`;
  }),
  ...byName(["c.slli", "c.srli", "c.srai"], (d) => `${X_NAMES[d.rd]},0x${d.imm.toString(16)}`),
  ...byName(
    ["c.sub", "c.xor", "c.or", "c.and", "c.subw", "c.addw", "c.mv", "c.add"],
    (d) => `${X_NAMES[d.rd]},${X_NAMES[d.rs2]}`,
  ),
};

function byName<T>(names: readonly string[], value: T): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, value]));
}

function target({ imm }: Decoded, pc: bigint): string {
  return `0x${BigInt.asUintN(64, pc + BigInt(imm)).toString(16)}`;
}

/** Our text of a half word in objdump's style, or "" for an illegal one. */
function compressedText(half: number, pc: bigint, decoded: Decoded): string {
  const form = compressedForm(half);
  if (form === undefined) {
    assertEquals(decode(half, decoded), ILLEGAL);
    return "";
  }
  assertEquals(decode(half, decoded), form.long);
  const operands = FORMS[form.name]!(decoded, pc);
  return operands === "" ? form.name : `${form.name}\t${operands}`;
}

/** objdump's text of a half word in the terms of RV64: "" where it is no instruction. */
function theirCompressed(text: string): string {
  if (/^(\.2byte|c\.unimp)/.test(text)) return "";
  // "The code point with nzimm=0 is reserved", although objdump shows it.
  if (text === "c.addi16sp\tsp,0") return "";
  // Shifts by zero are hints in RV64; objdump shows what they would be in RV128.
  return text.replace(/^(c\.s[lr][al]i)64\t(\w+)$/, "$1\t$2,0x0");
}

peerTest("every compressed half word is what objdump says, or illegal", PEERS, async () => {
  const halves = Array.from({ length: 65536 }, (_, half) => half).filter((half) =>
    (half & 3) !== 3
  );
  const theirs = await objdump(halves);
  const decoded = newDecoded();
  halves.forEach((half, i) => {
    const mine = compressedText(half, BigInt(i * STRIDE), decoded);
    assertEquals(mine, theirCompressed(theirs[i]!), `0x${half.toString(16)}`);
  });
});

/** Our text of a word; CSRs that only objdump names are written as it does. */
function longText(word: number, pc: bigint, decoded: Decoded, theirs: string): string {
  decode(word, decoded);
  const their = /^csr\w+\t\w+,(\w+),/.exec(theirs)?.[1];
  return disassemble(decoded, pc, { csr: (number) => csrName(number) ?? their });
}

/** Words of a row; fields that the specification ignores and objdump does not are zero. */
function wordOf(row: (typeof ROWS)[number], rng: Prng): number {
  let free = ~row.mask;
  if (row.name === "fence") free &= ~FENCE_FIXED;
  if (row.name === "fence.i") free = 0;
  // These conversions are exact; the assembler leaves their rounding mode zero.
  if (/^fcvt\.d\.(wu?|s)$/.test(row.name)) free &= ~0x7000;
  return (rng.u32() & free | row.match) >>> 0;
}

peerTest("random words of every row have objdump's text", PEERS, async () => {
  const rng = new Prng(2026);
  const words = ROWS.flatMap((row) => {
    const samples = Array.from({ length: 60 }, () => wordOf(row, rng));
    return samples.filter((word) => row.name !== "fence" || (word >>> 20 & 15 && word >>> 24 & 15));
  });
  const theirs = await objdump(words);
  const decoded = newDecoded();
  words.forEach((word, i) => {
    const mine = longText(word, BigInt(i * STRIDE), decoded, theirs[i]!);
    assertEquals(mine, theirs[i], `0x${word.toString(16)}`);
  });
});

/** Whether objdump shows no instruction. Longer than four bytes is none of ours. */
const isData = (text: string) => /^\.(byte|[248]byte)/.test(text);
/** Instructions that ignore fields which objdump wants to be zero, by what our text starts with. */
const LENIENT = /^(fence|fcvt\.d\.(wu?|s))/;

peerTest("random words are instructions for both or for neither", PEERS, async () => {
  const rng = new Prng(7);
  const words = Array.from({ length: 60_000 }, () => (rng.u32() | 3) >>> 0);
  const theirs = await objdump(words);
  const decoded = newDecoded();
  let legal = 0;
  words.forEach((word, i) => {
    const mine = longText(word, BigInt(i * STRIDE), decoded, theirs[i]!);
    if (decoded.row !== ILLEGAL) legal++;
    if (LENIENT.test(mine)) return;
    const expected = isData(theirs[i]!) ? ILLEGAL : decoded.row;
    assertEquals(decoded.row, expected, `0x${word.toString(16)}: ${mine} or ${theirs[i]}`);
    if (decoded.row !== ILLEGAL) assertEquals(mine, theirs[i], `0x${word.toString(16)}`);
    else assertEquals(isData(theirs[i]!), true, `0x${word.toString(16)}: ${theirs[i]}`);
  });
  assertEquals(legal > 10_000, true, `${legal} of them are instructions`);
});
