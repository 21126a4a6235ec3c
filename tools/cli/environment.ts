/** What the command line runs on; tests put a kernel with other machines in its place. */
import { checkpointsFolder } from "./checkpoints/folder.ts";
import { writeError } from "./streams.ts";
import { cacheFolder } from "../guests/cache.ts";
import type { Kernel } from "../../mod.ts";
import { importLate } from "../../kernel/host/late_import.ts";

/** What of a command's options is the kernel's. */
export interface KernelStartOptions {
  /** Whether translations of guest code are kept; they are by default. */
  readonly translationCache?: boolean;
  /** Folder of checkpoints; that of this user by default. */
  readonly checkpoints?: string;
}

/** Surroundings of the command line. */
export interface CliEnvironment {
  /** Starts the kernel; `progress` shows a line about long work. */
  startKernel(
    progress: (line: string) => void,
    options: KernelStartOptions,
  ): Promise<Kernel>;
}

/** The real surroundings. */
export const realEnvironment: CliEnvironment = {
  startKernel: async (progress, { translationCache = true, checkpoints }) => {
    const { VMKernel } = await importLate<typeof import("../../mod.ts")>(
      "../../mod.ts",
      import.meta.url,
    );
    return await VMKernel.start({
      progress,
      warn: (line) => writeError(`chronovisor: ${line}\n`),
      checkpoints: checkpointsFolder(checkpoints),
      ...(translationCache && {
        translations: `${cacheFolder()}/translations`,
        worlds: `${cacheFolder()}/worlds`,
      }),
    });
  },
};
