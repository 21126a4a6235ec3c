/**
 * The generated decoder against the tables that say what instructions are: all compressed words, random words
 * of all rows, what lies at the end of a page, and how far it decodes ahead.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { decode, newDecoded } from "../../kernel/cpu/isa/decode.ts";
import { isMarker, markerBits } from "../../kernel/cpu/isa/marker.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import { RECORD, SPECIAL, SPECIALS } from "../../kernel/cpu/record_layout.ts";
import { SINK, VARIANTS } from "../../kernel/cpu/records.ts";
import { HART } from "../../kernel/memory/hart_layout.ts";
import { RECORD_BYTES } from "../../kernel/memory/memory_plan.ts";
import { BareCore, RAM } from "../_support/bare_core.ts";

const PAGE = 4096;
const WFI = 0x1050_0073;
/** `c.nop`: what follows is decoded too. */
const NOP = 0x0001;
/** `c.j .`: decoding ahead stops behind it. */
const HALT = 0xa001;

interface DecodedRecord {
  readonly operation: number;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly immediate: number;
  readonly bits: number;
}

/** What executes a page of code from one of its halfwords, and reads the records that this leaves. */
class Page {
  readonly bare = new BareCore({ ramBytes: 4 << 20, decodedPages: 8 });
  #page = 0;

  /** Puts halfwords onto a page that was never executed, and executes one instruction. */
  execute(halves: ReadonlyMap<number, number>, first: number): void {
    const { core } = this.bare;
    this.#page = (this.#page + 1) % 256;
    const code = new Uint16Array(core.buffer, core.plan.ram + this.#page * PAGE, PAGE / 2);
    code.fill(HALT);
    for (const [at, half] of halves) code[at / 2] = half;
    core.exports.dmaWrote(BigInt(RAM + this.#page * PAGE), PAGE);
    core.resetHart(0);
    core.setRegister(0, "pc", BigInt(RAM + this.#page * PAGE + first));
    core.exports.flushAll();
    this.bare.run(1);
  }

  /** The record of an offset in the page. */
  record(offset: number): DecodedRecord {
    const { core } = this.bare;
    const index = new Uint16Array(core.buffer, core.plan.decodedIndex, core.plan.ramPages);
    const decoded = core.decodedPages.pageAddress(this.#page);
    assertEquals(index[this.#page] === 0, false, "the page was decoded");
    const view = new DataView(core.buffer, decoded + offset / 2 * RECORD_BYTES, RECORD_BYTES);
    return {
      operation: view.getUint16(RECORD.operation, true),
      rd: view.getUint16(RECORD.rd, true),
      rs1: view.getUint16(RECORD.rs1, true),
      rs2: view.getUint16(RECORD.rs2, true),
      immediate: view.getInt32(RECORD.immediate, true),
      bits: view.getUint32(RECORD.bits, true),
    };
  }
}

/** What the tables say about an instruction at an offset of a page. */
function expected(word: number, offset: number): Partial<DecodedRecord> {
  const decoded = newDecoded();
  const row = ROWS[decode(word, decoded)];
  const { bits, length, imm } = decoded;
  if (row === undefined) return { operation: SPECIAL.illegal, bits };
  if (isMarker(bits)) return { operation: SPECIAL.marker, bits };
  const isRelative = row.flow === "branch" || row.flow === "jump";
  const target = offset + imm;
  const near = isRelative && target >= 0 && target < PAGE;
  const operation = SPECIALS +
    VARIANTS.findIndex((v) => v.row === decoded.row && v.length === length && v.near === near);
  const register = (isFloat: boolean, number: number) => number * 8 + (isFloat ? HART.offset.f : 0);
  const writesZero = !row.operands.includes("D") && decoded.rd === 0;
  return {
    operation,
    rd: writesZero ? SINK : register(row.operands.includes("D"), decoded.rd),
    rs1: register(row.operands.includes("S"), decoded.rs1),
    rs2: register(row.operands.includes("T"), decoded.rs2),
    immediate: near ? imm * 8 : imm,
    bits,
  };
}

function assertRecord(page: Page, word: number, offset: number): void {
  const record = page.record(offset);
  const wanted = expected(word, offset);
  const found = Object.fromEntries(
    Object.keys(wanted).map((key) => [key, record[key as keyof DecodedRecord]]),
  );
  assertEquals(found, wanted, `0x${word.toString(16)} at ${offset}`);
}

Deno.test("all compressed words are decoded as the tables say", () => {
  const page = new Page();
  for (let half = 0; half < 65536; half++) {
    if ((half & 3) === 3) continue;
    const offset = half % (PAGE / 2) * 2;
    page.execute(new Map([[offset, half]]), offset);
    assertRecord(page, half, offset);
  }
});

Deno.test("words of all rows, and such as are none, are decoded as the tables say", () => {
  const page = new Page();
  const random = new Prng(7);
  for (let round = 0; round < 60_000; round++) {
    const { match, mask } = ROWS[round % ROWS.length]!;
    const isRow = random.below(8) > 0;
    const word = (isRow ? match | random.u32() & ~mask : random.u32() | 3) >>> 0;
    const offset = random.below(PAGE / 2 - 1) * 2;
    page.execute(new Map([[offset, word & 0xffff], [offset + 2, word >>> 16]]), offset);
    assertRecord(page, word, offset);
  }
});

Deno.test("markers are operations of their own, and their family's other member is no marker", () => {
  const page = new Page();
  for (const word of [markerBits("begin"), markerBits("end"), markerBits("write")]) {
    for (const bits of [word, word & ~0x3000, word ^ 0x80, word ^ 0x8000_0000]) {
      page.execute(new Map([[0, bits & 0xffff], [2, bits >>> 16 & 0xffff]]), 0);
      assertRecord(page, bits >>> 0, 0);
    }
    page.execute(new Map([[0, word & 0xffff], [2, word >>> 16], [4, NOP]]), 0);
    assertRecord(page, NOP, 4);
  }
});

Deno.test("what lies on two pages is no record of one, whatever its second half is", () => {
  const page = new Page();
  page.execute(new Map([[PAGE - 4, NOP], [PAGE - 2, WFI & 0xffff]]), PAGE - 4);
  assertRecord(page, NOP, PAGE - 4);
  assertEquals(page.record(PAGE - 2).operation, SPECIAL.straddle);
  page.execute(new Map([[PAGE - 4, NOP], [PAGE - 2, NOP]]), PAGE - 4);
  assertRecord(page, NOP, PAGE - 2);
  assertEquals(page.record(PAGE).operation, SPECIAL.undecoded);
});

Deno.test("24 instructions are decoded ahead, none behind a jump, a trap or what is illegal", () => {
  const page = new Page();
  const run = new Map(Array.from({ length: 40 }, (_, i) => [2 * i, NOP]));
  page.execute(run, 0);
  assertRecord(page, NOP, 2 * 23);
  assertEquals(page.record(2 * 24).operation, SPECIAL.undecoded);
  for (const [low, high] of [[HALT, NOP], [0, NOP], [0x0073, 0x0000], [0x8082, NOP]] as const) {
    page.execute(new Map([[0, NOP], [2, low], [4, high], [6, NOP]]), 0);
    assertRecord(page, (high << 16 | low) >>> 0, 2);
    const next = (low & 3) === 3 ? 6 : 4;
    assertEquals(page.record(next).operation, SPECIAL.undecoded, `behind 0x${low.toString(16)}`);
  }
});
