/**
 * The VMs of this process beside the one that it was started for: forks, which run or are parked (issue 5,
 * section 6). The process stays until they are gone.
 */
import type { Kernel } from "../../mod.ts";
import type { Ending } from "./ending.ts";

/** Resolves when a kernel has no VM and no parked fork. Rejects as `ending` does. */
export async function untilEmpty(
  kernel: Pick<Kernel, "vms" | "parkedForks">,
  ending: Ending,
): Promise<void> {
  for (;;) {
    const left: Promise<unknown>[] = kernel.vms.map((vm) => vm.waitForExit());
    left.push(...kernel.parkedForks.map((fork) => fork.over));
    if (left.length === 0) return;
    await Promise.race([Promise.allSettled(left), ending.happens]);
  }
}

/** Names of a kernel's VMs and parked forks, the first few of them. */
export function namesOfOthers(kernel: Pick<Kernel, "vms" | "parkedForks">): string {
  const names = [...kernel.vms, ...kernel.parkedForks].map(({ name }) => name);
  const shown = names.slice(0, 5).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
