/**
 * What differs between two checkpoints, for people and for programs (issue 5, section 6, `checkpoint diff`).
 *
 * Invariant: output is bounded: of ranges, registers, pages with symbols and symbols of a page at most so many
 * are told, and how many there are.
 */
import type { CheckpointDiff } from "../../../mod.ts";
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { CPU_REGISTERS } from "../../gdb/registers.ts";
import type { PhysicalSymbols } from "../../symbols/mod.ts";

/** Most symbols of one page that are named. */
const SYMBOLS_MAXIMUM = 8;
/** Most ranges, and pages with symbols, in JSON. */
export const JSON_MAXIMUM = 65_536;

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
    registers,
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
  for (const { hart, name, a, b } of registers.slice(0, most)) {
    lines.push(`  hart ${hart} ${spoken(name).padEnd(16)} ${a.padEnd(18)}  ${b}`);
  }
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
