/** Claims about cutting bytes into lines. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../../mod.ts";
import { LineReader } from "./line_reader.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("lines arrive whole however their bytes are cut", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 20 }).map((s) => s.replaceAll("\n", ""));
  fc.assert(fc.property(fc.array(text), fc.array(fc.nat(30)), (lines, cuts) => {
    const bytes = utf8(lines.map((each) => `${each}\n`).join(""));
    const reader = new LineReader(1000);
    const got: string[] = [];
    let at = 0;
    for (const cut of [...cuts, bytes.length]) {
      got.push(...reader.push(bytes.subarray(at, at + cut)));
      at = Math.min(bytes.length, at + cut);
    }
    got.push(...reader.push(bytes.subarray(at)));
    assertEquals([got, reader.waiting], [lines, 0]);
  }));
});

Deno.test("a line that is too long is refused before it is kept", () => {
  const reader = new LineReader(8);
  assertEquals([...reader.push(utf8("12345678\n1234"))], ["12345678"]);
  assertThrows(() => [...reader.push(utf8("56789"))], FormatError, "longer than 8 bytes");
  assertEquals(reader.waiting, 4);
  assertThrows(() => [...new LineReader(8).push(utf8("123456789\n"))], FormatError);
  assertThrows(() => [...new LineReader(8).push(Uint8Array.of(0xff, 0x0a))], FormatError, "UTF-8");
});
