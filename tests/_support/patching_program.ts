/**
 * Programs whose hot code is patched while it is hot: the next instruction, other functions, either half of
 * an instruction on two pages, code beside data that is written often, through other mappings, by atomics,
 * by devices, and by other harts, with fence.i and without.
 *
 * Invariant: what a device writes depends on the seed and the moment alone, so that machines are comparable.
 */
import { assert } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { encode } from "../../tools/asm/encode.ts";
import {
  changeCsr,
  emitCompute,
  emitHandler,
  emitHotLoops,
  enterMode,
  openMemory,
  POINTERS,
  RECOVERY,
  SCRATCH,
  seedRegisters,
  START,
} from "./hot_program.ts";
import { type Place, Program } from "./program.ts";

/** Four pages of functions that are patched. */
const FUNCTIONS = 0x8020_0000;
const FUNCTION_PAGES = 4;
/** Words to patch with: those whose halves can be mixed, then all kinds. */
const WORDS = 0x8021_0000;
const WORD_COUNT = 256;
const TABLES = 0x8022_0000;
/** Where supervisors see all of memory once more. */
const ALIAS = 0x4000_0000;
/** Programs of further harts are so far behind. */
const PROGRAM_BYTES = 0x4000;
/** From a function page's start: functions, data, and a function that goes on in the next page. */
const ENTRIES = [0x002, 0x080, 0x200, 0x3fe, 0xe00, 0xff0];
const DATA_IN_PAGE = 0x800;
const [functions, alias, words] = POINTERS;
const [target, word, other] = SCRATCH;
const RETURN = 1;
const MHARTID = 0xf14;
/** V R W X A D. */
const LEAF = 0xcfn;
/** How many instructions a function has before its return. */
const BODY = 6;

/**
 * An instruction that does no harm, whatever half of it is from another: an immediate operation on x10 and
 * x11, whose upper half is the immediate and the upper bits of rs1.
 */
function harmless(rng: Prng): number {
  const operation = rng.pick([0, 2, 3, 4, 6, 7]);
  const [rd, rs1] = [rng.pick([10, 11]), rng.pick([10, 11])];
  return (rng.below(4096) << 20 | rs1 << 15 | operation << 12 | rd << 7 | 0x13) >>> 0;
}

/** Any instruction that may take the place of a whole one: jumps over the next, and such as may fault. */
function wild(rng: Prng): number {
  const rs1 = rng.pick([10, 11, words]);
  switch (rng.below(8)) {
    case 0:
      return encode(rng.pick(["beq", "bne", "bltu"]), { rs1: 10, rs2: 11, imm: 8 });
    case 1:
      return encode("jal", { rd: rng.pick([0, RETURN + 13]), imm: 8 });
    case 2:
      // c.nop and c.addi x11, 1
      return 0x0585_0001;
    case 3:
      return encode("csrrs", { rd: 11, imm: rng.pick([0xc00, 0xc02]) });
    case 4:
      return rng.pick([0, 0xffff_ffff, encode("ebreak"), encode("fence.i")]);
    case 5:
      return encode(rng.pick(["ld", "lw", "lbu"]), { rd: 10, rs1, imm: 8 * rng.below(8) });
    case 6:
      return encode("jalr", { rd: 0, rs1: RETURN });
    default:
      return harmless(rng);
  }
}

/** A page of functions: harmless instructions, returns now and then, the last runs on into the next page. */
function functionPage(rng: Prng): Uint8Array {
  const page = new Uint8Array(4096);
  const view = new DataView(page.buffer);
  // The upper half of the instruction that the page before began.
  view.setUint16(0, harmless(rng) >>> 16, true);
  for (const entry of ENTRIES) {
    for (let i = 0; i < BODY; i++) {
      const at = entry + 4 * i;
      if (at + 2 <= 4096) view.setUint16(at, harmless(rng), true);
      if (at + 4 <= 4096) view.setUint16(at + 2, harmless(rng) >>> 16, true);
    }
    // c.jr ra
    if (entry + 4 * BODY < 4096) view.setUint16(entry + 4 * BODY, 0x8082, true);
  }
  // Here the straddling instruction begins, at the page's last two bytes.
  view.setUint16(4094, harmless(rng), true);
  view.setUint16(4092, 0x0001, true);
  return page;
}

/** Writes the hot loops of one hart. */
class Patcher {
  constructor(
    private readonly program: Program,
    private readonly rng: Prng,
    private readonly hasAlias: boolean,
  ) {}

