/** Claims about texts of others in messages. */
import { assertEquals } from "@std/assert";
import { hasUnseen, quoted, replaceUnseen } from "../../../kernel/base/quoted.ts";

Deno.test("what a terminal obeys is escaped, and what it shows is not", () => {
  assertEquals(quoted("plain ü 漢 \u{1f600}"), '"plain ü 漢 \u{1f600}"');
  assertEquals(quoted('a"b\\'), '"a\\"b\\\\"');
  assertEquals(quoted("\x1b[2J\n\0\x7f\x9b"), '"\\u001b[2J\\n\\u0000\\u007f\\u009b"');
  assertEquals(
    quoted("\u200e\u200f\u202a\u202e\u2066\u2069"),
    '"\\u200e\\u200f\\u202a\\u202e\\u2066\\u2069"',
  );
});

Deno.test("the first and last of each range are found, and their neighbours are not", () => {
  for (const [first, last] of [[0, 0x1f], [0x7f, 0x9f], [0x200e, 0x200f], [0x202a, 0x202e]]) {
    assertEquals(
      [first!, last!, last! + 1].map((code) => hasUnseen(`a${String.fromCharCode(code)}`)),
      [true, true, false],
    );
  }
  assertEquals(["\u2065", "\u2066", "\u2069", "\u206a"].map(hasUnseen), [false, true, true, false]);
  assertEquals(replaceUnseen("a\x1bb\u202ec", "?"), "a?b?c");
});
