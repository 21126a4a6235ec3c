/**
 * A replay that can go back: marks along the way, and a machine that is put back to the newest mark
 * before a moment and runs forward from there (issue 4, "gdb, both directions").
 *
 * Marks are dense near the present and thin with age, so that what was a moment ago is reached in
 * milliseconds and all of the past in a bounded time; their memory is bounded.
 *
 * Invariants: at every icount the machine is what it was the first time; what left it once does not leave
 * it again when it passes there again.
 */
import type { Machine } from "../machine/machine.ts";
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

interface Mark {
  readonly icount: number;
  readonly snapshot: number;
  readonly place: ReplayPlace;
}

/** Instructions between two marks near the present: some 10 ms of execution. */
const SPACING = 4_000_000;
/** Further back, marks lie as far apart as this part of their age. */
const AGE_SHARE = 1 / 16;

/** A replay with marks. */
export class Timeline {
  readonly #options: TimelineOptions;
  readonly #spacing: number;
  #replayer: Replayer;
  #snapshots: Snapshots;
  #marks: Mark[] = [];
  /** The furthest that the replay has been: outputs up to there have left. */
  #furthest: number;
  #nextMark: number;

  /** Begins where the replay is. */
  constructor(replayer: Replayer, options: TimelineOptions) {
    this.#options = options;
    this.#spacing = options.spacing ?? SPACING;
    this.#replayer = replayer;
    this.#snapshots = this.#newSnapshots();
    this.#furthest = this.#nextMark = replayer.icount;
  }

  /** Whether outputs that leave now have left before. */
  get passesAgain(): boolean {
    return this.#replayer.icount < this.#furthest;
  }

  /** Instructions executed since the recording began. */
  get icount(): number {
    return this.#replayer.icount;
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
    let most = Math.min(budget, Math.max(1, this.#nextMark - replayer.icount));
    // What leaves up to there has left before, and what leaves beyond has not.
    if (this.passesAgain) most = Math.min(most, this.#furthest - replayer.icount);
    const stop = replayer.run(most);
    this.#furthest = Math.max(this.#furthest, replayer.icount);
    return stop;
  }

  /** Goes back to the newest mark at or before an icount; false when there is none any more. */
  backTo(icount: number): boolean {
    const index = this.#marks.findLastIndex((mark) => mark.icount <= icount);
    if (index < 0) return false;
    const mark = this.#marks[index]!;
    this.#snapshots.restore(mark.snapshot);
    this.#replayer.disks.undoTo(index);
    this.#replayer.goTo(mark.place);
    this.machine.forgetStops();
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

  /** Keeps no marks any more; still knows what has left the machine. */
  end(): void {
    this.#nextMark = Infinity;
    this.#marks = [];
    this.#snapshots.stop();
    this.#replayer.disks.forgetIntervals();
  }

  #newSnapshots(): Snapshots {
    return new Snapshots(this.machine, { limitBytes: this.#options.limitBytes });
  }

  #mark(): void {
    const { machine } = this;
    // What an event at this very place sent out has yet to be taken.
    if (machine.outputs.waiting) return;
    const { icount } = this.#replayer;
    if (this.#marks.at(-1)?.icount !== icount) {
      const { place, disks } = this.#replayer;
      this.#marks.push({ icount, snapshot: this.#snapshots.take(), place });
      disks.begin();
      this.#thin(icount);
      this.#dropLost();
    }
    this.#nextMark = icount + this.#spacing;
  }

  /** Joins marks that lie closer to each other than their age asks for. */
  #thin(now: number): void {
    const marks = this.#marks;
    for (let i = marks.length - 2; i > 0; i--) {
      const gap = marks[i + 1]!.icount - marks[i - 1]!.icount;
      if (gap > Math.max(this.#spacing, (now - marks[i]!.icount) * AGE_SHARE)) continue;
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
