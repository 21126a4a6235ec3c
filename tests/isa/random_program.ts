/**
 * Random programs for the differential tests: 4-byte slots of instructions of every class, with some
 * registers kept as pointers into data, and only forward jumps, so that every program ends.
 */
import { COMPRESSED } from "../../kernel/cpu/isa/c.ts";
import { decode, ILLEGAL, newDecoded } from "../../kernel/cpu/isa/decode.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { encode, encodeRow } from "../../tools/asm/encode.ts";

/** Registers that point into data and are never written. */
export const POINTERS: readonly number[] = [2, 15, 26, 27];
/** Those that are multiples of eight. */
const ALIGNED: readonly number[] = [2, 15];
/** A register that macros use as scratch. */
const SCRATCH = 10;

/** What a program may contain. */
export interface ProgramOptions {
  /** Slots, 4 bytes each. */
  readonly slots: number;
  /** Whether float instructions appear. */
  readonly float: boolean;
}

/** Instructions that leave the program, hang it, or that QEMU 7.2 lacks or gets wrong (ctzw). */
const LEFT_OUT =
  /^(ctzw|ecall|mret|sret|wfi|cbo\.|sinval|sfence\.w|sfence\.inval|lr|sc|amo|jal|csr|b(eq|ne|lt|ge))/;
/** CSRs whose every bit is the program's own. */
const FREE_CSRS = [0x001, 0x002, 0x003, 0x140, 0x143];

const decoded = newDecoded();

