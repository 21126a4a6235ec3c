/**
 * What differs between two checkpoints, for people and for programs (issue 5, section 6, `checkpoint diff`).
 *
 * Invariant: output is bounded: of ranges, registers, pages with symbols and symbols of a page at most so many
 * are told, and how many there are.
 */
import type { CheckpointDiff, CheckpointRegister } from "../../../mod.ts";
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { CPU_REGISTERS } from "../../gdb/registers.ts";
import type { PhysicalSymbols } from "../../symbols/mod.ts";

/** Most symbols of one page that are named. */
const SYMBOLS_MAXIMUM = 8;
/** Most ranges, and pages with symbols, in JSON. */
export const JSON_MAXIMUM = 65_536;

/** Registers that always hold an address of code: program counters, the return address, handlers of traps. */
const CODE_REGISTERS = /^(pc|x1|[ms]epc|[ms]tvec)$/;
/** Registers that may hold one. */
const ADDRESS_REGISTERS = /^(x\d+|[ms]tval)$/;

/** A page with names. */
interface NamedPage {
  readonly address: number;
  readonly symbols: readonly string[];
  /** How many symbols lie in it. */
  readonly symbolCount: number;
}

/** The first pages that differ and have symbols, and how many have. */
function namedPages(
  { ranges }: CheckpointDiff,
  symbols: PhysicalSymbols | undefined,
  most: number,
): { readonly pages: NamedPage[]; readonly count: number } {
  const pages: NamedPage[] = [];
  let count = 0;
  if (symbols === undefined) return { pages, count };
  for (const range of ranges) {
    for (let i = 0; i < range.pages; i++) {
      const address = range.address + i * PAGE_BYTES;
      const { names, count: symbolCount } = symbols.inPage(address, SYMBOLS_MAXIMUM);
      if (symbolCount === 0) continue;
      count++;
      if (pages.length < most) pages.push({ address, symbols: names, symbolCount });
    }
  }
  return { pages, count };
}

/** What code the values of a register lie in, where that is known. */
function codeOf(
  { name, a, b }: CheckpointRegister,
  symbols: PhysicalSymbols | undefined,
): { readonly a: string | undefined; readonly b: string | undefined } {
  const isCode = CODE_REGISTERS.test(name);
  const named = (value: string) =>
    isCode || ADDRESS_REGISTERS.test(name) ? symbols?.inCode(BigInt(value), isCode) : undefined;
  return { a: named(a), b: named(b) };
}

/** A register as JSON, with the names of the code that it leads to. */
function registerAsJson(
  register: CheckpointRegister,
  symbols: PhysicalSymbols | undefined,
): unknown {
  if (symbols === undefined) return register;
  const { a, b } = codeOf(register, symbols);
  return { ...register, symbols: { a: a ?? null, b: b ?? null } };
}

/** A register as a line: its values in columns, each with the name of the code that it leads to. */
function registerLine(
  register: CheckpointRegister,
  symbols: PhysicalSymbols | undefined,
): string {
  const { hart, name, a, b } = register;
  const code = codeOf(register, symbols);
  const shown = (value: string, symbol: string | undefined) =>
    symbol === undefined ? value : `${value} (${symbol})`;
  const first = shown(a, code.a).padEnd(18);
  return `  hart ${hart} ${spoken(name).padEnd(16)} ${first}  ${shown(b, code.b)}`;
}

/** As one JSON object. */
export function diffAsJson(diff: CheckpointDiff, symbols: PhysicalSymbols | undefined): unknown {
  const { a, b, pages, ranges, harts, registers, machine, devices } = diff;
  const about = ({ id, vm, label, icount }: typeof a) => ({ id, vm, label, icount });
  const named = namedPages(diff, symbols, JSON_MAXIMUM);
  return {
    a: about(a),
    b: about(b),
    pages: {
      count: pages.length,
      ranges: ranges.slice(0, JSON_MAXIMUM),
      rangeCount: ranges.length,
      ...symbols && { named: named.pages, namedCount: named.count },
    },
    harts: harts ?? null,
    registers: registers.map((register) => registerAsJson(register, symbols)),
    machine,
    devices: devices.map(({ name, bytes, reason }) => ({
      name,
      bytes: bytes ?? null,
      reason: reason ?? null,
    })),
  };
}

/** As lines; of each kind at most so many. */
export function diffLines(
  diff: CheckpointDiff,
  symbols: PhysicalSymbols | undefined,
  most: number,
): string {
  const { a, b, pages, ranges, harts, registers, machine, devices } = diff;
  const lines: string[] = [];
  const more = (count: number, what: string) => {
    if (count > most) lines.push(`  and ${count - most} more ${what}`);
  };
  if (a.icount !== b.icount) lines.push(`instructions executed: ${a.icount} and ${b.icount}`);
  lines.push(`${pages.length} of ${a.memoryPages} pages differ, in ${ranges.length} ranges`);
  for (const { address, pages: count } of ranges.slice(0, most)) {
    const end = address + count * PAGE_BYTES - 1;
    lines.push(`  ${hex(address)} to ${hex(end)}  ${count} ${count === 1 ? "page" : "pages"}`);
  }
  more(ranges.length, "ranges");
  if (symbols !== undefined) {
    const named = namedPages(diff, symbols, most);
    lines.push(`${named.count} of them lie in the kernel's image`);
    for (const { address, symbols, symbolCount } of named.pages) {
      const others = symbolCount - symbols.length;
      const rest = others > 0 ? ` and ${others} more` : "";
      lines.push(`  ${hex(address)}  ${symbols.join(", ")}${rest}`);
    }
    more(named.count, "pages");
  }
  if (harts !== undefined) lines.push(`numbers of harts differ: ${harts.a} and ${harts.b}`);
  lines.push(`${registers.length} registers differ`);
  for (const register of registers.slice(0, most)) lines.push(registerLine(register, symbols));
  more(registers.length, "registers");
  if (machine) lines.push("the machine's own state or its clock differs");
  for (const { name, bytes, reason } of devices) {
    lines.push(`device ${name} differs: ${reason ?? `${bytes} bytes of its state`}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}

/** x10 as people know it: a0. */
function spoken(name: string): string {
  const number = /^x(\d+)$/.exec(name)?.[1];
  const alias = number && CPU_REGISTERS[Number(number)]?.name;
  return alias ? `${name} (${alias})` : name;
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
