/**
 * A replay that can go back: marks along the way, and a machine that is put back to the newest mark
 * before a moment and runs forward from there (issue 4, "gdb, both directions").
 *
 * Marks are dense near the present and thin with age, so that what was a moment ago is reached in
 * milliseconds and all of the past in a bounded time; their memory is bounded.
 *
 * Invariant: at every icount the machine is what it was the first time.
 */
import type { Machine } from "../machine/machine.ts";
import { interpreterMark } from "../cpu/execution_marks.ts";
import { EXECUTION_MARKS } from "../memory/memory_plan.ts";
import { Snapshots } from "../machine/snapshot.ts";
import type { Replayer, ReplayPlace, ReplayStop } from "../replay/replayer.ts";

/** Bounds of a timeline. */
export interface TimelineOptions {
  /** Most bytes of memory that marks may hold. */
  readonly limitBytes: number;
  /** Instructions between marks near the present. */
  readonly spacing?: number;
}

/** A moment that can be gone back to at once. */
export interface TimelineMark {
  readonly icount: number;
  readonly bytes: number;
}

/** What is looked for in the past. */
export interface Sought {
  /** Virtual addresses of instructions. */
  readonly code: readonly bigint[];
  /** Guest pages whose writes count; undefined: any access may, so nothing can be skipped. */
  readonly pages: readonly number[] | undefined;
}

interface Mark {
  readonly icount: number;
  readonly snapshot: number;
  readonly place: ReplayPlace;
  /** What was executed from here to the next mark; undefined: not known, or not over yet. */
  executed: Uint8Array | undefined;
}

/** Instructions between two marks near the present: some 10 ms of execution. */
const SPACING = 4_000_000;
/** Further back, marks lie as far apart as this part of their age… */
const AGE_SHARE = 1 / 64;
/** …or more, while they hold more than this part of what they may. */
const FULL_SHARE = 0.7;

/** A replay with marks. */
export class Timeline {
  readonly #options: TimelineOptions;
  readonly #spacing: number;
  #replayer: Replayer;
  #snapshots: Snapshots;
  #marks: Mark[] = [];
  #nextMark: number;
  #share = AGE_SHARE;

  /** Begins where the replay is. */
  constructor(replayer: Replayer, options: TimelineOptions) {
    this.#options = options;
    this.#spacing = options.spacing ?? SPACING;
    this.#replayer = replayer;
    this.#snapshots = this.#newSnapshots();
    this.#nextMark = replayer.icount;
  }

  /** Where the recording begins: not at 0 when it is of a VM that ran already. */
  get start(): number {
    return this.#replayer.start;
  }

  /** Instructions executed since the recording began. */
  get icount(): number {
    return this.#replayer.icount;
  }

  /** icount at which the machine that runs now was switched on: more than 0 where the guest reset itself. */
  get switchedOn(): number {
    return this.#replayer.icount - this.machine.icount;
  }

  /** The machine. */
  get machine(): Machine {
    return this.#replayer.machine;
  }

  /** Where snapshots of this machine are kept, for code that takes others in between. */
  get snapshots(): Snapshots {
    return this.#snapshots;
  }

