/**
 * Reads ELF64 executables for RISC-V (System V ABI, "Object Files"; RISC-V ELF psABI).
 * Invariant: every offset and length in the file is checked against the file before use.
 */
import { FormatError } from "../base/errors.ts";

/** A loadable segment. */
export interface ElfSegment {
  /** Physical address. */
  readonly address: number;
  readonly virtualAddress: bigint;
  readonly bytes: Uint8Array;
  /** Bytes in memory; the rest behind `bytes` is zero. */
  readonly memoryBytes: number;
}

/** A symbol. */
export interface ElfSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size: number;
  readonly kind: "function" | "object" | "other";
}

/** An executable. */
export interface ElfImage {
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  readonly symbols: readonly ElfSymbol[];
}

const MACHINE_RISCV = 243;
const LOAD = 1;
const SYMBOL_TABLE = 2;
const MACHINES: Readonly<Record<number, string>> = {
  3: "x86",
  40: "ARM",
  62: "x86-64",
  183: "AArch64",
};

/** Whether bytes start as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c &&
    bytes[3] === 0x46;
}

class Reader {
  readonly #view: DataView;
  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  #check(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.bytes.length) {
      throw new FormatError(
        `ELF file is cut off: needs ${offset + length} bytes, has ${this.bytes.length}`,
      );
    }
  }
  u16(offset: number): number {
    this.#check(offset, 2);
    return this.#view.getUint16(offset, true);
  }
  u32(offset: number): number {
    this.#check(offset, 4);
    return this.#view.getUint32(offset, true);
  }
  u64(offset: number): bigint {
    this.#check(offset, 8);
    return this.#view.getBigUint64(offset, true);
  }
  size(offset: number): number {
    const value = this.u64(offset);
    if (value > 0xff_ffff_ffffn) {
      throw new FormatError(`ELF file has an absurd size or offset ${value}`);
    }
    return Number(value);
  }
  slice(offset: number, length: number): Uint8Array {
    this.#check(offset, length);
    return this.bytes.subarray(offset, offset + length);
  }
  text(offset: number): string {
    this.#check(offset, 1);
    const end = this.bytes.indexOf(0, offset);
    if (end < 0) throw new FormatError("ELF string table has no end");
    return new TextDecoder().decode(this.bytes.subarray(offset, end));
  }
}

/** Reads an executable. Throws FormatError that says what was found and what was expected. */
export function readElf(bytes: Uint8Array): ElfImage {
  const reader = open(bytes);
  return { entry: reader.u64(24), segments: segments(reader), symbols: symbols(reader) };
}

/** Reads only the symbols, of files with nothing to load as well. Throws FormatError as readElf does. */
export function readElfSymbols(bytes: Uint8Array): readonly ElfSymbol[] {
  return symbols(open(bytes));
}

function open(bytes: Uint8Array): Reader {
  if (!isElf(bytes)) throw new FormatError("not an ELF file");
  const reader = new Reader(bytes);
  reader.slice(0, 64 <= bytes.length ? 64 : bytes.length + 1);
  if (bytes[4] !== 2) {
    throw new FormatError("a 32-bit ELF file; this machine is RV64 and takes 64-bit files only");
  }
  if (bytes[5] !== 1) throw new FormatError("a big-endian ELF file; RISC-V is little-endian");
  const machine = reader.u16(18);
  if (machine !== MACHINE_RISCV) {
    throw new FormatError(
      `an ELF file for ${MACHINES[machine] ?? `machine ${machine}`}, not RISC-V`,
    );
  }
  return reader;
}

/**
 * Where the bytes of a virtual address are loaded, because a kernel that is linked high is entered before
 * it has turned translation on; an address outside every segment is taken to be physical.
 */
export function physicalAddress(elf: ElfImage, address: bigint): number {
  const segment = elf.segments.find(({ virtualAddress, memoryBytes }) =>
    address >= virtualAddress && address < virtualAddress + BigInt(memoryBytes)
  );
  return segment === undefined
    ? Number(address)
    : segment.address + Number(address - segment.virtualAddress);
}

function segments(reader: Reader): ElfSegment[] {
  const table = reader.size(32);
  const entryBytes = reader.u16(54);
  const found: ElfSegment[] = [];
  for (let i = 0; i < reader.u16(56); i++) {
    const at = table + i * entryBytes;
    if (reader.u32(at) !== LOAD) continue;
    const fileBytes = reader.size(at + 32);
    const memoryBytes = reader.size(at + 40);
    if (memoryBytes < fileBytes) throw new FormatError(`ELF segment ${i} is larger in the file`);
    if (memoryBytes === 0) continue;
    found.push({
      address: reader.size(at + 24),
      virtualAddress: reader.u64(at + 16),
      bytes: reader.slice(reader.size(at + 8), fileBytes),
      memoryBytes,
    });
  }
  if (found.length === 0) throw new FormatError("ELF file has nothing to load");
  return found;
}

function symbols(reader: Reader): ElfSymbol[] {
  const table = reader.size(40);
  const entryBytes = reader.u16(58);
  const sections = reader.u16(60);
  const found: ElfSymbol[] = [];
  for (let i = 0; i < sections; i++) {
    const at = table + i * entryBytes;
    if (reader.u32(at + 4) !== SYMBOL_TABLE) continue;
    const link = reader.u32(at + 40);
    if (link >= sections) throw new FormatError("ELF symbol table names no string table");
    const strings = reader.size(table + link * entryBytes + 24);
    const start = reader.size(at + 24);
    const count = Math.floor(reader.size(at + 32) / 24);
    reader.slice(start, count * 24);
    for (let s = 1; s < count; s++) {
      const symbol = start + s * 24;
      const kind = reader.bytes[symbol + 4]! & 15;
      found.push({
        name: reader.text(strings + reader.u32(symbol)),
        value: reader.u64(symbol + 8),
        size: Number(reader.u64(symbol + 16) & 0xffff_ffffn),
        kind: kind === 2 ? "function" : kind === 1 ? "object" : "other",
      });
    }
  }
  return found;
}
