/**
 * How VMs use their rights to suspended states (checkpoint/claims.ts): a right lasts as long as the VM, and is used
 * up when the guest executes.
 *
 * Invariant: a right is given back whether there comes to be a VM or not.
 */
import { HostError } from "./base/errors.ts";
import type { Claim } from "./checkpoint/claims.ts";
import type { VM } from "./world/vm.ts";

/** The use of a claim. */
export interface ClaimUse {
  /** Resolves when the claim's state may be run from. */
  readonly consumed: Promise<void>;
  /** The guest has executed nothing. */
  readonly takeBack: () => Promise<void>;
}

/** Makes a VM by a right that lasts until its end. */
export async function untilEnd(
  right: { release(): void } | undefined,
  make: () => Promise<VM>,
): Promise<VM> {
  try {
    const vm = await make();
    void vm.waitForExit().catch(() => {}).then(() => right?.release());
    return vm;
  } catch (error) {
    right?.release();
    throw error;
  }
}

/** Begins to consume a claim, if there is one. */
export function useOf(claim: Claim | undefined, warn: (line: string) => void): ClaimUse {
  const consumed = claim?.consume() ?? Promise.resolve();
  consumed.catch(() => {});
  const takeBack = async () => {
    await consumed.catch(() => {});
    try {
      claim?.takeBack();
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      // Why the VM does not go on is what its user is told.
      warn(
        `A suspended state counts as resumed, though it was not; expected a restore: ${error.message}`,
      );
    }
  };
  return { consumed, takeBack };
}
