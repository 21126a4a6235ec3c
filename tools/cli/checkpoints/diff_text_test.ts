/** Claims about how the difference of two checkpoints is told: registers with the code that they lead to. */
import { assertEquals } from "@std/assert";
import type { CheckpointDiff, CheckpointHead } from "../../../mod.ts";
import { parseSymbolText, PhysicalSymbols } from "../../symbols/mod.ts";
import { diffAsJson, diffLines } from "./diff_text.ts";

const HEAD = { id: "a", vm: "web", label: "", icount: 1, memoryPages: 16 } as CheckpointHead;
const DIFF: CheckpointDiff = {
  a: HEAD,
  b: HEAD,
  pages: new Uint32Array(),
  ranges: [],
  harts: undefined,
  registers: [
    { hart: 0, name: "pc", a: "0x80000000", b: "0x80000124" },
    { hart: 0, name: "x1", a: "0x80000104", b: "0x1" },
    { hart: 1, name: "x2", a: "0x80000200", b: "0x80000208" },
    { hart: 1, name: "executed", a: "0x80000000", b: "0x80000124" },
  ],
  machine: false,
  devices: [],
};
const SYMBOLS = new PhysicalSymbols(
  parseSymbolText("80000000 T _start\n80000100 t loop\n80000200 D stack\n"),
  16 * 4096,
);

const registerLines = (symbols: PhysicalSymbols | undefined) =>
  diffLines(DIFF, symbols, 20).split("\n").filter((line) => line.startsWith("  hart"));

Deno.test("a register that leads to code is shown with the symbol, on either side", () => {
  assertEquals(registerLines(SYMBOLS), [
    "  hart 0 pc               0x80000000 (_start)  0x80000124 (loop+0x24)",
    "  hart 0 x1 (ra)          0x80000104 (loop+0x4)  0x1",
    "  hart 1 x2 (sp)          0x80000200          0x80000208",
    "  hart 1 executed         0x80000000          0x80000124",
  ]);
  const { registers } = diffAsJson(DIFF, SYMBOLS) as { registers: { symbols: unknown }[] };
  assertEquals(registers.map(({ symbols }) => symbols), [
    { a: "_start", b: "loop+0x24" },
    { a: "loop+0x4", b: null },
    { a: null, b: null },
    { a: null, b: null },
  ]);
});

Deno.test("without symbols registers are numbers alone", () => {
  assertEquals(
    registerLines(undefined)[0],
    "  hart 0 pc               0x80000000          0x80000124",
  );
  assertEquals((diffAsJson(DIFF, undefined) as CheckpointDiff).registers, DIFF.registers);
});
