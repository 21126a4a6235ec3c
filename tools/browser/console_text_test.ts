/** What a terminal shows, from what was sent to it. */
import { assertEquals } from "@std/assert";
import { ConsoleText } from "./console_text.ts";

function shown(text: string, pieces = text.length): string {
  const console = new ConsoleText();
  const bytes = new TextEncoder().encode(text);
  let lines = "";
  for (let at = 0; at < bytes.length; at += pieces) {
    lines += console.push(bytes.subarray(at, at + pieces));
  }
  return lines + console.line;
}

const CASES: readonly (readonly [name: string, sent: string, shown: string])[] = [
  ["lines end with or without a carriage return", "a\r\nb\nc", "a\nb\nc"],
  ["a carriage return overwrites", "100 %\r 50", " 50 %"],
  ["backspace goes back, a space wipes", "abc\b \b\bX", "aX "],
  ["tabs go to every eighth column", "a\tb", "a       b"],
  ["colours are dropped", "\x1b[1;31mred\x1b[0m", "red"],
  ["a question to the terminal is dropped", "$ \x1b[6n", "$ "],
  ["titles are dropped, whichever way they end", "\x1b]0;t\x07a\x1b]0;t\x1b\\b", "ab"],
  ["a character set is dropped", "\x1b(Ba", "a"],
  ["the rest of the line is erased", "abcdef\r\x1b[2C\x1b[K", "ab"],
  ["the cursor moves within the line", "abc\x1b[2DX\x1b[1GY\x1b[CZ", "YXZ"],
  ["other control characters are not shown", "a\0\x07\x7fb", "ab"],
  ["letters of several bytes stay whole", "grün €", "grün €"],
];

for (const [name, sent, expected] of CASES) {
  Deno.test(`console text: ${name}, however it is cut`, () => {
    for (let pieces = 1; pieces <= 4; pieces++) assertEquals(shown(sent, pieces), expected);
    assertEquals(shown(sent), expected);
  });
}

Deno.test("console text: a cursor that is sent far away costs no more than a line", () => {
  assertEquals(shown("\x1b[99999999999Cx\x1b[99999999999Cy").length, 4096);
});
