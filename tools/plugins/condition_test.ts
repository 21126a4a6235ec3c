/** Claims of conditions: C's ranks and values, clear refusals, and no text that is more than arithmetic. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ConditionError, parseCondition } from "./condition.ts";

const values = { value: 7n, old: 5n };

Deno.test("conditions have C's operators with C's ranks", () => {
  const expected: readonly (readonly [string, bigint])[] = [
    ["value", 7n],
    ["value < 10", 1n],
    ["value<=old", 0n],
    ["1 + 2 * 3", 7n],
    ["(1 + 2) * 3", 9n],
    ["value == old + 2 && !(value % 7)", 1n],
    ["value == 1 || old == 5", 1n],
    ["value & 3 == 3", 1n],
    ["1 << 2 + 1", 8n],
    ["0xff ^ 0x0f | 1", 0xf1n],
    ["-value", -7n],
    ["~0 == -1", 1n],
    ["!!value", 1n],
    ["10 - 3 - 2", 5n],
    ["20 / 3 % 4", 2n],
    ["value > old >= 0", 1n],
    ["  value\t!=\n0 ", 1n],
  ];
  for (const [text, result] of expected) assertEquals(parseCondition(text)(values), result, text);
});

Deno.test("random conditions mean what JavaScript's BigInts make of them", () => {
  const operator = fc.constantFrom("+", "-", "*", "&", "|", "^", "<", ">", "==", "!=");
  const { tree } = fc.letrec<{ tree: string; leaf: string; pair: string }>((tie) => ({
    tree: fc.oneof({ maxDepth: 5 }, tie("leaf"), tie("pair")),
    leaf: fc.oneof(fc.bigInt({ min: 0n, max: 1n << 64n }).map(String), fc.constant("value")),
    pair: fc.tuple(tie("tree"), operator, tie("tree")).map(([a, op, b]) => `(${a} ${op} ${b})`),
  }));
  fc.assert(fc.property(tree, (text) => {
    const script = text.replace(/\d+/g, "$&n").replaceAll("value", "7n");
    // Comparisons of JavaScript are truth values: they count as 1 and 0.
    const counted = countComparisons(script);
    assertEquals(parseCondition(text)(values), BigInt(new Function(`return ${counted};`)()));
  }));
});

/** Makes each comparison in parentheses a number. */
function countComparisons(script: string): string {
  const inner = /\(([^()]*?) (<|>|==|!=) ([^()]*?)\)/;
  let out = script;
  const kept: string[] = [];
  const keep = (text: string) => `@${kept.push(text) - 1}@`;
  for (;;) {
    const next = out.replace(/\(([^()]*)\)/, (_, body: string) => {
      const match = inner.exec(`(${body})`);
      return keep(match ? `((${match[1]} ${match[2]} ${match[3]}) ? 1n : 0n)` : `(${body})`);
    });
    if (next === out) break;
    out = next;
  }
  while (/@\d+@/.test(out)) out = out.replace(/@(\d+)@/g, (_, i) => kept[Number(i)]!);
  return out;
}

Deno.test("what is no condition is refused, and says what was expected", () => {
  const texts = [
    "",
    "value <",
    "value = 1",
    "(value",
    "value)",
    "value 1",
    "alert(1)",
    "value.constructor",
    "0x",
    "1 ** 2",
    "`x`",
    "(".repeat(5000),
  ];
  for (const text of texts) {
    assertThrows(() => parseCondition(text), ConditionError, 'expected such as "value < 10"', text);
  }
  assertThrows(() => parseCondition("1 / (value - 7)")(values), ConditionError, "divides by 0");
  assertThrows(
    () => parseCondition("1 << 100000")(values),
    ConditionError,
    "a shift is by 0 to 64",
  );
});

Deno.test("any text is a condition or refused", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      parseCondition(text)(values);
    } catch (error) {
      if (!(error instanceof ConditionError)) throw error;
    }
  }));
});
