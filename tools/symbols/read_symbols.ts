/** Reads a file of symbols, whatever it is: kallsyms, System.map, the output of nm, or ELF. */
import { HostError } from "../../kernel/base/errors.ts";
import {
  parseSymbolElf,
  parseSymbolText,
  type SymbolTable,
} from "../../kernel/debug/symbol_table.ts";

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46];

/** Rejects with HostError for a file that cannot be read, and FormatError for one without symbols. */
export async function readSymbolFile(path: string): Promise<SymbolTable> {
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot read the symbols in "${path}": ${reason}`, { cause });
  }
  return ELF_MAGIC.every((byte, i) => bytes[i] === byte)
    ? parseSymbolElf(bytes)
    : parseSymbolText(new TextDecoder().decode(bytes));
}
