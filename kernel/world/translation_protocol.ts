/**
 * What a VM world and the compile world say to each other over a message port: it does not go through
 * the mailbox, because compiled modules can be sent no other way.
 *
 * Invariant: a message of the compile world is counted in shared memory before it is sent, so that the VM
 * world, whose thread is seldom idle, knows that there is one to wait for.
 */
import type { MemoryPlan } from "../memory/memory_plan.ts";
import type { Batch, MadeBatch } from "../translator/translation.ts";

/** Slots that regions kept from earlier runs may take; others come behind. */
export const KEPT_SLOTS = 8192;

/** What a VM world says. */
export type ToCompileWorld =
  /** A machine with this layout begins; what was ordered before is not wanted any more. */
  | {
    readonly kind: "begin";
    readonly plan: MemoryPlan;
    /** Numbers this machine among those of the VM world. */
    readonly life: number;
    /** One counter (i32) of messages. */
    readonly sent: SharedArrayBuffer;
  }
  | { readonly kind: "batch"; readonly batch: Batch };

/** What the compile world answers. */
export interface FromCompileWorld {
  readonly life: number;
  readonly made: MadeBatch;
}

/** How the kernel world tells the compile world of a VM. */
export interface VmIntroduction {
  /** Numbers the VM. */
  readonly id: number;
  /** The compile world's end. */
  readonly port: MessagePort;
  /** Whether its regions are to be kept for later runs. */
  readonly keep: boolean;
  /** Regions kept from an earlier run; undefined when there are none. */
  readonly kept: HandedRegions | undefined;
  /** Names of regions that the compile world is to remember for VMs to come: it forgets all others. */
  readonly remembered: readonly string[];
}

/** Regions kept from an earlier run, which all VMs share that have the same. */
export interface HandedRegions {
  /** What they are called. */
  readonly name: string;
  /** The regions; undefined when the compile world remembers them. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
}

/** What the kernel world says: a new VM, or that regions are to be kept now. */
export type KernelToCompileWorld =
  | { readonly kind: "introduce"; readonly vm: VmIntroduction }
  | {
    readonly kind: "keep";
    readonly id: number;
    /** Whether the VM has ended. */
    readonly last: boolean;
  };

/** What the compile world tells the kernel world: the regions of a VM for later runs, if there are new ones. */
export interface ToKeep {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
}

/** What the compile world says when it has loaded: before, it has made nothing. */
export const READY = "ready";
