/**
 * A VM's saves, in the kernel world: asks its world to freeze, and puts together what it was at that instant
 * (S17.1 to S17.3, S19).
 *
 *     freeze ──► VM world ── output that came before ─► `frozen` marker ─► what the kernel world has of the VM
 *                        └─ image, memory ─────────────────────────────► at that very moment
 *
 * Invariant: what is kept of the kernel world's side is what it was when the marker arrived: behind all
 * that left the machine before the instant, and before anything that left it later.
 */
import { Broken } from "../base/assert.ts";
import { HostError } from "../base/errors.ts";
import type { Received } from "./mailbox.ts";
import { message, TO_VM } from "./protocol.ts";
import { abortSave } from "../memory/save_area.ts";
import type { FrozenVm } from "./frozen_vm.ts";
import type { AgentPlace } from "./vm_exec.ts";
import type { VmLink } from "./vm_link.ts";

/** What the kernel world has of a VM at one moment. */
export interface KernelSide {
  /** What was typed and not taken by the guest. */
  readonly typed: Uint8Array;
  /** The connection to the guest's agent. */
  readonly agent: AgentPlace;
  /** The host's wall clock in nanoseconds since 1970. */
  readonly wallNanoseconds: bigint;
}

/** A VM at one instant. */
export interface FrozenMoment extends KernelSide {
  readonly vm: FrozenVm;
  /** Resolves to the microseconds that the machine stood still; never, if it does not go on. */
  readonly stood: Promise<number>;
}

/** How to freeze. */
export interface FreezeOptions {
  /** Whether all pages are to be saved, whatever earlier saves have. */
  readonly all: boolean;
  /** Whether the machine stands still until `go`. */
  readonly holds?: boolean;
  /** Called at the very moment, before anything that comes later is looked at. */
  readonly atMoment?: () => void;
}

interface Pending extends PromiseWithResolvers<FrozenMoment> {
  readonly options: FreezeOptions;
  readonly stood: PromiseWithResolvers<number>;
  vm?: FrozenVm;
  side?: KernelSide;
  isThawed?: boolean;
}

/** The saves of one VM, one at a time. */
export class VmSaves {
  /** Checkpoint since which the VM's world knows what was written; undefined: there is none. */
  base: string | undefined;
  readonly #pending = new Map<number, Pending>();
  #count = 0;
  #ended = false;
  #whenEnded = () => {};
  /** Area of the last freeze. */
  #area: SharedArrayBuffer | undefined;

  /** @param side tells what the kernel world has of the VM now */
  constructor(private readonly link: VmLink, private readonly side: () => KernelSide) {}

  /** Lets the VM's world make room; `traces`: and note which pages are used first from now on. */
  prepare(traces = false): void {
    void this.link.send(TO_VM.savePrepare, message("", [traces ? 1 : 0]));
  }

  /** Freezes the VM, behind `prepare`. Rejects with HostError when the VM ends before. */
  freeze(options: FreezeOptions): Promise<FrozenMoment> {
    if (this.#ended) return Promise.reject(ended());
    const id = ++this.#count;
    const pending: Pending = {
      ...Promise.withResolvers<FrozenMoment>(),
      options,
      stood: Promise.withResolvers<number>(),
    };
    pending.stood.promise.catch(() => {});
    this.#pending.set(id, pending);
    const numbers = [id, options.all ? 1 : 0, options.holds ? 1 : 0];
    void this.link.send(TO_VM.freeze, message("", numbers));
    return pending.promise;
  }

  /** The saver has had all pages, or the save was given up: then nothing is known of what was written. */
  over(isWhole: boolean): void {
    if (!isWhole) this.base = undefined;
    void this.link.send(TO_VM.saveEnded, message("", [isWhole ? 1 : 0]));
  }

  /** Lets a VM go on that stands still behind `freeze`. */
  go(): void {
    void this.link.send(TO_VM.saveGo, message());
  }

  /** The marker arrived. */
  marked({ numbers: [id = 0] }: Received): void {
    const pending = this.#known(id);
    pending.side = this.side();
    pending.options.atMoment?.();
    this.#complete(id, pending);
  }

  /** What the VM was arrived. */
  posted(vm: FrozenVm): void {
    const pending = this.#known(vm.id);
    pending.vm = vm;
    this.#area = vm.area;
    this.#complete(vm.id, pending);
  }

  /** The machine runs again. */
  thawed({ numbers: [id = 0, microseconds = 0] }: Received): void {
    const pending = this.#known(id);
    pending.stood.resolve(microseconds);
    pending.isThawed = true;
    this.#complete(id, pending);
  }

  /** Has the save that is under way told when the VM ends, or that it has. */
  whenEnded(tell: () => void): void {
    this.#whenEnded = tell;
    if (this.#ended) tell();
  }

  /**
   * The VM ended.
   * @param died whether it may have been at work: a save under way may then wait for it for ever
   */
  close(died: boolean): void {
    this.#ended = true;
    this.#whenEnded();
    if (died && this.#area !== undefined) abortSave(this.#area);
    for (const { reject, stood } of this.#pending.values()) {
      reject(ended());
      stood.reject(ended());
    }
    this.#pending.clear();
  }

  /** The parts come by two ways, in no order. */
  #complete(id: number, { vm, side, stood, resolve, isThawed }: Pending): void {
    if (vm === undefined || side === undefined) return;
    resolve({ ...side, vm, stood: stood.promise });
    if (isThawed) this.#pending.delete(id);
  }

  #known(id: number): Pending {
    const pending = this.#pending.get(id);
    if (pending === undefined) throw new Broken(`a VM is frozen for ${id}, which nobody wanted`);
    return pending;
  }
}

function ended(): HostError {
  return new HostError("The VM ended before it could be saved");
}
