/**
 * Shell completions, made from the table of commands.
 *
 * Invariant: names of commands and options are plain words (checked), so no quoting can go wrong.
 */
import type { Command } from "commander";
import { assertPlain } from "./plain_word.ts";

/** A command as completions need it. */
interface Completable {
  /** Its words after the program's name, with spaces between; empty for the program itself. */
  readonly path: string;
  readonly help: string;
  readonly words: readonly { readonly word: string; readonly help: string }[];
}

/** Shells that completions can be made for. */
export const SHELLS = ["bash", "zsh"] as const;

/** The completion script for a shell, for a program that is called `name`. */
export function completionScript(
  shell: (typeof SHELLS)[number],
  program: Command,
  name: string,
): string {
  assertPlain(name);
  const table = [...completables(program, "")];
  return shell === "bash" ? bashScript(table, name) : zshScript(table, name);
}

function* completables(command: Command, path: string): Generator<Completable> {
  const children = command.commands;
  const options = command.createHelp().visibleOptions(command);
  const words = [
    ...children.map((child) => ({ word: child.name(), help: child.description() })),
    ...options.flatMap(({ long, description }) => long ? [{ word: long, help: description }] : []),
  ];
  for (const { word } of words) assertPlain(word);
  yield { path, help: command.description(), words };
  for (const child of children) {
    yield* completables(child, path === "" ? child.name() : `${path} ${child.name()}`);
  }
}

function bashScript(table: readonly Completable[], name: string): string {
  const cases = table.map(({ path, words }) =>
    `    "${path}") words="${words.map(({ word }) => word).join(" ")}" ;;`
  );
  return `# bash completion of ${name}: source this file
_${functionName(name)}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" word words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in -*) break ;; esac
    case "$path" in
      "") path="$word" ;;
      ${parents(table).join("|") || "-"}) path="$path $word" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  case "$current" in -*) ;; *) COMPREPLY+=($(compgen -f -- "$current")) ;; esac
}
complete -o filenames -F _${functionName(name)} ${name}
`;
}

function zshScript(table: readonly Completable[], name: string): string {
  const cases = table.map(({ path, words }) => {
    const lines = words.map(({ word, help }) => `      "${word}:${zshHelp(help)}"`);
    return `    "${path}") words=(\n${lines.join("\n")}\n    ) ;;`;
  });
  return `#compdef ${name}
# zsh completion of ${name}: put this file into a folder of $fpath, as _${name}
_${functionName(name)}() {
  local at="" word i
  local -a words_before words
  words_before=("\${words[@]}")
  words_before=("\${(@)\${(z)BUFFER}}")
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words_before[i]}"
    [[ "$word" == -* ]] && break
    case "$at" in
      "") at="$word" ;;
      ${parents(table).join("|") || "-"}) at="$at $word" ;;
    esac
  done
  case "$at" in
${cases.join("\n")}
  esac
  _describe "command or option" words
  _files
}
if [[ "$funcstack[1]" == "_${name}" ]]; then
  _${functionName(name)}
else
  compdef _${functionName(name)} ${name}
fi
`;
}

/** Commands that have commands, quoted for a shell's case. */
function parents(table: readonly Completable[]): string[] {
  return table.filter(({ path }) =>
    path !== "" && table.some((other) => other.path.startsWith(`${path} `))
  ).map(({ path }) => `"${path}"`);
}

function functionName(name: string): string {
  return `${name.replaceAll("-", "_")}_complete`;
}

/** Help as it may stand inside double quotes after a colon. */
function zshHelp(help: string): string {
  return help.replace(/["\\$`:]/g, " ").replace(/\s+/g, " ").trim();
}
