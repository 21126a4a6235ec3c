/**
 * A tiny assembler with labels for generated programs: instructions of two and four bytes in order, jumps
 * to places that come later, and data between them.
 */
import { encode, type EncodeOperands } from "../../tools/asm/encode.ts";

/** A place in a program. */
export interface Place {
  /** Halfwords before it; known once it was placed. */
  at?: number;
}

/** Something whose bits depend on places. */
interface Later {
  readonly at: number;
  /** Its words. */
  readonly make: () => readonly number[];
}

/** Puts a program together. */
export class Program {
  readonly #halves: number[] = [];
  readonly #later: Later[] = [];

  /** @param base address of the first byte */
  constructor(readonly base: number) {}

  /** Words so far. */
  get length(): number {
    return this.#halves.length / 2;
  }

  /** Address of what comes next. */
  get here(): number {
    return this.base + 2 * this.#halves.length;
  }

  /** Appends an instruction. */
  op(name: string, operands: EncodeOperands = {}): void {
    this.word(encode(name, operands));
  }

  /** Appends the 32 bits of an instruction or of data. */
  word(bits: number): void {
    this.#halves.push(bits & 0xffff, bits >>> 16 & 0xffff);
  }

  /** Appends 16 bits, such as a compressed instruction. */
  half(bits: number): void {
    this.#halves.push(bits & 0xffff);
  }

  /** Appends compressed nops until the address is `offset` behind a multiple of `bytes`. */
  align(bytes: number, offset = 0): void {
    while (this.here % bytes !== offset) this.half(0x0001);
  }

  /** Appends a branch or jump to a place. */
  to(name: string, place: Place, operands: EncodeOperands = {}): void {
    const at = this.#halves.length;
    this.#reserve(1, () => [encode(name, { ...operands, imm: 2 * (place.at! - at) })]);
  }

  /** Sets a register to a constant of 32 bits, sign-extended. */
  set(rd: number, value: number): void {
    const low = value << 20 >> 20;
    this.op("lui", { rd, imm: value - low | 0 });
    this.op("addiw", { rd, rs1: rd, imm: low });
  }

  /** Sets a register to a constant of 64 bits; how many instructions depends on it. */
  setLong(rd: number, value: bigint): void {
    const signed = BigInt.asIntN(64, value);
    if (BigInt.asIntN(32, signed) === signed) return this.set(rd, Number(signed));
    const low = BigInt.asIntN(12, signed);
    this.setLong(rd, BigInt.asIntN(64, signed - low) >> 12n);
    this.op("slli", { rd, rs1: rd, imm: 12 });
    this.op("addi", { rd, rs1: rd, imm: Number(low) });
  }

  /** Sets a register to the address of a place, always in two words. */
  address(rd: number, place: Place): void {
    const at = this.#halves.length;
    this.#reserve(2, () => {
      const distance = 2 * (place.at! - at);
      const low = distance << 20 >> 20;
      return [
        encode("auipc", { rd, imm: distance - low | 0 }),
        encode("addi", { rd, rs1: rd, imm: low }),
      ];
    });
  }

  /** Appends the address of a place as 64 bits of data. */
  pointer(place: Place): void {
    this.#reserve(2, () => [this.base + 2 * place.at! | 0, 0]);
  }

  /** Puts a place here. */
  place(place: Place = {}): Place {
    place.at = this.#halves.length;
    return place;
  }

  /** The program's bytes. */
  bytes(): Uint8Array<ArrayBuffer> {
    for (const { at, make } of this.#later) {
      make().forEach((word, i) => {
        this.#halves[at + 2 * i] = word & 0xffff;
        this.#halves[at + 2 * i + 1] = word >>> 16;
      });
    }
    return new Uint8Array(Uint16Array.from(this.#halves).buffer);
  }

  #reserve(words: number, make: () => readonly number[]): void {
    this.#later.push({ at: this.#halves.length, make });
    for (let i = 0; i < words; i++) this.word(0);
  }
}
