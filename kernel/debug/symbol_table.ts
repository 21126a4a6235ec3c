/**
 * Names of addresses in a guest, from the text that Linux gives (/proc/kallsyms, System.map) or from the
 * symbol table of an ELF file (S13).
 *
 * Invariant: symbols are sorted by address, the one that a person would name first among equals.
 */
import { FormatError } from "../base/errors.ts";
import { readElfSymbols } from "../machine/elf.ts";

/** What a symbol names. */
export type SymbolKind = "function" | "object" | "other";

/** One symbol. */
export interface GuestSymbol {
  /** Its name. */
  readonly name: string;
  /** Its virtual address. */
  readonly address: bigint;
  /** Bytes; 0 where the source does not say. */
  readonly size: number;
  /** What it names. */
  readonly kind: SymbolKind;
  /** Whether it can be seen outside the file that it was compiled from. */
  readonly global: boolean;
  /** Loadable module that it belongs to, if any. */
  readonly module?: string;
}

/** Where an address lies. */
export interface SymbolPlace {
  /** The symbol. */
  readonly symbol: GuestSymbol;
  /** Bytes behind the symbol's address. */
  readonly offset: number;
}

/** Farthest that a symbol of unknown size reaches when no other follows. */
export const IMPLICIT_BYTES: number = 16 << 20;
/** Symbols before an address that are asked whether their size reaches it. */
const LOOK_BACK = 64;

const KIND_RANK: Readonly<Record<SymbolKind, number>> = { function: 0, object: 1, other: 2 };

function compare(a: GuestSymbol, b: GuestSymbol): number {
  if (a.address !== b.address) return a.address < b.address ? -1 : 1;
  return KIND_RANK[a.kind] - KIND_RANK[b.kind] || Number(b.global) - Number(a.global);
}

/** Marks of the assembler and of compilers, not names that anybody gave. */
const isMark = (name: string) => name.startsWith("$") || name.startsWith(".L");

/** A sorted table of symbols. */
export class SymbolTable {
  /** All symbols, by address. */
  readonly symbols: readonly GuestSymbol[];
  readonly #addresses: BigUint64Array;
  readonly #byName = new Map<string, GuestSymbol>();

  constructor(symbols: Iterable<GuestSymbol>) {
    this.symbols = Array.from(symbols).filter(({ name }) => name !== "" && !isMark(name))
      .sort(compare);
    this.#addresses = BigUint64Array.from(this.symbols, ({ address }) => address);
    for (const symbol of this.symbols) {
      const known = this.#byName.get(symbol.name);
      if (known === undefined || betterKnown(symbol, known)) this.#byName.set(symbol.name, symbol);
    }
  }

  /** The symbol of a name; of several, one of the kernel itself and a global one come first. */
  find(name: string): GuestSymbol | undefined {
    return this.#byName.get(name);
  }

  /** The address of a name, or undefined. */
  address(name: string): bigint | undefined {
    return this.#byName.get(name)?.address;
  }

  /** The symbol that an address belongs to, or undefined. */
  at(address: bigint): SymbolPlace | undefined {
    const last = this.#lastAt(address);
    for (let i = last; i >= 0 && i > last - LOOK_BACK; i--) {
      const first = this.#firstOfEquals(i);
      const place = this.#within(first, address, last);
      if (place !== undefined) return place;
      i = first;
    }
    return undefined;
  }

  /** "name+0x10 [module]" for an address, or its digits. */
  describe(address: bigint): string {
    const place = this.at(address);
    if (place === undefined) return `0x${address.toString(16)}`;
    const { symbol: { name, module }, offset } = place;
    const behind = offset === 0 ? "" : `+0x${offset.toString(16)}`;
    return `${name}${behind}${module === undefined ? "" : ` [${module}]`}`;
  }

