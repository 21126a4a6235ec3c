/**
 * The style rules that are a test (habit 5): file and function length, a first comment in every file,
 * banned words, no machine paths, no to-do without an issue's number.
 */
import { ROOT, sourceFiles } from "./sources.ts";

const FILE_LINES_MAXIMUM = 520;
const FUNCTION_LINES_MAXIMUM = 80;
/** Written in pieces so that this file passes its own rule. */
const BANNED: readonly (readonly [RegExp, string])[] = [
  [new RegExp("\\bTO" + "DO\\b(?!\\(#\\d+\\))"), "a to-do needs an issue's number"],
  [new RegExp("\\bFIX" + "ME\\b|\\bXX" + "X\\b"), "finish it or file an issue"],
  [new RegExp("/(?:wo" + "rk|ro" + "ot|fa" + "rm)/"), "names a path of a machine"],
  [new RegExp("event" + "fd"), "is not a word of this project"],
];

/** What is wrong with a file's text. A table (first comment says TABLE) may be longer. */
export function tidy(path: string, text: string): string[] {
  const lines = text.split("\n");
  const problems: string[] = [];
  const table = /TABLE/.test(text.slice(0, 400));
  if (!/^(#!.*\n)?\s*\/\*\*/.test(text) && !path.endsWith(".d.ts")) {
    problems.push(`${path}: the first thing in a file is a comment that says what it is`);
  }
  if (!table && lines.length > FILE_LINES_MAXIMUM) {
    problems.push(`${path}: ${lines.length} lines; split it by what it does`);
  }
  lines.forEach((line, i) => {
    for (const [pattern, why] of BANNED) {
      if (pattern.test(line)) problems.push(`${path}:${i + 1}: ${why}`);
    }
  });
  return table ? problems : [...problems, ...longFunctions(path, lines)];
}

/** Functions at the start of a line or methods, by their closing brace at the same indentation. */
function longFunctions(path: string, lines: readonly string[]): string[] {
  const problems: string[] = [];
  lines.forEach((line, i) => {
    const start =
      /^(\s*)(?:export )?(?:async )?(?:function \w+|(?:static |async |#|get |set )*\w+\()/
        .exec(line);
    // A device's `attach…` is its class: the functions inside are measured by themselves.
    if (/function attach[A-Z]/.test(line)) return;
    if (!start || !line.trimEnd().endsWith("{") || /^\s*(if|for|while|switch)\b/.test(line)) return;
    const end = lines.findIndex((other, j) => j > i && other.startsWith(`${start[1]}}`));
    if (end - i > FUNCTION_LINES_MAXIMUM) {
      problems.push(`${path}:${i + 1}: a function of ${end - i} lines`);
    }
  });
  return problems;
}

/** All problems in the tree. */
export function checkTidy(): string[] {
  return sourceFiles().flatMap((path) => tidy(path, Deno.readTextFileSync(ROOT + path)));
}
