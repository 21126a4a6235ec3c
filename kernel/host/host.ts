/**
 * All of the host in one value, so that a kernel can be run over another host (a simulated one in
 * tests). Only kernel/host touches the runtime, clocks and entropy.
 */
import type { HostCompression } from "./compression.ts";
import type { HostClock } from "./clock.ts";
import type { HostEntropy } from "./entropy.ts";
import type { HostFiles } from "./files.ts";
import type { HostMemory } from "./memory.ts";
import type { HostTimers } from "./timers.ts";
import type { HostWorkers } from "./workers.ts";

/** Everything the kernel world asks of its host. */
export interface Host {
  /** Monotonic and wall time. */
  readonly clock: HostClock;
  /** Packing and hashing. */
  readonly compression: HostCompression;
  /** Random bytes. */
  readonly entropy: HostEntropy;
  /** Files. */
  readonly files: HostFiles;
  /** Memory that is left. */
  readonly memory: HostMemory;
  /** Waiting. */
  readonly timers: HostTimers;
  /** VM worlds. */
  readonly workers: HostWorkers;
}