  /** Bytes that a symbol covers: its size, or up to the next address that has a symbol. */
  extent(symbol: GuestSymbol): number {
    if (symbol.size > 0) return symbol.size;
    const next = this.symbols[this.#lastAt(symbol.address) + 1];
    const room = next === undefined ? IMPLICIT_BYTES : Number(next.address - symbol.address);
    return Math.min(room, IMPLICIT_BYTES);
  }

  #within(index: number, address: bigint, last: number): SymbolPlace | undefined {
    const symbol = this.symbols[index]!;
    const offset = address - symbol.address;
    // A symbol without a size ends where the next begins; the last one before the address reaches it.
    if (symbol.size === 0 && index !== this.#firstOfEquals(last)) return undefined;
    const reach = symbol.size > 0 ? symbol.size : IMPLICIT_BYTES;
    return offset < BigInt(reach) ? { symbol, offset: Number(offset) } : undefined;
  }

  #firstOfEquals(index: number): number {
    let first = index;
    while (first > 0 && this.#addresses[first - 1] === this.#addresses[index]) first--;
    return first;
  }

  /** Index of the last symbol at or before an address, or -1. */
  #lastAt(address: bigint): number {
    let [low, high] = [0, this.#addresses.length];
    while (low < high) {
      const middle = low + high >>> 1;
      if (this.#addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

function betterKnown(a: GuestSymbol, b: GuestSymbol): boolean {
  const rank = ({ module, global }: GuestSymbol) => (module === undefined ? 2 : 0) + Number(global);
  return rank(a) > rank(b);
}

/** What nm's letters say (binutils, "nm"); others name no place. */
function kindOf(letter: string): SymbolKind | undefined {
  switch (letter.toLowerCase()) {
    case "t":
    case "w":
    case "i":
      return "function";
    case "b":
    case "d":
    case "g":
    case "r":
    case "s":
    case "v":
    case "u":
      return "object";
    case "n":
      return "other";
    default:
      return undefined;
  }
}

const LINE = /^([0-9a-f]{1,16}) (\S) ([^\s]+)(?:\s+\[([^\]\s]+)\])?$/i;
/** A name that is used and not defined, in the output of nm. */
const UNDEFINED = /^ +[Uwv] \S+$/;

function parseLine(line: string, number: number): GuestSymbol | undefined {
  if (line === "" || UNDEFINED.test(line)) return undefined;
  const match = LINE.exec(line);
  if (match === null) {
    throw new FormatError(
      `line ${number} of the symbols is "${line.slice(0, 80)}": ` +
        'expected "ADDRESS TYPE NAME" or "ADDRESS TYPE NAME [MODULE]"',
    );
  }
  const [, address, letter, name, module] = match;
  const kind = kindOf(letter!);
  if (kind === undefined) return undefined;
  return {
    name: name!,
    address: BigInt(`0x${address}`),
    size: 0,
    kind,
    global: letter !== letter!.toLowerCase(),
    ...(module !== undefined && { module }),
  };
}

/**
 * Reads the text of /proc/kallsyms, System.map or nm. Throws FormatError that names the line, and when
 * the addresses are hidden from who read the file.
 */
export function parseSymbolText(text: string): SymbolTable {
  const symbols: GuestSymbol[] = [];
  let number = 0;
  for (const line of text.split(/\r?\n/)) {
    const symbol = parseLine(line, ++number);
    if (symbol !== undefined) symbols.push(symbol);
  }
  if (symbols.length === 0) throw new FormatError("there are no symbols in the text");
  if (symbols.every(({ address }) => address === 0n)) {
    throw new FormatError("all symbols have the address 0: read /proc/kallsyms as root");
  }
  return new SymbolTable(symbols);
}

/** Reads the symbol table of an ELF file. Throws FormatError when there is none. */
export function parseSymbolElf(bytes: Uint8Array): SymbolTable {
  const symbols = readElfSymbols(bytes)
    // Names of files and of what is not defined here have no address.
    .filter(({ name, value }) => name !== "" && value !== 0n)
    .map(({ name, value, size, kind }) => ({ name, address: value, size, kind, global: true }));
  if (symbols.length === 0) throw new FormatError("the ELF file has no symbol table");
  return new SymbolTable(symbols);
}
