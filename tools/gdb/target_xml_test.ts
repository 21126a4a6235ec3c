/** Claims of the documents: numbers and names are unique, and the map has neither gap nor overlap. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { CSR_ROWS } from "../../kernel/cpu/csr_table.ts";
import { memoryMapDocument, targetDescription, threadsDocument } from "./target_xml.ts";

Deno.test("each register stands once in the description, and every CSR of the machine is there", () => {
  const rows = Array.from(
    targetDescription().matchAll(/<reg name="(\w+)" bitsize="64" regnum="(\d+)"/g),
    ([, name, number]) => ({ name, number: Number(number) }),
  );
  assertEquals(rows.length, 32 + 1 + 32 + CSR_ROWS.length + 1);
  assertEquals(new Set(rows.map(({ name }) => name)).size, rows.length);
  assertEquals(new Set(rows.map(({ number }) => number)).size, rows.length);
  for (const { name, number } of CSR_ROWS) {
    assert(rows.some((row) => row.name === name && row.number === 65 + number), name);
  }
});

Deno.test("the memory map covers every address once, whatever the ranges", () => {
  const range = fc.record({
    kind: fc.constantFrom("ram" as const, "device" as const),
    start: fc.nat(0xffff_ffff),
    bytes: fc.nat(0x1000_0000),
  });
  fc.assert(fc.property(fc.array(range, { maxLength: 8 }), (ranges) => {
    let at = 0n;
    for (
      const [, start, length] of memoryMapDocument(ranges)
        .matchAll(/<memory type="ram" start="(0x\w+)" length="(0x\w+)"/g)
    ) {
      assertEquals(BigInt(start!), at);
      assert(BigInt(length!) > 0n);
      at += BigInt(length!);
    }
    assertEquals(at, 1n << 64n);
  }));
});

Deno.test("notes on threads are text, whatever they hold", () => {
  const text = threadsDocument(["<user> & more"]);
  assert(text.includes('<thread id="1" core="0" name="hart 0">&lt;user&gt; &amp; more</thread>'));
});
