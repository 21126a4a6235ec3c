/** Claims about names of guest-physical pages. */
import { assertEquals } from "@std/assert";
import { parseSymbolText } from "../../kernel/debug/symbol_table.ts";
import { PhysicalSymbols } from "./physical_symbols.ts";

const MEMORY = 64 << 20;

Deno.test("Linux lies from its load address on, and only its image is named", () => {
  const table = parseSymbolText([
    "ffffffff80000000 T _start",
    "ffffffff80001000 T one",
    "ffffffff80001ff0 T two",
    "ffffffff80002010 t three",
    "ffffffff80004000 B _end",
    "ffffffff80005000 b behind",
    "ffffffff01000000 t module_function [module]",
  ].join("\n"));
  const symbols = new PhysicalSymbols(table, MEMORY);
  const names = (address: number) => symbols.inPage(address, 10).names;
  assertEquals(names(0x8020_0000), ["_start"]);
  assertEquals(names(0x8020_1000), ["one", "two"]);
  assertEquals(names(0x8020_2000), ["two", "three"]);
  assertEquals(names(0x8020_3000), ["three"]);
  assertEquals(names(0x8020_4000), []);
  assertEquals(names(0x8000_0000), []);
  assertEquals(symbols.inPage(0x8020_1000, 1), { names: ["one"], count: 2 });
  assertEquals(new PhysicalSymbols(table, MEMORY, 0).inPage(0x8000_1000, 9).names, ["one", "two"]);
});

Deno.test("a bare-metal image lies where its symbols say", () => {
  const table = parseSymbolText("80000000 T _start\n80000ffc D counter\n10000000 A uart\n");
  const symbols = new PhysicalSymbols(table, 4096 * 16);
  assertEquals(symbols.inPage(0x8000_0000, 9).names, ["_start", "counter"]);
  assertEquals(symbols.inPage(0x8000_1000, 9).names, ["counter"]);
  assertEquals(symbols.inPage(0x1000_0000, 9).names, []);
});

Deno.test("numbers are named that lie in code, also in that of a module", () => {
  const table = parseSymbolText([
    "ffffffff80000000 T _start",
    "ffffffff80001000 t one",
    "ffffffff80002000 D data",
    "ffffffff80003000 B _end",
    "ffffffff01000000 t module_function [module]",
    "ffffffff01000100 d module_data [module]",
  ].join("\n"));
  const symbols = new PhysicalSymbols(table, MEMORY);
  assertEquals(symbols.inCode(0xffff_ffff_8000_1000n), "one");
  assertEquals(symbols.inCode(0xffff_ffff_8000_1024n), "one+0x24");
  assertEquals(symbols.inCode(0xffff_ffff_0100_0010n), "module_function+0x10 [module]");
  for (const other of [0n, 0x1000n, 0x8020_1000n, 0xffff_ffff_8000_2000n, 0xffff_ffff_8000_3010n]) {
    assertEquals(symbols.inCode(other, true), undefined);
  }
});

Deno.test("labels without a kind are named where the number is known to be code", () => {
  const table = parseSymbolText("80000000 N label\n80000100 D data\n");
  const symbols = new PhysicalSymbols(table, MEMORY);
  assertEquals(symbols.inCode(0x8000_0004n), undefined);
  assertEquals(symbols.inCode(0x8000_0004n, true), "label+0x4");
});