  /** The marks, the oldest first. */
  get marks(): TimelineMark[] {
    const bytes = new Map(this.#snapshots.list.map((info) => [info.snapshot, info.bytes]));
    return this.#marks.map(({ icount, snapshot }) => ({ icount, bytes: bytes.get(snapshot) ?? 0 }));
  }

  /**
   * Runs forward, at most so many instructions; "budget" may come before they are used, where there is
   * something to do between.
   */
  run(budget: number): ReplayStop {
    const replayer = this.#replayer;
    if (replayer.icount >= this.#nextMark) this.#mark();
    return replayer.run(Math.min(budget, Math.max(1, this.#nextMark - replayer.icount)));
  }

  /**
   * The latest stretch between marks, before an icount, where something may be found; undefined: nowhere
   * that marks know of. Where nothing of it was executed or written, there is nothing to look for.
   */
  lastChance(
    before: number,
    sought: Sought,
  ): { readonly from: number; readonly to: number } | undefined {
    const indices = this.#marksOfCode(sought.code);
    for (let i = this.#marks.findLastIndex((mark) => mark.icount < before); i >= 0; i--) {
      if (this.#mayHold(this.#marks[i]!, i === this.#marks.length - 1, sought, indices)) {
        const to = Math.min(before, this.#marks[i + 1]?.icount ?? before);
        return { from: this.#marks[i]!.icount, to };
      }
    }
    return undefined;
  }

  #mayHold(mark: Mark, isLast: boolean, sought: Sought, indices: readonly number[]): boolean {
    if (sought.pages === undefined) return true;
    if (sought.pages.some((page) => this.#snapshots.wrote(mark.snapshot, page))) return true;
    if (sought.code.length === 0) return false;
    const executed = mark.executed ?? (isLast ? this.#takeMarks(false) : undefined);
    return executed === undefined ||
      indices.some((index) => (executed[index >> 3]! >> (index & 7) & 1) !== 0);
  }

  /** Indices of the marks that the execution of any of these instructions sets. */
  #marksOfCode(code: readonly bigint[]): number[] {
    const { translator } = this.machine;
    return code.flatMap((address) => {
      const page = Number(BigInt.asUintN(32, address >> 12n));
      const offset = Number(address & 0xfffn);
      const inRegions = translator?.marksOf(page, offset) ?? [];
      return [interpreterMark(address), ...inRegions];
    });
  }

  /** What was executed since the last mark, one bit each; undefined in a core without marks. */
  #takeMarks(clears: boolean): Uint8Array | undefined {
    const { plan, bytes } = this.machine.core;
    if (plan.executionMarks === 0) return undefined;
    const marks = bytes.subarray(plan.executionMarks, plan.executionMarks + EXECUTION_MARKS);
    const executed = new Uint8Array(EXECUTION_MARKS / 8);
    for (let i = marks.indexOf(1); i >= 0; i = marks.indexOf(1, i + 1)) {
      executed[i >> 3]! |= 1 << (i & 7);
    }
    if (clears) marks.fill(0);
    return executed;
  }

  /** Goes back to the newest mark at or before an icount; false when there is none any more. */
  backTo(icount: number): boolean {
    this.#dropLost();
    const index = this.#marks.findLastIndex((mark) => mark.icount <= icount);
    if (index < 0) return false;
    const mark = this.#marks[index]!;
    this.#snapshots.restore(mark.snapshot);
    this.#replayer.disks.undoTo(index);
    this.#replayer.goTo(mark.place);
    this.machine.forgetStops();
    this.#takeMarks(true);
    mark.executed = undefined;
    this.#marks = this.#marks.slice(0, index + 1);
    this.#nextMark = mark.icount + this.#spacing;
    return true;
  }

  /** The recording begins anew, with another machine at its power-on state. */
  restart(replayer: Replayer): void {
    this.#replayer = replayer;
    this.#marks = [];
    this.#snapshots = this.#newSnapshots();
    this.#nextMark = replayer.icount;
  }

  /** The guest reset itself: what was before can only be reached from the beginning. */
  reset(): void {
    this.#marks = [];
    this.#snapshots = this.#newSnapshots();
    this.#replayer.disks.forgetIntervals();
    this.#nextMark = this.#replayer.icount;
  }

  /** Keeps no marks any more. */
  end(): void {
    this.#nextMark = Infinity;
    this.#marks = [];
    this.#snapshots.stop();
    this.#replayer.disks.forgetIntervals();
  }

  #newSnapshots(): Snapshots {
    const { limitBytes } = this.#options;
    const { dirty } = this.#replayer;
    return new Snapshots(this.machine, { limitBytes, ...dirty && { dirty } });
  }

  #mark(): void {
    const { machine } = this;
    // What an event at this very place sent out has yet to be taken.
    if (machine.outputs.waiting) return;
    const { icount } = this.#replayer;
    if (this.#marks.at(-1)?.icount !== icount) {
      const { place, disks } = this.#replayer;
      const executed = this.#takeMarks(true);
      const last = this.#marks.at(-1);
      if (last !== undefined) last.executed = executed;
      this.#marks.push({ icount, snapshot: this.#snapshots.take(), place, executed: undefined });
      disks.begin();
      this.#dropLost();
      this.#thin(icount);
    }
    this.#nextMark = icount + this.#spacing;
  }

  /** Joins marks that lie closer to each other than their age asks for. */
  #thin(now: number): void {
    const marks = this.#marks;
    const isFull = this.#snapshots.bytes > this.#options.limitBytes * FULL_SHARE;
    const share = isFull ? this.#share *= 1.1 : this.#share;
    for (let i = marks.length - 2; i > 0; i--) {
      const gap = marks[i + 1]!.icount - marks[i - 1]!.icount;
      if (gap > Math.max(this.#spacing, (now - marks[i]!.icount) * share)) continue;
      marks[i - 1]!.executed = joined(marks[i - 1]!.executed, marks[i]!.executed);
      this.#snapshots.forget(marks[i]!.snapshot);
      this.#replayer.disks.merge(i - 1);
      marks.splice(i, 1);
    }
  }

  /** The bound on memory takes the oldest away. */
  #dropLost(): void {
    while (this.#marks.length > 0 && !this.#snapshots.has(this.#marks[0]!.snapshot)) {
      this.#marks.shift();
      this.#replayer.disks.dropOldest();
    }
  }
}

/** What was executed in two intervals together; undefined where either is not known. */
function joined(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  return a && b && a.map((bits, i) => bits | b[i]!);
}
