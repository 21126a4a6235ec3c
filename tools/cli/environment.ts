/** What the command line runs on; tests put a kernel with other machines in its place. */
import { writeError } from "./streams.ts";
import { cacheFolder } from "../guests/cache.ts";
import type { Kernel } from "../../mod.ts";
import { importLate } from "../../kernel/host/late_import.ts";

/** Surroundings of the command line. */
export interface CliEnvironment {
  /** Starts the kernel; `progress` shows a line about long work. */
  startKernel(
    progress: (line: string) => void,
    options: { readonly translationCache?: boolean },
  ): Promise<Kernel>;
}

/** The real surroundings. */
export const realEnvironment: CliEnvironment = {
  startKernel: async (progress, { translationCache = true }) => {
    const { VMKernel } = await importLate<typeof import("../../mod.ts")>(
      "../../mod.ts",
      import.meta.url,
    );
    return await VMKernel.start({
      progress,
      warn: (line) => writeError(`chronovisor: ${line}\n`),
      ...(translationCache && {
        translations: `${cacheFolder()}/translations`,
        worlds: `${cacheFolder()}/worlds`,
      }),
    });
  },
};
