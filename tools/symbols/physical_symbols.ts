/**
 * Names of guest-physical pages and of addresses of code: which symbols of a kernel image lie in them (issue 5, section 6,
 * `checkpoint diff --symbols`). A bare-metal image lies where its symbols say; Linux lies in one piece from
 * its load address on, and is mapped in one piece at the addresses that its symbols have (Documentation/
 * arch/riscv/vm-layout.rst, "kernel").
 *
 * Invariant: of pages only symbols of the kernel image itself are named, because where others lie in memory is not
 * known.
 */
import { PAGE_BYTES } from "../../kernel/base/units.ts";
import type { SymbolTable } from "../../kernel/debug/symbol_table.ts";
import { RAM_START } from "../../kernel/limits.ts";

/** First address of the half of the address space that Linux has for itself. */
const UPPER_HALF = 1n << 63n;
/** Where Linux wants to lie behind the start of RAM (arch/riscv/kernel/head.S, text_offset of RV64). */
export const LINUX_TEXT_OFFSET = 0x20_0000;

/** Symbols of some pages. */
export class PhysicalSymbols {
  readonly #table: SymbolTable;
  /** What a symbol's address is above the guest-physical one. */
  readonly #above: bigint;
  /** Addresses of the image, as its symbols have them. */
  readonly #first: bigint;
  readonly #end: bigint;

  /**
   * Of a kernel image in a guest.
   *
   * @param memoryBytes the guest's RAM
   * @param textOffset where a Linux image lies behind the start of RAM
   */
  constructor(table: SymbolTable, memoryBytes: number, textOffset: number = LINUX_TEXT_OFFSET) {
    this.#table = table;
    const start = table.address("_start") ?? table.address("_text");
    if (start !== undefined && start >= UPPER_HALF) {
      this.#above = start - BigInt(RAM_START + textOffset);
      this.#first = start;
      const end = table.address("_end");
      const ramEnd = BigInt(RAM_START + memoryBytes) + this.#above;
      this.#end = end !== undefined && end > start && end < ramEnd ? end : ramEnd;
    } else {
      this.#above = 0n;
      this.#first = BigInt(RAM_START);
      this.#end = BigInt(RAM_START + memoryBytes);
    }
  }

  /** Names of the symbols that lie in the page at a guest-physical address, at most so many, and of how many. */
  inPage(address: number, most: number): { readonly names: string[]; readonly count: number } {
    const first = BigInt(address) + this.#above;
    const end = first + BigInt(PAGE_BYTES);
    const names: string[] = [];
    let count = 0;
    if (end <= this.#first || first >= this.#end) return { names, count };
    const add = (name: string) => {
      count++;
      if (names.length < most) names.push(name);
    };
    const reaching = this.#table.at(first)?.symbol;
    if (reaching !== undefined && reaching.address >= this.#first && reaching.address < first) {
      add(reaching.name);
    }
    const { symbols } = this.#table;
    for (let i = this.#firstAt(first); i < symbols.length; i++) {
      const { name, address: at } = symbols[i]!;
      if (at >= end || at >= this.#end) break;
      if (at >= this.#first) add(name);
    }
    return { names, count };
  }

  /**
   * "name+0x10" for an address of code, as a hart has it in a register; undefined for any other number. Numbers
   * that only look like an address of the image are named as well.
   *
   * @param isCode the number is known to be one: labels of assembler, which say of nothing what it is, are named, too
   */
  inCode(address: bigint, isCode = false): string | undefined {
    const symbol = this.#table.at(address)?.symbol;
    if (symbol === undefined) return undefined;
    const isNamed = symbol.kind === "function" || (isCode && symbol.kind === "other");
    // A module lies elsewhere, and its symbols say where.
    const isThere = symbol.module !== undefined || (address >= this.#first && address < this.#end);
    return isNamed && isThere ? this.#table.describe(address) : undefined;
  }

  /** Index of the first symbol at or behind an address. */
  #firstAt(address: bigint): number {
    const { symbols } = this.#table;
    let [low, high] = [0, symbols.length];
    while (low < high) {
      const middle = low + high >>> 1;
      if (symbols[middle]!.address < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
