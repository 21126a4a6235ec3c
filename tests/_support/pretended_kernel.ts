/** A kernel for tests of its control socket: VMs of the test's own, and nothing that can be saved. */
import { ConfigError } from "../../kernel/mod.ts";
import type { ControlledKernel, ControlledVm } from "../../tools/cli/control/verb.ts";

/** The kernel; what the test gives takes the place of what refuses. */
export function pretendedKernel(
  vms: readonly unknown[],
  more: Partial<ControlledKernel> = {},
): ControlledKernel {
  const refuse = () => Promise.reject(new ConfigError("This kernel has no folder for checkpoints"));
  return {
    vms: vms as readonly ControlledVm[],
    parkedForks: [],
    checkpoint: refuse,
    suspend: refuse,
    fork: refuse,
    ...more,
  };
}
