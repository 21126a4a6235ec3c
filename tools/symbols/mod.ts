/** Names of a guest's addresses: tables of symbols, and files of them for gdb (S13). */
export { writeSymbolElf } from "./elf_writer.ts";
export {
  type GuestSymbol,
  parseSymbolElf,
  parseSymbolText,
  type SymbolKind,
  type SymbolPlace,
  SymbolTable,
} from "../../kernel/debug/symbol_table.ts";
export { LINUX_TEXT_OFFSET, PhysicalSymbols } from "./physical_symbols.ts";
export { readSymbolFile } from "./read_symbols.ts";
