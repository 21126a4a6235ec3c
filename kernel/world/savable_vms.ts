/**
 * What saving a VM takes of it, kept beside the VM: nothing that users of a VM should reach (S17).
 *
 * Invariant: a VM has at most one entry, which lives as long as the VM does.
 */
import type { SavedFacts } from "./checkpoint_service.ts";
import type { PageLoader } from "./page_loader.ts";
import type { VmDisks } from "./vm_disks.ts";
import type { VmSaves } from "./vm_saves.ts";
import type { WorkingSetLearner } from "./working_set_learner.ts";

/** What saving takes. */
export interface SavingParts {
  readonly saves: VmSaves;
  /** How it was made; undefined for one that cannot be saved. */
  readonly facts: SavedFacts | undefined;
  /** Its disks; undefined when it has none. */
  readonly disks: VmDisks | undefined;
  /** Loads its pages, if it went on from a checkpoint. */
  readonly loader: PageLoader | undefined;
  /**
   * Lets a VM execute that goes on from a checkpoint: what is to be there first is there.
   * @param learner keeps which pages it uses first; closed at its end
   */
  readonly goOn: (learner?: WorkingSetLearner) => void;
}

const parts = new WeakMap<object, SavingParts>();

/** Notes what saving a VM takes. */
export function noteSaving(vm: object, saving: SavingParts): void {
  parts.set(vm, saving);
}

/** What saving a VM takes; undefined for what is no VM. */
export function savingParts(vm: object): SavingParts | undefined {
  return parts.get(vm);
}
