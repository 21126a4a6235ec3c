/**
 * The VM world's half of live checkpoints, suspend and fork (S17.2, S17.3, S19.1): freezes the machine's
 * pages, keeps the state of its devices in memory, and lets it go on; the saver reads the pages meanwhile.
 *
 *     prepare ──► room for pages that are copied aside, while the guest runs
 *     freeze  ──► pages frozen, image taken ── `frozen` in order with all output ──► guest goes on ── `thawed`
 *     ended   ──► the saver has had all pages, or has given up
 *     learn   ──► which pages a restored machine uses first is told once ── `touched` (S19.8)
 *
 * Loaded by the first VM that is saved or restored (vm_extras.ts).
 *
 * Invariants: what `frozen` tells of is one instant between two slices, and all that left the machine before
 * it was sent before it; nothing is written anywhere while the guest stands still.
 */
import { assert } from "../base/assert.ts";
import type { Machine } from "../machine/machine.ts";
import { type MachineImage, resumeImage, saveImage } from "../machine/machine_image.ts";
import { ActivePages } from "../memory/active_pages.ts";
import { CopyAside } from "../memory/copy_aside.ts";
import type { FrozenVm } from "./frozen_vm.ts";
import type { MachinePort } from "./machine_port.ts";
import type { VmMailbox } from "./mailbox.ts";
import { message, TO_KERNEL } from "./protocol.ts";
import { tellTouched } from "./replay_learner.ts";

/** With fewer pages that are copied aside a host has no memory for anything. */
const LEAST_SLOTS = 64;

/** What freezes the machine behind a port. */
export function saveSideOf({ machine }: MachinePort, mailbox: VmMailbox): SaveSide {
  assert(machine !== undefined, "this machine cannot be saved");
  return new SaveSide(machine, mailbox, (frozen) => globalThis.postMessage(frozen));
}

/**
 * Makes something with as many slots as there are pages, so that a guest that writes everything at once never
 * waits for the saver; with fewer where the host does not give that much.
 */
function withRoom(pages: number, make: (slots: number) => CopyAside): CopyAside {
  for (let slots = pages;; slots >>= 2) {
    try {
      return make(slots);
    } catch (error) {
      if (!(error instanceof RangeError) || slots < LEAST_SLOTS) throw error;
    }
  }
}

/** Makes a machine what an image says; gives what freezes it. */
export function restoreMachine(
  port: MachinePort,
  mailbox: VmMailbox,
  image: MachineImage,
): SaveSide {
  const side = saveSideOf(port, mailbox);
  resumeImage(port.machine!, image);
  side.adopt();
  return side;
}

/** Freezes one machine. */
export class SaveSide {
  #aside: CopyAside | undefined;
  readonly #active: ActivePages;
  /** Milliseconds at which the pages that were used first are told; undefined: nobody wants them. */
  #learnsUntil: number | undefined;

  /** @param post sends beside the mailbox what cannot be copied: shared memory */
  constructor(
    private readonly machine: Machine,
    private readonly mailbox: VmMailbox,
    private readonly post: (frozen: FrozenVm) => void,
  ) {
    this.#active = new ActivePages(machine.watch, machine.core.plan);
  }

  /** The machine is what a checkpoint says: the next one keeps what was written since. */
  adopt(): void {
    this.#copyAside().adopt();
  }

  /**
   * Makes room, while the guest's time is not wanted for anything else.
   * @param traces whether to note from now on which pages are used first
   */
  prepare(traces: boolean): void {
    if (this.#aside === undefined && !this.machine.outputs.waiting) {
      // Once for nothing: functions that run for the first time take longer than the guest may stand still.
      saveImage(this.machine);
    }
    this.#copyAside().prepare();
    if (!traces) return;
    this.tellLearned();
    this.#active.begin();
  }

  /** Notes from now on which pages are used first, until a time of the host's clock in milliseconds. */
  learn(until: number): void {
    this.#active.begin();
    this.#learnsUntil = until;
  }

  /** Tells what was learned, if that is due, or at the end of the machine. Between runs. */
  tellLearned(now = Infinity): void {
    if (this.#learnsUntil === undefined || now < this.#learnsUntil) return;
    this.#learnsUntil = undefined;
    tellTouched(this.#active.end(), this.mailbox);
  }

  /**
   * Freezes the machine as it is now, between runs, when all of its output was sent.
   * @param all whether all pages are to be saved, whatever earlier checkpoints have
   * @param holds whether the machine stands still from now on: then the pages that it used are told, too
   */
  freeze(id: number, all: boolean, holds: boolean): void {
    const { machine } = this;
    const aside = this.#copyAside();
    // The kernel world has loaded them before it asks for all: this ends their traces, and waits for none.
    if (all) {
      machine.lazy?.settle();
      machine.lazy?.loadAll();
    }
    const image = saveImage(machine);
    const { icount, ticks } = machine.gate.stamp();
    const active = holds && this.#active.running ? this.#active.end() : undefined;
    const area = aside.begin({ all });
    const { core: { buffer, plan } } = machine;
    this.mailbox.send(TO_KERNEL.frozen, message("", [id]));
    this.post({
      kind: "frozen",
      id,
      image,
      icount,
      ticks,
      active,
      area,
      memory: buffer as SharedArrayBuffer,
      ram: plan.ram,
    });
  }

  /** The machine goes on behind a freeze that was to be its last. */
  goOn(): void {
    if (this.#learnsUntil === undefined) this.#active.end();
  }

  /** The saver has had all pages, or gave up. */
  ended(isWhole: boolean): void {
    const aside = this.#aside;
    assert(aside !== undefined, "a save ends that never began");
    if (isWhole) aside.end();
    else aside.abort();
  }

  #copyAside(): CopyAside {
    const { core: { buffer, plan, flags } } = this.machine;
    return this.#aside ??= withRoom(plan.ramPages, (slots) => {
      return new CopyAside({ buffer, plan, flags, slots });
    });
  }
}
