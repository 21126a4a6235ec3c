/**
 * A tiny assembler with labels for generated programs: words in order, jumps to places that come later.
 */
import { encode, type EncodeOperands } from "../../tools/asm/encode.ts";

/** A place in a program. */
export interface Place {
  /** Index of its word; known once it was placed. */
  at?: number;
}

/** Puts a program together. */
export class Program {
  readonly #words: number[] = [];
  readonly #later: { readonly at: number; readonly make: () => number }[] = [];

  /** @param base address of the first word */
  constructor(readonly base: number) {}

  /** Words so far. */
  get length(): number {
    return this.#words.length;
  }

  /** Appends an instruction. */
  op(name: string, operands: EncodeOperands = {}): void {
    this.#words.push(encode(name, operands));
  }

  /** Appends a branch or jump to a place. */
  to(name: string, place: Place, operands: EncodeOperands = {}): void {
    const at = this.#words.length;
    this.#later.push({ at, make: () => encode(name, { ...operands, imm: 4 * (place.at! - at) }) });
    this.#words.push(0);
  }

  /** Sets a register to a constant of 32 bits, sign-extended. */
  set(rd: number, value: number): void {
    const low = value << 20 >> 20;
    this.op("lui", { rd, imm: value - low | 0 });
    this.op("addiw", { rd, rs1: rd, imm: low });
  }

  /** Sets a register to the address of a place, always in two words. */
  address(rd: number, place: Place): void {
    const at = this.#words.length;
    const distance = () => 4 * (place.at! - at);
    const low = () => distance() << 20 >> 20;
    this.#later.push({ at, make: () => encode("auipc", { rd, imm: distance() - low() | 0 }) });
    this.#later.push({ at: at + 1, make: () => encode("addi", { rd, rs1: rd, imm: low() }) });
    this.#words.push(0, 0);
  }

  /** Puts a place here. */
  place(place: Place = {}): Place {
    place.at = this.#words.length;
    return place;
  }

  /** The program's bytes. */
  bytes(): Uint8Array<ArrayBuffer> {
    for (const { at, make } of this.#later) this.#words[at] = make();
    return new Uint8Array(Uint32Array.from(this.#words).buffer);
  }
}
