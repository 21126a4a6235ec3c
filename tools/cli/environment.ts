/** What the command line runs on; tests put a kernel with other machines in its place. */
import { type Kernel, VMKernel } from "../../mod.ts";

/** Surroundings of the command line. */
export interface CliEnvironment {
  /** Starts the kernel; `progress` shows a line about long work. */
  startKernel(progress: (line: string) => void): Promise<Kernel>;
}

/** The real surroundings. */
export const realEnvironment: CliEnvironment = {
  startKernel: (progress) => VMKernel.start({ progress }),
};
