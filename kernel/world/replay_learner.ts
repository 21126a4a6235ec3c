/**
 * Learns from a replay which pages its guest uses first behind some instruction: the working set of a
 * checkpoint that was taken there, exactly (S19.8; N6).
 *
 * Invariants: the replay is what it is without it; it ends when all was learned, or when there is nothing to
 * learn because its machine is not the checkpoint's. Of another machine nothing is told.
 */
import { compareHarts } from "../machine/epoch.ts";
import type { Machine } from "../machine/machine.ts";
import { ActivePages } from "../memory/active_pages.ts";
import type { HART } from "../memory/hart_layout.ts";
import { TICKS_PER_MILLISECOND } from "./host_time.ts";
import type { VmMailbox } from "./mailbox.ts";
import { message, parts, TO_KERNEL } from "./protocol.ts";

/** What to learn. */
export interface ReplayLearning {
  /** Instructions behind which it begins. */
  readonly from: number;
  /** Blocks of all harts there (hart_layout.ts), in their order: those of another machine teach nothing. */
  readonly harts: Uint8Array;
  /** Guest time for which pages are noted. */
  readonly milliseconds: number;
}

/**
 * TABLE: fields of a hart that something from outside changes without an instruction: a checkpoint may have been
 * taken before or behind what came in at its very instruction.
 */
const CHANGED_BY_EVENTS: ReadonlySet<string> = new Set<keyof typeof HART.fields>([
  "mipLines",
  "waiting",
  "reservation",
  // An interrupt that is taken.
  "pc",
  "privilege",
  "mstatus",
  "mepc",
  "mcause",
  "mtval",
  "sepc",
  "scause",
  "stval",
]);

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
    return this.#active === undefined ? Math.max(0, this.#learning.from - icount) : Infinity;
  }

  /** Between two slices: whether all was learned, or nothing can be. */
  look(machine: Machine, icount: number): boolean {
    if (this.#active === undefined) {
      if (icount < this.#learning.from) return false;
      if (icount > this.#learning.from || !this.#isIts(machine)) return true;
      this.#machine = machine;
      this.#active = new ActivePages(machine.watch, machine.core.plan);
      this.#active.begin();
      this.#until = machine.ticks() + this.#learning.milliseconds * TICKS_PER_MILLISECOND;
      return false;
    }
    // A guest that has reset itself has nothing more to do with the checkpoint.
    return machine !== this.#machine || machine.ticks() >= this.#until;
  }

  /** Whether the checkpoint can be of this machine, which is at its instruction. */
  #isIts({ core }: Machine): boolean {
    const { harts } = this.#learning;
    const replayed = core.saveHarts();
    return harts.length === replayed.length &&
      compareHarts(harts, replayed).every(({ field }) => CHANGED_BY_EVENTS.has(field));
  }

  /** Tells what was learned; nothing, when the recording ended before, or is of another machine. */
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
