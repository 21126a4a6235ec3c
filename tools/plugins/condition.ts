/**
 * Conditions of the invariant plugin: integers, `value` and `old`, with C's operators and their ranks.
 *
 *     value < 10        value == old + 1 || value == 0        (value & 0xff) != 0x7f        !(value % 8)
 *
 * Invariant: a text is a condition as a whole or refused; nothing in it is executed but arithmetic.
 */

/** What a condition may name. */
export interface Values {
  readonly value: bigint;
  readonly old: bigint;
}

/** A condition that was read. */
export type Condition = (values: Values) => bigint;

/** A text that is no condition. */
export class ConditionError extends Error {
  override name = "ConfigError";
}

const TOKEN =
  /\s*(?:(0x[0-9a-fA-F]+|\d+)|([A-Za-z_]\w*)|(\|\||&&|==|!=|<=|>=|<<|>>|[-+*/%&|^<>()!~]))/y;
const NESTING_MAXIMUM = 100;
const SHIFT_MAXIMUM = 64n;
const bool = (truth: boolean) => truth ? 1n : 0n;

type Operation = (a: bigint, b: bigint) => bigint;

/** Binary operators by rank, the loosest first. */
const RANKS: readonly Readonly<Record<string, Operation>>[] = [
  { "||": (a, b) => bool(a !== 0n || b !== 0n) },
  { "&&": (a, b) => bool(a !== 0n && b !== 0n) },
  { "|": (a, b) => a | b },
  { "^": (a, b) => a ^ b },
  { "&": (a, b) => a & b },
  { "==": (a, b) => bool(a === b), "!=": (a, b) => bool(a !== b) },
  {
    "<": (a, b) => bool(a < b),
    "<=": (a, b) => bool(a <= b),
    ">": (a, b) => bool(a > b),
    ">=": (a, b) => bool(a >= b),
  },
  { "<<": (a, b) => a << shift(b), ">>": (a, b) => a >> shift(b) },
  { "+": (a, b) => a + b, "-": (a, b) => a - b },
  { "*": (a, b) => a * b, "/": (a, b) => a / divisor(b), "%": (a, b) => a % divisor(b) },
];

/** Reads a condition. Throws ConditionError. */
export function parseCondition(text: string): Condition {
  return new Parser(text).whole();
}

class Parser {
  readonly #text: string;
  readonly #tokens: string[] = [];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    TOKEN.lastIndex = 0;
    const end = text.trimEnd().length;
    while (TOKEN.lastIndex < end) {
      const from = TOKEN.lastIndex;
      const match = TOKEN.exec(text);
      if (match === null) throw this.#error(`"${text.slice(from).trim()}" makes no sense`);
      this.#tokens.push(match[1] ?? match[2] ?? match[3]!);
    }
  }

  whole(): Condition {
    const condition = this.#binary(0);
    const rest = this.#tokens[this.#at];
    if (rest !== undefined) throw this.#error(`"${rest}" is not expected`);
    return condition;
  }

  #binary(rank: number): Condition {
    const operations = RANKS[rank];
    if (operations === undefined) return this.#unary();
    let left = this.#binary(rank + 1);
    for (;;) {
      const token = this.#tokens[this.#at];
      if (token === undefined || !Object.hasOwn(operations, token)) return left;
      this.#at++;
      const [before, operation, right] = [left, operations[token]!, this.#binary(rank + 1)];
      left = (values) => operation(before(values), right(values));
    }
  }

  #unary(): Condition {
    if (++this.#depth > NESTING_MAXIMUM) throw this.#error("it is nested too deep");
    try {
      return this.#operand();
    } finally {
      this.#depth--;
    }
  }

  #operand(): Condition {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw this.#error("it ends too early");
    if (/^\d/.test(token)) {
      const number = BigInt(token);
      return () => number;
    }
    if (token === "value" || token === "old") return (values) => values[token];
    if (token === "(") {
      const inner = this.#binary(0);
      if (this.#tokens[this.#at++] !== ")") throw this.#error("a parenthesis is not closed");
      return inner;
    }
    if (token === "-" || token === "!" || token === "~") {
      const inner = this.#unary();
      if (token === "-") return (values) => -inner(values);
      if (token === "~") return (values) => ~inner(values);
      return (values) => bool(inner(values) === 0n);
    }
    throw this.#error(`"${token}" is not expected`);
  }

  #error(why: string): ConditionError {
    return new ConditionError(
      `the condition "${this.#text}" cannot be read: ${why}; expected such as "value < 10"`,
    );
  }
}

function shift(by: bigint): bigint {
  if (by < 0n || by > SHIFT_MAXIMUM) throw new ConditionError(`a shift is by 0 to 64, not ${by}`);
  return by;
}

function divisor(by: bigint): bigint {
  if (by === 0n) throw new ConditionError("the condition divides by 0");
  return by;
}
