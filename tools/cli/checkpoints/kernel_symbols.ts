/** Symbols of a guest's kernel for pages of its checkpoints, from a file or from the guest itself. */
import { PAGE_BYTES } from "../../../kernel/base/units.ts";
import { PhysicalSymbols } from "../../symbols/mod.ts";
import { symbolsOf } from "../commands/symbols.ts";
import type { CliEnvironment } from "../environment.ts";

/** The symbols. Rejects with ConfigError, FormatError and HostError. */
export async function kernelSymbols(
  environment: CliEnvironment,
  source: string,
  memoryPages: number,
): Promise<PhysicalSymbols> {
  return new PhysicalSymbols(await symbolsOf(environment, source), memoryPages * PAGE_BYTES);
}
