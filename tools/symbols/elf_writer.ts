/**
 * Writes an ELF64 file for RISC-V with nothing but symbols (System V ABI, "Object Files"), which gdb
 * takes with `symbol-file`: sections without bytes span the addresses, so that code is known as code.
 */
import type { GuestSymbol, SymbolTable } from "../../kernel/debug/symbol_table.ts";

const HEADER = 64;
const SECTION = 64;
const SYMBOL = 24;
const EXECUTABLE = 2;
const RISCV = 243;
/** Compressed instructions and double-precision arguments: what RV64GC Linux is compiled for. */
const FLAGS = 5;
const SYMTAB = 2;
const STRTAB = 3;
const NOBITS = 8;
const WRITE = 1;
const ALLOC = 2;
const EXECINSTR = 4;
/** Symbols that alternate between code and data more often than this share one section. */
const SECTIONS = 4096;
const TYPES = { function: 2, object: 1, other: 0 } as const;

/** A range of addresses with symbols of one sort. */
interface Span {
  readonly code: boolean;
  readonly start: bigint;
  readonly end: bigint;
  /** Index of the first symbol behind it. */
  readonly next: number;
}

const isCode = ({ kind }: GuestSymbol) => kind === "function";

/** The spans of a table: each ends before the next starts, and none is empty. */
function spansOf(table: SymbolTable): Span[] {
  const { symbols } = table;
  const spans: Span[] = [];
  for (let first = 0; first < symbols.length;) {
    const code = isCode(symbols[first]!);
    let next = first + 1;
    // Symbols at one address cannot be parted.
    while (
      next < symbols.length && (isCode(symbols[next]!) === code ||
        symbols[next]!.address === symbols[next - 1]!.address)
    ) next++;
    spans.push({ code, start: symbols[first]!.address, end: endOf(table, next), next });
    first = next;
  }
  return spans.length <= SECTIONS ? spans : [{
    code: true,
    start: symbols[0]!.address,
    end: endOf(table, symbols.length),
    next: symbols.length,
  }];
}

/** Where the symbols before an index end: at the next one, or where the last of them does. */
function endOf(table: SymbolTable, next: number): bigint {
  const { symbols } = table;
  const last = symbols[next - 1]!;
  const end = last.address + BigInt(table.extent(last));
  const following = symbols[next]?.address ?? 1n << 64n;
  return end < following ? end : following;
}

/** Bytes of strings that are added one behind the other. */
class Strings {
  readonly #parts: Uint8Array[] = [new Uint8Array(1)];
  length = 1;

  /** Adds a string and gives its offset. */
  add(text: string): number {
    const at = this.length;
    const bytes = new TextEncoder().encode(`${text}\0`);
    this.#parts.push(bytes);
    this.length += bytes.length;
    return at;
  }

  copyTo(target: Uint8Array, at: number): void {
    for (const part of this.#parts) {
      target.set(part, at);
      at += part.length;
    }
  }
}

/** A section header as it is written. */
interface SectionHeader {
  readonly name: number;
  readonly type: number;
  readonly flags?: number;
  readonly address?: bigint;
  readonly offset?: number;
  readonly size: bigint | number;
  readonly link?: number;
  readonly info?: number;
  readonly entry?: number;
  readonly align?: number;
}

function writeSection(view: DataView, at: number, section: SectionHeader): void {
  view.setUint32(at, section.name, true);
  view.setUint32(at + 4, section.type, true);
  const words = [section.flags ?? 0, section.address ?? 0n, section.offset ?? 0, section.size];
  words.forEach((word, i) => view.setBigUint64(at + 8 + 8 * i, BigInt(word), true));
  view.setUint32(at + 40, section.link ?? 0, true);
  view.setUint32(at + 44, section.info ?? 0, true);
  view.setBigUint64(at + 48, BigInt(section.align ?? 1), true);
  view.setBigUint64(at + 56, BigInt(section.entry ?? 0), true);
}

function writeHeader(view: DataView, sections: number, count: number): void {
  new Uint8Array(view.buffer).set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, EXECUTABLE, true);
  view.setUint16(18, RISCV, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(40, BigInt(sections), true);
  view.setUint32(48, FLAGS, true);
  view.setUint16(52, HEADER, true);
  view.setUint16(58, SECTION, true);
  view.setUint16(60, count, true);
  // Both string tables are one, and the last section.
  view.setUint16(62, count - 1, true);
}

/** Indices of the table's symbols in the order of the file: local ones come first. */
function fileOrder(
  { symbols }: SymbolTable,
): { readonly order: number[]; readonly locals: number } {
  const indices = symbols.map((_, i) => i);
  const locals = indices.filter((i) => !symbols[i]!.global);
  return {
    order: [...locals, ...indices.filter((i) => symbols[i]!.global)],
    locals: locals.length,
  };
}

/** Section of each of the table's symbols; sections of spans have numbers from 1 on. */
function sectionNumbers(table: SymbolTable, spans: readonly Span[]): Uint16Array {
  const numbers = new Uint16Array(table.symbols.length);
  let first = 0;
  spans.forEach(({ next }, i) => {
    numbers.fill(i + 1, first, next);
    first = next;
  });
  return numbers;
}

/** Makes the file. The table must have a symbol. */
export function writeSymbolElf(table: SymbolTable): Uint8Array<ArrayBuffer> {
  const spans = spansOf(table);
  const strings = new Strings();
  const [text, data] = [strings.add(".text"), strings.add(".data")];
  const [symtab, strtab] = [strings.add(".symtab"), strings.add(".strtab")];
  const { order, locals } = fileOrder(table);
  const names = order.map((i) => strings.add(table.symbols[i]!.name));
  const symbolsBytes = (order.length + 1) * SYMBOL;
  const stringsAt = HEADER + symbolsBytes;
  const sectionsAt = stringsAt + strings.length + 7 & ~7;
  const count = spans.length + 3;
  const bytes = new Uint8Array(sectionsAt + count * SECTION);
  const view = new DataView(bytes.buffer);
  writeHeader(view, sectionsAt, count);
  const numbers = sectionNumbers(table, spans);
  order.forEach((index, i) => {
    const at = HEADER + (i + 1) * SYMBOL;
    const symbol = table.symbols[index]!;
    view.setUint32(at, names[i]!, true);
    view.setUint8(at + 4, (symbol.global ? 16 : 0) | TYPES[symbol.kind]);
    view.setUint16(at + 6, numbers[index]!, true);
    view.setBigUint64(at + 8, symbol.address, true);
    view.setBigUint64(at + 16, BigInt(table.extent(symbol)), true);
  });
  strings.copyTo(bytes, stringsAt);
  const headers: SectionHeader[] = spans.map(({ code, start, end }) => ({
    name: code ? text : data,
    type: NOBITS,
    flags: ALLOC | (code ? EXECINSTR : WRITE),
    address: start,
    offset: HEADER,
    size: end - start,
  }));
  headers.push({
    name: symtab,
    type: SYMTAB,
    offset: HEADER,
    size: symbolsBytes,
    link: count - 1,
    info: locals + 1,
    entry: SYMBOL,
    align: 8,
  }, { name: strtab, type: STRTAB, offset: stringsAt, size: strings.length });
  headers.forEach((header, i) => writeSection(view, sectionsAt + (i + 1) * SECTION, header));
  return bytes;
}
