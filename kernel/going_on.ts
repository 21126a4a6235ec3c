/** How VMs go on from checkpoints, and who they are to be then (S16, S17, S19): what saved_vms.ts is told. */
import type { VmIdentity } from "./base/identity.ts";
import type { Claim } from "./checkpoint/claims.ts";
import type { PowerOnOptions } from "./config.ts";
import type { EarlyWorld } from "./world/early_world.ts";
import type { LoadOptions } from "./world/page_loader.ts";

/** How a VM goes on from a checkpoint. */
export interface GoOnOptions extends LoadOptions {
  /** Name of the VM; its own by default. */
  readonly name?: string;
  /** Which tiers execute; those that it was made with by default. */
  readonly tier?: PowerOnOptions["tier"];
  /** Whether it stands still until `VM.resume`: it is then what the checkpoint says. */
  readonly paused?: boolean;
  /**
   * Whether to note which pages it uses in its first second, and to keep them as the checkpoint's working set:
   * who goes on from the checkpoint later is faster. That second is a little slower. "once": only if none is
   * kept, or one that is damaged.
   */
  readonly learn?: boolean | "once";
}

/** How to fork. */
export interface ForkOptions extends GoOnOptions {
  /** Number of forks; 1 by default. */
  readonly count?: number;
  /** A name for each of them; by default they are called after their parent, or `name`, with a number. */
  readonly names?: readonly string[];
}

/** Who a VM is to be. */
export interface Role {
  /** Gives a clone its identity; undefined: the VM keeps its own. */
  readonly clone?: (parent: CloneParent) => VmIdentity;
  /** What it is allowed to run by, once. */
  readonly claim?: Claim;
  /** Whether it goes on in the disks that it left; else in overlays over them. */
  readonly ownsDisks?: boolean;
  /** The guest that it was started with, by name. */
  readonly guest?: string | undefined;
  /** A world that was started for it already. */
  readonly world?: EarlyWorld;
  /** What its guest lacks is a problem of the checkpoint. */
  readonly damaged?: () => void;
}

/** What the identity of a clone is made from. */
export interface CloneParent {
  readonly name: string;
  /** The seed of a VM whose course is a function of it. */
  readonly seed: number | undefined;
  readonly parent: VmIdentity | undefined;
}
