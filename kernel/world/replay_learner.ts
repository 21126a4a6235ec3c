/**
 * Learns from a replay which pages its guest uses first behind some instruction: the working set of a
 * checkpoint that was taken there, exactly (S19.8; N6).
 *
 * Invariant: the replay is what it is without it; it ends when all was learned.
 */
import type { Machine } from "../machine/machine.ts";
import { ActivePages } from "../memory/active_pages.ts";
import { TICKS_PER_MILLISECOND } from "./host_time.ts";
import type { VmMailbox } from "./mailbox.ts";
import { message, parts, TO_KERNEL } from "./protocol.ts";

/** What to learn. */
export interface ReplayLearning {
  /** Instructions behind which it begins; at once in a recording that begins later. */
  readonly from: number;
  /** Guest time for which pages are noted. */
  readonly milliseconds: number;
}

/** Learns from one replay. */
export class ReplayLearner {
  readonly #learning: ReplayLearning;
  #machine: Machine | undefined;
  #active: ActivePages | undefined;
  #until = 0;

  constructor(learning: ReplayLearning) {
    this.#learning = learning;
  }

  /** Instructions that may be executed before the next look. */
  most(icount: number): number {
    return this.#active === undefined ? Math.max(1, this.#learning.from - icount) : Infinity;
  }

  /** Between two slices: whether all was learned. */
  look(machine: Machine, icount: number): boolean {
    if (this.#active === undefined) {
      if (icount < this.#learning.from) return false;
      this.#machine = machine;
      this.#active = new ActivePages(machine.watch, machine.core.plan);
      this.#active.begin();
      this.#until = machine.ticks() + this.#learning.milliseconds * TICKS_PER_MILLISECOND;
      return false;
    }
    // A guest that has reset itself has nothing more to do with the checkpoint.
    return machine !== this.#machine || machine.ticks() >= this.#until;
  }

  /** Tells what was learned; nothing, when the recording ended before. */
  tell(mailbox: VmMailbox): void {
    if (this.#active !== undefined) tellTouched(this.#active.end(), mailbox);
    this.#active = undefined;
  }
}

/** Tells the kernel world which pages were used first. */
export function tellTouched(pages: Uint32Array, mailbox: VmMailbox): void {
  const bytes = new Uint8Array(pages.slice().buffer);
  for (const part of parts(bytes)) {
    const isLast = part.byteOffset + part.length === bytes.length;
    mailbox.send(TO_KERNEL.touched, message("", [isLast ? 0 : 1], part));
  }
}
