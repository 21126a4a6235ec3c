/** Claims of the files of symbols: what is read back is what was written, and gdb takes them. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { peerTest, runPeer } from "../../tests/_support/peers.ts";
import {
  type GuestSymbol,
  parseSymbolElf,
  parseSymbolText,
  SymbolTable,
  writeSymbolElf,
} from "./mod.ts";

const GDB = "gdb-multiarch";
const TABLE = parseSymbolText([
  "ffffffff80000000 T _start",
  "ffffffff80002000 T start_kernel",
  "ffffffff80002040 t helper",
  "ffffffff80002040 t helper_alias",
  "ffffffff80003000 R linux_banner",
  "ffffffff80004000 T exit_code",
  "ffffffff81000000 D jiffies",
  "ffffffff81000008 B _end",
  "ffffffff01006000 t net_probe\t[virtio_net]",
].join("\n"));

/** What a tool prints of the file. */
async function inspect(
  program: string,
  table: SymbolTable,
  args: (path: string) => string[],
): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".elf" });
  try {
    await Deno.writeFile(path, writeSymbolElf(table));
    const { stdout, stderr } = await runPeer(program, args(path));
    return new TextDecoder().decode(stdout) + stderr;
  } finally {
    await Deno.remove(path);
  }
}

const gdb = (table: SymbolTable, ...commands: string[]) =>
  inspect(GDB, table, (path) => [
    "-nx",
    "-batch",
    // A symbol file tells gdb nothing of the machine; a connection or a program does.
    ...["set architecture riscv:rv64", `symbol-file ${path}`, ...commands].flatMap((
      command,
    ) => ["-ex", command]),
  ]);

peerTest("gdb finds functions and data by name, and names by address", [GDB], async () => {
  const text = await gdb(
    TABLE,
    "info address start_kernel",
    "break *helper",
    "break *start_kernel+0x10",
    "info symbol 0xffffffff80002044",
    "info symbol 0xffffffff01006002",
    "info symbol 0xffffffff81000000",
    "info line linux_banner",
    "p &start_kernel",
    "p &jiffies",
  );
  assertMatch(text, /"start_kernel" is at 0xffffffff80002000/);
  assertStringIncludes(text, "Breakpoint 1 at 0xffffffff80002040");
  assertStringIncludes(text, "Breakpoint 2 at 0xffffffff80002010");
  assertMatch(text, /helper(_alias)? \+ 4 in section \.text/);
  assertStringIncludes(text, "net_probe + 2 in section .text");
  assertStringIncludes(text, "jiffies in section .data");
  assertMatch(text, /text variable, no debug info.* 0xffffffff80002000 <start_kernel>/);
  assertMatch(text, /data variable, no debug info.* 0xffffffff81000000 <jiffies>/);
  assert(!text.includes("warning"), text);
});

peerTest("gdb takes a table as large as a distribution's kernel has", [GDB], async () => {
  const base = 0xffffffff80000000n;
  const symbols = Array.from({ length: 150_000 }, (_, i): GuestSymbol => ({
    name: `symbol_number_${i}`,
    address: base + BigInt(i * 64),
    size: 0,
    // More changes between code and data than there can be sections.
    kind: i % 3 === 0 ? "object" : "function",
    global: i % 2 === 0,
  }));
  const text = await gdb(
    new SymbolTable(symbols),
    "info symbol 0xffffffff80100004",
    "p &symbol_number_149999",
  );
  assertStringIncludes(text, "symbol_number_16384 + 4");
  assertStringIncludes(text, "<symbol_number_149999>");
});

peerTest("readelf finds nothing wrong", ["riscv64-linux-gnu-readelf"], async () => {
  const text = await inspect("riscv64-linux-gnu-readelf", TABLE, (path) => ["-a", "-W", path]);
  assert(!/warning|error|corrupt/i.test(text), text);
  assertMatch(text, /ffffffff80002000\s+64 FUNC\s+GLOBAL DEFAULT\s+\d+ start_kernel/);
  assertMatch(text, /ffffffff80002040\s+4032 FUNC\s+LOCAL/);
  assertMatch(text, /ffffffff81000000\s+8 OBJECT\s+GLOBAL/);
});

Deno.test("what is written is read back", () => {
  const symbol = fc.record({
    name: fc.stringMatching(/^[a-z_][\w.]{0,20}$/),
    address: fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }),
    size: fc.integer({ min: 1, max: 1000 }),
    kind: fc.constantFrom("function" as const, "object" as const, "other" as const),
    global: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(symbol, { minLength: 1, maxLength: 30 }), (list) => {
    const table = new SymbolTable(list);
    const back = parseSymbolElf(writeSymbolElf(table));
    const key = ({ name, address, size, kind }: GuestSymbol) =>
      `${address} ${kind} ${name} ${size}`;
    assertEquals(back.symbols.map(key).sort(), table.symbols.map(key).sort());
  }));
});
