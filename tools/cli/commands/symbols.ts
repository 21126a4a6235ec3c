/**
 * `symbols`: writes the names of a guest's addresses as an ELF file for gdb's symbol-file (issue 4,
 * "gdb"; docs/replay.md). They come from a guest's own kernel image, from a running Linux guest's
 * /proc/kallsyms, or from a file that has them.
 */
import { Command } from "commander";
import { ConfigError, HostError } from "../../../mod.ts";
import { resolveGuest } from "../../guests/mod.ts";
import {
  parseSymbolElf,
  parseSymbolText,
  type SymbolTable,
  writeSymbolElf,
} from "../../symbols/mod.ts";
import type { CliEnvironment } from "../environment.ts";
import { writeError, writeOut } from "../streams.ts";

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];

/** The command. */
export function symbolsCommand(environment: CliEnvironment): Command {
  return new Command("symbols")
    .description("write the names of a guest's addresses as an ELF file for gdb's symbol-file")
    .argument("<source>", "a guest, or a file: /proc/kallsyms, System.map, output of nm, ELF")
    .requiredOption("-o, --output <file>", "ELF file to write")
    .action(async (source: string, { output }: { output: string }) => {
      const table = await symbolsOf(environment, source);
      try {
        await Deno.writeFile(output, writeSymbolElf(table));
      } catch (cause) {
        throw new HostError(`Cannot write "${output}": ${(cause as Error).message}`, { cause });
      }
      writeOut(`${table.symbols.length} symbols\n`);
    });
}

/** Symbols from a file, or of a guest, which may have to run for it. Rejects with HostError and FormatError. */
export async function symbolsOf(environment: CliEnvironment, source: string): Promise<SymbolTable> {
  const file = await readIfThere(source);
  if (file !== undefined) return parseSymbols(file);
  if (/[/.]/.test(source)) throw new HostError(`Cannot read "${source}": there is no such file`);
  const { kernel } = await resolveGuest(source, { packages: [], progress: say });
  const image = kernel instanceof Uint8Array ? kernel : await Deno.readFile(kernel!);
  return isElf(image) ? parseSymbolElf(image) : await symbolsOfLinux(environment, source);
}

/** A text, or an ELF file. Throws FormatError. */
function parseSymbols(bytes: Uint8Array): SymbolTable {
  return isElf(bytes) ? parseSymbolElf(bytes) : parseSymbolText(new TextDecoder().decode(bytes));
}

async function symbolsOfLinux(environment: CliEnvironment, guest: string): Promise<SymbolTable> {
  await using kernel = await environment.startKernel(say, { translationCache: true });
  const vm = await kernel.powerOn({ guest, memory: "512M" });
  const { status, text, stderr } = await vm.exec(["cat", "/proc/kallsyms"]);
  if (status !== 0) {
    throw new ConfigError(
      `The guest ${guest} does not tell its symbols: ${new TextDecoder().decode(stderr).trim()}`,
    );
  }
  return parseSymbolText(text);
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.IsADirectory) {
      return undefined;
    }
    throw new HostError(`Cannot read "${path}": ${(cause as Error).message}`, { cause });
  }
}

function isElf(bytes: Uint8Array): boolean {
  return ELF_MAGIC.every((byte, i) => bytes[i] === byte);
}

function say(line: string): void {
  writeError(`chronovisor: ${line}\n`);
}