  snippet(): void {
    const { rng, program } = this;
    const kind = rng.below(16);
    if (kind < 4) return this.#call();
    if (kind < 6) return this.#patchNext();
    if (kind < 9) return this.#patchFunction();
    if (kind < 11) return this.#writeBeside();
    if (kind === 11) return this.#patchAtomically();
    if (kind === 12) return this.#copyFunctions();
    if (kind === 13) return this.#patchOften();
    return emitCompute(program, rng);
  }

  /** Puts the address of a byte of the function pages, or of their alias, into a register. */
  #functionAddress(rd: number, offset: number): void {
    const { program, rng } = this;
    const base = this.hasAlias && rng.below(2) === 0 ? alias : functions;
    program.setLong(rd, BigInt(offset));
    program.op("add", { rd, rs1: rd, rs2: base });
  }

  #randomEntry(): number {
    const { rng } = this;
    return 4096 * rng.below(FUNCTION_PAGES - 1) + rng.pick(ENTRIES);
  }

  #call(): void {
    const { program } = this;
    this.#functionAddress(target, this.#randomEntry());
    program.address(RECOVERY, program.place());
    const behind: Place = {};
    program.address(RECOVERY, behind);
    program.op("jalr", { rd: RETURN, rs1: target });
    program.place(behind);
  }

  /** Loads a word to patch with, a different one each time: which one depends on computed values. */
  #word(whole = false): void {
    const { program } = this;
    program.op("add", { rd: word, rs1: 10, rs2: 12 });
    program.op("andi", { rd: word, rs1: word, imm: 0xff });
    program.op("sh2add", { rd: word, rs1: word, rs2: words });
    const wild = whole && this.rng.below(3) === 0;
    program.op("lw", { rd: word, rs1: word, imm: wild ? 4 * WORD_COUNT : 0 });
    program.op("addi", { rd: 12, rs1: 12, imm: 1 });
  }

  #fence(): void {
    if (this.rng.below(3) === 0) this.program.op("fence.i");
  }

  /** The very next instruction, or one a little further on, or one that was just executed. */
  #patchNext(): void {
    const { program, rng } = this;
    const place: Place = {};
    const [name, imm] = rng.pick([["sw", 0], ["sw", 0], ["sh", 0], ["sh", 2], ["sb", 3]]);
    this.#word(name === "sw");
    const before = rng.below(4) === 0;
    if (before) {
      program.place(place);
      program.word(harmless(rng));
    }
    program.address(target, place);
    if (name === "sh" && imm === 2) program.op("srli", { rd: word, rs1: word, imm: 16 });
    program.op(name as string, { rs1: target, rs2: word, imm: imm as number });
    this.#fence();
    for (let i = rng.below(3); i > 0; i--) emitCompute(program, rng);
    if (before) return;
    program.place(place);
    program.word(harmless(rng));
  }

  /** A word, half or byte of a function, also of one that lies on two pages. */
  #patchFunction(): void {
    const { program, rng } = this;
    const page = 4096 * rng.below(FUNCTION_PAGES - 1);
    const at = page + rng.pick(ENTRIES) + 4 * rng.below(BODY);
    const how = rng.below(6);
    this.#word(how > 3);
    switch (how) {
      case 0:
        this.#functionAddress(target, page + 4094);
        program.op(rng.pick(["sw", "sh"]), { rs1: target, rs2: word });
        break;
      case 1:
        this.#functionAddress(target, page + 4096);
        program.op("srli", { rd: word, rs1: word, imm: 16 });
        program.op("sh", { rs1: target, rs2: word });
        break;
      case 2:
        this.#functionAddress(target, at + 2);
        program.op("srli", { rd: word, rs1: word, imm: 16 });
        program.op("sh", { rs1: target, rs2: word });
        break;
      case 3:
        this.#functionAddress(target, at + 3);
        program.op("sb", { rs1: target, rs2: 12 });
        break;
      default:
        this.#functionAddress(target, at);
        program.op(at % 4096 > 4092 ? "sh" : "sw", { rs1: target, rs2: word });
    }
    this.#fence();
  }

  /** Data on a page of code. */
  #writeBeside(): void {
    const { program, rng } = this;
    this.#functionAddress(target, 4096 * rng.below(FUNCTION_PAGES) + DATA_IN_PAGE);
    for (let i = 1 + rng.below(4); i > 0; i--) {
      const imm = 8 * rng.below(64);
      if (rng.below(2) === 0) program.op("sd", { rs1: target, rs2: 13, imm });
      else program.op("ld", { rd: 13, rs1: target, imm });
    }
  }

  #patchAtomically(): void {
    const { program, rng } = this;
    // These entries are at multiples of four.
    const at = 4096 * rng.below(FUNCTION_PAGES - 1) + rng.pick([0x080, 0x200, 0xe00]);
    this.#word(true);
    this.#functionAddress(target, at + 4 * rng.below(BODY));
    if (rng.below(2) === 0) return program.op("amoswap.w", { rd: 14, rs1: target, rs2: word });
    program.op("lr.w", { rd: 14, rs1: target });
    program.op("sc.w", { rd: 15, rs1: target, rs2: word });
  }

  /** Copies one function over another, two instructions at a time, or clears and restores it. */
  #copyFunctions(): void {
    const { program, rng } = this;
    const entry = () => 4096 * rng.below(FUNCTION_PAGES - 1) + rng.pick([0x080, 0x200, 0xe00]);
    this.#functionAddress(target, entry());
    this.#functionAddress(other, entry());
    const zero = rng.below(4) === 0;
    for (let imm = 0; imm < 4 * BODY; imm += 8) {
      program.op("ld", { rd: word, rs1: other, imm });
      if (zero && imm === 0) program.op("cbo.zero", { rs1: target });
      program.op("sd", { rs1: target, rs2: word, imm });
    }
    if (!zero) return;
    program.setLong(word, 0x8082n);
    program.op("sh", { rs1: target, rs2: word, imm: 4 * BODY });
  }

  /** A loop that patches a function and calls it each time. */
  #patchOften(): void {
    const { program, rng } = this;
    program.op("addi", { rd: 14, imm: 2 + rng.below(20) });
    const head = program.place();
    this.#patchFunction();
    this.#call();
    program.op("addi", { rd: 14, rs1: 14, imm: -1 });
    program.to("bne", head, { rs1: 14 });
  }
}

