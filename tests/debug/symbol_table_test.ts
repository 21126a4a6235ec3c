/** Claims of symbol tables: what each source says, which name an address gets, and clear refusals. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../kernel/base/errors.ts";
import { smallElf } from "../_support/small_elf.ts";
import { parseSymbolElf, parseSymbolText, SymbolTable } from "../../tools/symbols/mod.ts";
import { IMPLICIT_BYTES } from "../../kernel/debug/symbol_table.ts";

const KALLSYMS = [
  "ffffffff80000000 T _start",
  "ffffffff80000000 T _text",
  "ffffffff80002000 T start_kernel",
  "ffffffff80002040 t helper",
  "ffffffff80002080 W weak_one",
  "ffffffff81000000 D jiffies",
  "ffffffff81000000 d jiffies_local",
  "ffffffff81000008 B _end",
  "0000000000000fff A absolute",
  "ffffffff01006000 t helper\t[virtio_net]",
  "ffffffff01006010 t only_here\t[virtio_net]",
].join("\n");

Deno.test("kallsyms: names, kinds, modules, and addresses by name", () => {
  const table = parseSymbolText(`${KALLSYMS}\n`);
  assertEquals(table.address("start_kernel"), 0xffffffff80002000n);
  assertEquals(table.address("absolute"), undefined);
  assertEquals(table.find("jiffies")?.kind, "object");
  assertEquals(table.find("weak_one")?.kind, "function");
  assertEquals(table.find("only_here")?.module, "virtio_net");
  assertEquals(table.address("helper"), 0xffffffff80002040n, "the kernel's own comes first");
  assertEquals(
    table.symbols.map(({ address }) => address).every((a, i, all) => i === 0 || all[i - 1]! <= a),
    true,
  );
});

Deno.test("an address gets the name before it, and its offset", () => {
  const table = parseSymbolText(KALLSYMS);
  assertEquals(table.describe(0xffffffff80000000n), "_start");
  assertEquals(table.describe(0xffffffff80002044n), "helper+0x4");
  assertEquals(table.describe(0xffffffff81000000n), "jiffies");
  assertEquals(table.describe(0xffffffff01006014n), "only_here+0x4 [virtio_net]");
  assertEquals(table.describe(0x1000n), "0x1000");
  assertEquals(table.at(0xffffffff81000008n + BigInt(IMPLICIT_BYTES)), undefined);
});

Deno.test("a symbol with a size ends there, and covers labels inside it", () => {
  const entry = (name: string, address: bigint, size: number, kind: "function" | "other") => ({
    name,
    address,
    size,
    kind,
    global: true,
  });
  const table = new SymbolTable([
    entry("outer", 0x1000n, 0x100, "function"),
    entry("inner", 0x1040n, 8, "function"),
    entry("far", 0x2000n, 4, "function"),
    entry("$x", 0x2000n, 0, "other"),
    entry(".L1", 0x2002n, 0, "other"),
  ]);
  assertEquals(table.describe(0x1044n), "inner+0x4");
  assertEquals(table.describe(0x1050n), "outer+0x50");
  assertEquals(table.describe(0x1100n), "0x1100");
  assertEquals(table.describe(0x2003n), "far+0x3");
  assertEquals(table.symbols.length, 3);
});

Deno.test("an address gets the name that a look at every symbol gives it", () => {
  const addresses = fc.uniqueArray(fc.integer({ min: 1, max: 5000 }), {
    minLength: 1,
    maxLength: 40,
  });
  fc.assert(fc.property(addresses, fc.integer({ min: 0, max: 6000 }), (list, asked) => {
    const table = parseSymbolText(list.map((a) => `${a.toString(16)} T at_${a}`).join("\n"));
    const nearest = Math.max(...list.filter((address) => address <= asked));
    const place = table.at(BigInt(asked));
    assertEquals(place?.symbol.name, nearest > 0 ? `at_${nearest}` : undefined);
    assertEquals(place?.offset, nearest > 0 ? asked - nearest : undefined);
  }));
});

Deno.test("an ELF file's table is read, also of one that loads nothing", () => {
  const table = parseSymbolElf(smallElf(new Uint8Array(16), { tohost: 0x8000_1000n }));
  assertEquals(table.address("tohost"), 0x8000_1000n);
  const refused = () => parseSymbolElf(smallElf(new Uint8Array(16)));
  assertThrows(refused, FormatError, "no symbol table");
});

Deno.test("text that is no list of symbols is refused with its line", () => {
  const debian =
    "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package";
  for (
    const [text, message] of [
      [`80000000 T ok\n${debian}`, 'line 2 of the symbols is "ffffffffffffffff B The real'],
      ["", "no symbols"],
      ["0000000000000000 T _text\n0000000000000000 T _end\n", "read /proc/kallsyms as root"],
      ["80000000 T", "line 1"],
      ["1ffffffff80000000 T too_long", "line 1"],
      ["hello", 'expected "ADDRESS TYPE NAME"'],
    ] as const
  ) assertThrows(() => parseSymbolText(text), FormatError, message);
});

Deno.test("lines of other systems and of nm are read as well", () => {
  const table = parseSymbolText(
    "80000000 T main\r\n                 U printf\r\n\r\n80000010 t f\r\n",
  );
  assertEquals(table.symbols.map(({ name }) => name), ["main", "f"]);
});