/** Makes the words of a program; the last is an ecall. */
export class ProgramMaker {
  readonly #words: number[] = [];
  /** Slots inside a macro, where no jump may land. */
  readonly #closed = new Set<number>();
  /** Jumps whose target is known only when the slots behind them are. */
  readonly #jumps: {
    at: number;
    from: number;
    wanted: number;
    word: (distance: number) => number;
  }[] = [];
  readonly #straight: number[];
  readonly #atomics: number[];

  constructor(private readonly rng: Prng, private readonly options: ProgramOptions) {
    this.#straight = ROWS.map((_, i) => i).filter((i) =>
      !LEFT_OUT.test(ROWS[i]!.name) && (options.float || !ROWS[i]!.float)
    );
    this.#atomics = ROWS.map((_, i) => i).filter((i) => ROWS[i]!.name.startsWith("amo"));
  }

  /** The program. */
  make(): Uint32Array {
    const { slots } = this.options;
    while (this.#words.length < slots) this.#slot();
    // A jump near the end may reach a little past it.
    for (let i = 0; i < 16; i++) this.#words.push(encode("addi", {}));
    this.#words.push(encode("ecall"));
    for (const { at, from, wanted, word } of this.#jumps) {
      let target = from + wanted;
      while (this.#closed.has(target)) target++;
      this.#words[at] = word(4 * (target - from));
    }
    return Uint32Array.from(this.#words);
  }

  #slot(): void {
    const kind = this.rng.below(100);
    if (kind < 58) this.#plain();
    else if (kind < 74) this.#compressedPair();
    else if (kind < 82) this.#branch();
    else if (kind < 88) this.#atomic();
    else if (kind < 92) this.#csr();
    else if (kind < 94) this.#jump();
    else if (kind < 97) this.#reserved();
    else this.#illegal();
  }

  #target(): number {
    for (;;) {
      const register = this.rng.below(32);
      if (!POINTERS.includes(register)) return register;
    }
  }

  #plain(): void {
    const row = this.rng.pick(this.#straight);
    const { operands, flow } = ROWS[row]!;
    if (flow === "system" && operands.includes("s")) {
      this.#words.push(encode("sfence.vma", {}));
      return;
    }
    const memory = operands.includes("(s)");
    const pointer = memory && this.rng.below(20) !== 0;
    this.#words.push(encodeRow(row, {
      rd: operands.includes("D") ? this.rng.below(32) : this.#target(),
      rs1: pointer ? this.rng.pick(POINTERS) : this.rng.below(32),
      rs2: this.rng.below(32),
      rs3: this.rng.below(32),
      imm: ROWS[row]!.name === "auipc" ? this.#farAway() : this.#immediate(operands),
      rm: this.rng.pick([0, 0, 1, 2, 3, 4, 7, 7, 7, 7, 7, 5]),
    }));
  }

  /** A distance that leads out of RAM, so that no store finds the runner by chance. */
  #farAway(): number {
    return (1 + this.rng.below(100)) << 24;
  }

  #immediate(operands: string): number {
    if (operands.includes("u")) return this.rng.u32() & 0xfffff000;
    if (/[><]/.test(operands)) return this.rng.below(64);
    return this.rng.pick([0, 1, -1, 2047, -2048, this.rng.below(4096) - 2048, this.rng.below(64)]);
  }

  #compressedPair(): void {
    const half = () => {
      for (;;) {
        const bits = this.#compressed();
        if (bits !== undefined) return bits;
      }
    };
    this.#words.push((half() | half() << 16) >>> 0);
  }

  #compressed(): number | undefined {
    const form = this.rng.pick(COMPRESSED);
    const bits = form.match | this.rng.u32() & ~form.mask & 0xffff;
    if (decode(bits, decoded) === ILLEGAL) return undefined;
    const row = ROWS[decoded.row]!;
    if (row.flow !== "straight" || (row.float && !this.options.float)) return undefined;
    const integer = row.operands.includes("d");
    return integer && POINTERS.includes(decoded.rd) ? undefined : bits;
  }

  /** Adds a jump from slot `from`, or from itself, to a slot not far behind. */
  #jumpTo(word: (distance: number) => number, from = this.#words.length): void {
    const least = this.#words.length - from + 1;
    this.#jumps.push({
      at: this.#words.length,
      from,
      wanted: least + this.rng.below(6),
      word,
    });
    this.#words.push(0);
  }

  #branch(): void {
    const name = this.rng.pick(["beq", "bne", "blt", "bge", "bltu", "bgeu"]);
    const [rs1, rs2] = [this.rng.below(32), this.rng.below(32)];
    this.#jumpTo((imm) => encode(name, { rs1, rs2, imm }));
  }

  #jump(): void {
    const rd = this.#target();
    if (this.rng.below(2) === 0) return this.#jumpTo((imm) => encode("jal", { rd, imm }));
    const from = this.#words.length;
    const odd = this.rng.below(2);
    this.#words.push(encode("auipc", { rd: SCRATCH }));
    this.#closed.add(this.#words.length);
    this.#jumpTo((imm) => encode("jalr", { rd, rs1: SCRATCH, imm: imm + odd }), from);
  }

  #atomic(): void {
    const modify = this.rng.below(3) > 0;
    // QEMU lets a misaligned SC without a reservation fail where the specification wants a trap.
    const misaligned = modify && this.rng.below(12) === 0 ? 1 + this.rng.below(7) : 0;
    const pointer = this.rng.pick(modify ? POINTERS : ALIGNED);
    const imm = (this.rng.below(512) - 256) * 8 + misaligned;
    this.#words.push(encode("addi", { rd: SCRATCH, rs1: pointer, imm: Math.min(imm, 2047) }));
    const inside = (word: number) => {
      this.#closed.add(this.#words.length);
      this.#words.push(word);
    };
    const operands = () => ({ rd: this.#target(), rs1: SCRATCH, rs2: this.rng.below(32) });
    if (modify) return inside(encodeRow(this.rng.pick(this.#atomics), operands()));
    const width = this.rng.pick(["w", "d"]);
    const rd = this.rng.pick([11, 12, 13]);
    inside(encode(`lr.${width}`, { rd, rs1: SCRATCH }));
    inside(encode(`sc.${width}`, { ...operands(), rd }));
  }

  #csr(): void {
    const name = this.rng.pick(["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"]);
    this.#words.push(encode(name, {
      rd: this.#target(),
      rs1: this.rng.below(32),
      imm: this.rng.pick(FREE_CSRS),
    }));
  }

  /** Words that no extension of the reference machine gives a meaning. */
  #reserved(): void {
    const candidates = [
      0x00000000,
      0xffffffff,
      0x00007003 | this.rng.below(32) << 15,
      0x00004023 | this.rng.below(32) << 20,
      0x00002063,
      0x0000302f | 0x1f << 27,
      0x00001067,
      0x4000501b | 1 << 25,
      0xc0000073 | 0x7 << 20,
    ];
    this.#words.push(this.rng.pick(candidates) >>> 0);
  }

  #illegal(): void {
    if (this.rng.below(2) === 0) {
      this.#words.push(encode("ebreak"));
      return;
    }
    // Reading a counter's shadow with a write is refused; so is an unknown CSR.
    this.#words.push(encode("csrrw", { rd: 5, rs1: 6, imm: this.rng.pick([0xc00, 0xf11, 0x5c0]) }));
  }
}
