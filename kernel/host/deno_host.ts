/** The real host: the Deno runtime on the computer this code runs on. */
import { hostCompression } from "./compression.ts";
import { hostClock } from "./clock.ts";
import { hostEntropy } from "./entropy.ts";
import { hostFiles } from "./files.ts";
import type { Host } from "./host.ts";
import { hostMemory } from "./memory.ts";
import { hostTimers } from "./timers.ts";
import { hostWorkers } from "./workers.ts";

/** The host that Deno gives. */
export const denoHost: Host = {
  clock: hostClock,
  compression: hostCompression,
  entropy: hostEntropy,
  files: hostFiles,
  memory: hostMemory,
  timers: hostTimers,
  workers: hostWorkers,
};