/** The program of one hart. */
function hartProgram(rng: Prng, base: number, supervisor: boolean): Uint8Array {
  const program = new Program(base);
  openMemory(program);
  emitHandler(program, "m");
  program.setLong(functions, BigInt(FUNCTIONS));
  program.setLong(alias, BigInt(supervisor ? FUNCTIONS - START + ALIAS : FUNCTIONS));
  program.setLong(words, BigInt(WORDS));
  seedRegisters(program, rng);
  if (supervisor) {
    program.setLong(target, 8n << 60n | BigInt(TABLES) >> 12n);
    changeCsr(program, "csrrw", "satp", target);
    enterMode(program, "s");
  }
  const patcher = new Patcher(program, rng, supervisor);
  emitHotLoops(program, rng, () => patcher.snippet());
  const bytes = program.bytes();
  assert(bytes.length <= PROGRAM_BYTES - 64, `a program has ${bytes.length} bytes`);
  return bytes;
}

/** One image with the programs of all harts, each behind the jump to them. */
export function patchingImage(rng: Prng, harts: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(TABLES - START + 4096);
  const start = new Program(START);
  start.op("csrrs", { rd: target, imm: MHARTID });
  start.op("slli", { rd: target, rs1: target, imm: Math.log2(PROGRAM_BYTES) });
  start.address(word, start.place());
  start.op("add", { rd: target, rs1: target, rs2: word });
  start.op("jalr", { rd: 0, rs1: target, imm: 64 - 8 });
  bytes.set(start.bytes());
  const supervisor = rng.below(2) === 0;
  for (let hart = 0; hart < harts; hart++) {
    const offset = 64 + hart * PROGRAM_BYTES;
    bytes.set(hartProgram(rng, START + offset, supervisor), offset);
  }
  for (let page = 0; page < FUNCTION_PAGES; page++) {
    bytes.set(functionPage(rng), FUNCTIONS - START + 4096 * page);
  }
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < WORD_COUNT; i++) {
    view.setUint32(WORDS - START + 4 * i, harmless(rng), true);
    view.setUint32(WORDS - START + 4 * (WORD_COUNT + i), wild(rng), true);
  }
  // Gigabyte pages: the program where it is, and all of memory once more.
  for (const [index, address] of [[START / 2 ** 30, START], [ALIAS / 2 ** 30, START]] as const) {
    view.setBigUint64(TABLES - START + 8 * index, BigInt(address) >> 12n << 10n | LEAF, true);
  }
  return bytes;
}

/** A device writes into functions: bytes that depend on seed and moment alone. */
export function patchByDevice(seed: number): (machine: Machine, moment: number) => void {
  return (machine, moment) => {
    const rng = new Prng(seed + moment);
    for (let i = rng.below(4); i > 0; i--) {
      const from = rng.pick([0xffe, ...ENTRIES.map((entry) => entry + 4 * rng.below(BODY))]);
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, harmless(rng), true);
      machine.memory.write(FUNCTIONS + 4096 * rng.below(FUNCTION_PAGES - 1) + from, bytes);
    }
  };
}
