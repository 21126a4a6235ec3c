/** What the command line runs on; tests put a kernel with other machines in its place. */
import { checkpointsFolder } from "./checkpoints/open_store.ts";
import { writeError } from "./streams.ts";
import { cacheFolder } from "../guests/cache.ts";
import { type Kernel, VMKernel } from "../../mod.ts";

/** Surroundings of the command line. */
export interface CliEnvironment {
  /** Starts the kernel; `progress` shows a line about long work. */
  startKernel(
    progress: (line: string) => void,
    options: { readonly translationCache?: boolean; readonly checkpoints?: string },
  ): Promise<Kernel>;
}

/** The real surroundings. */
export const realEnvironment: CliEnvironment = {
  startKernel: (progress, { translationCache = true, checkpoints }) =>
    VMKernel.start({
      progress,
      warn: (line) => writeError(`chronovisor: ${line}\n`),
      checkpoints: checkpointsFolder(checkpoints),
      ...(translationCache && { translations: `${cacheFolder()}/translations` }),
    }),
};
