/** Names of a guest's addresses: tables of symbols, and files of them for gdb (S13). */
export { writeSymbolElf } from "./elf_writer.ts";
export {
  type GuestSymbol,
  parseSymbolElf,
  parseSymbolText,
  type SymbolKind,
  type SymbolPlace,
  SymbolTable,
} from "./symbol_table.ts";
