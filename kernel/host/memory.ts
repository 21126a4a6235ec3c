/**
 * How much memory the host can give (issue 2, section 3: what it cannot give is refused, both
 * figures named), and what is given back to it.
 */
import { giveBack, heapTrimmed, trimHeap } from "./give_back.ts";

/** What the host says about its memory, in bytes. */
export interface HostMemory {
  /** Memory that can be given to new work without swapping. */
  available(): number;
  /**
   * Gives a range of shared memory, which nobody uses meanwhile, back to the host; gives whether it is zero now:
   * nothing has changed otherwise.
   */
  giveBack(buffer: SharedArrayBuffer, from: number, bytes: number): boolean;
  /** Gives back what this process has and does not need. Does not wait for that. */
  trim(): void;
  /** Resolves when that is over. */
  trimmed(): Promise<void>;
}

/** Memory of the computer this code runs on. */
export const hostMemory: HostMemory = {
  available: () => Math.min(Deno.systemMemoryInfo().available, containerRoom()),
  giveBack,
  trim: trimHeap,
  trimmed: heapTrimmed,
};

/** Room that the control group (a container's limit) leaves; Infinity where there is none. */
function containerRoom(): number {
  try {
    const limit = Deno.readTextFileSync("/sys/fs/cgroup/memory.max").trim();
    if (limit === "max") return Infinity;
    return Number(limit) - Number(Deno.readTextFileSync("/sys/fs/cgroup/memory.current"));
  } catch {
    // No version 2 control group, or not readable: the system's figure stands alone.
    return Infinity;
  }
}
