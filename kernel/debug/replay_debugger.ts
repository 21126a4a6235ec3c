/**
 * A debugger's ways through a replay, forwards and backwards (issue 4, "gdb, both directions"). A way is a
 * generator that yields between slices, so that its owner can look up from it, and returns why it ended.
 *
 * Going backwards is running forwards from earlier and earlier marks: the last point that was hit before
 * the moment of departure is where it ends. A breakpoint stops before its instruction, in both
 * directions; a watchpoint stops behind the access forwards and before it backwards.
 *
 * Invariant: wherever a way ends, the replay is where a run to that icount is.
 */
import { assert } from "../base/assert.ts";
import type { Timeline } from "../checkpoint/timeline.ts";
import type { Machine } from "../machine/machine.ts";
import type { StopReason } from "../machine/turns.ts";
import type { ReplayStop } from "../replay/replayer.ts";
import type { DebuggerStop, MachineDebugger } from "./machine_debugger.ts";
import type { DebugResume, DebugStop } from "./target.ts";

/**
 * What the owner is to do before the way goes on: nothing, wait for a disk, begin the recording anew with
 * another machine, or give the guest that reset itself another machine.
 */
export type WayPause = "slice" | "await" | "restart" | "reset";
/** A way through a replay. */
export type Way = Generator<WayPause, DebugStop, void>;

/** A point that was hit on the way. */
interface Hit {
  /** Where a backward way that ends here is. */
  readonly icount: number;
  readonly stop: Extract<DebuggerStop, { kind: "breakpoint" | "watchpoint" }>;
}

type PointHit = Extract<DebuggerStop, { kind: "breakpoint" | "watchpoint" | "step" }>;

/** Instructions of a slice. */
const SLICE = 5_000_000;

/** Goes through one replay. */
export class ReplayDebugger {
  #stepHart: number | undefined;
  #stop: PointHit | undefined;

  /** @param inspector gives the debugger of the machine that the replay has now */
  constructor(
    private readonly timeline: Timeline,
    private readonly inspector: () => MachineDebugger,
  ) {}

  /** Runs the machine for the replayer; undefined: at a point. */
  drive(budget: number): StopReason | undefined {
    const hart = this.#stepHart;
    const inspector = this.inspector();
    const stop = hart === undefined ? inspector.run(budget) : inspector.step(hart, budget);
    if (stop.kind !== "breakpoint" && stop.kind !== "watchpoint" && stop.kind !== "step") {
      return stop;
    }
    this.#stop = stop;
    return undefined;
  }

  /** The way that a debugger asks for. */
  way(how: DebugResume | { readonly seek: number }): Way {
    if ("seek" in how) return this.#seek(how.seek);
    if (how.direction === "forward") return this.#forward(how.stepHart);
    return how.stepHart === undefined ? this.#backward() : this.#stepBack(how.stepHart);
  }

  *#forward(stepHart: number | undefined): Way {
    for (;;) {
      this.#stepHart = stepHart;
      const stop = this.timeline.run(SLICE);
      this.#stepHart = undefined;
      const ended = yield* this.#between(stop);
      if (ended !== undefined) return ended;
      if (stop.kind === "point") return this.#stopped(this.#takeStop());
    }
  }

  /** Goes to an icount, without stopping at points. */
  *#seek(icount: number): Way {
    const goal = Math.max(icount, this.timeline.start);
    if (goal < this.timeline.icount) yield* this.#backTo(goal);
    const ended = yield* this.#runTo(goal);
    return ended ?? { why: "step", ...this.#place() };
  }

  /** Undoes the last instruction that a hart executed. */
  *#stepBack(hart: number): Way {
    const executed = () => this.timeline.machine.core.register(hart, "executed");
    const wanted = executed() - 1n;
    const now = this.timeline.icount;
    if (wanted < 0n || now === this.timeline.start) return { why: "start", ...this.#place() };
    // From marks further and further back, until the hart had not executed it yet.
    for (let from = now - 1;;) {
      yield* this.#backTo(from);
      const mark = this.timeline.icount;
      if (executed() <= wanted) break;
      if (mark === this.timeline.start) return { why: "start", ...this.#place() };
      from = mark - 1;
    }
    while (executed() < wanted) {
      const ended = yield* this.#runTo(this.timeline.icount + Number(wanted - executed()));
      if (ended !== undefined) return ended;
    }
    return { why: "step", ...this.#place() };
  }

  /** Goes back to the last point that was hit before now. */
  *#backward(): Way {
    let end = this.timeline.icount;
    while (end > this.timeline.start) {
      const chance = this.timeline.lastChance(end, this.inspector().sought());
      // Before the first mark nobody knows.
      end = chance?.to ?? Math.min(end, this.timeline.marks[0]?.icount ?? end);
      if (end === this.timeline.start) break;
      yield* this.#backTo(chance?.from ?? this.timeline.start);
      const begin = this.timeline.icount;
      const hit = yield* this.#lastHit(end);
      if (hit !== undefined) {
        yield* this.#backTo(hit.icount);
        const ended = yield* this.#runTo(hit.icount);
        return ended ?? this.#stopped(hit.stop);
      }
      end = begin;
    }
    yield* this.#backTo(this.timeline.start);
    return { why: "start", ...this.#place() };
  }

  /** Runs forward to an icount; gives the last point that was hit on the way. */
  *#lastHit(end: number): Generator<WayPause, Hit | undefined, void> {
    let last: Hit | undefined;
    while (this.timeline.icount < end) {
      const stop = this.timeline.run(Math.min(SLICE, end - this.timeline.icount));
      const ended = yield* this.#between(stop);
      assert(ended === undefined, "what was executed once can be executed again");
      if (stop.kind !== "point") continue;
      const hit = this.#takeStop();
      if (hit.kind === "step") continue;
      // The access is undone, and so the machine is where its instruction begins.
      const icount = this.timeline.icount - (hit.kind === "watchpoint" ? 1 : 0);
      if (icount < end) last = { icount: Math.max(this.timeline.start, icount), stop: hit };
    }
    return last;
  }

  /** Runs forward to an icount, past points. Gives a stop when the recording ends before. */
  *#runTo(icount: number): Generator<WayPause, DebugStop | undefined, void> {
    const inspector = this.inspector();
    inspector.ignorePoints(true);
    try {
      while (this.timeline.icount < icount) {
        const stop = this.timeline.run(Math.min(SLICE, icount - this.timeline.icount));
        const ended = yield* this.#between(stop);
        if (ended !== undefined) return ended;
      }
      return undefined;
    } finally {
      this.inspector().ignorePoints(false);
    }
  }

  /** Goes back to a mark at or before an icount, or to the recording's beginning. */
  *#backTo(icount: number): Generator<WayPause, void, void> {
    if (this.timeline.backTo(icount)) this.inspector().restored();
    else yield "restart";
    assert(this.timeline.icount <= icount, "a mark lies where it was asked for");
  }

  /** Looks up between two runs; gives a stop when the replay is over. */
  *#between(stop: ReplayStop): Generator<WayPause, DebugStop | undefined, void> {
    switch (stop.kind) {
      case "budget":
        yield "slice";
        return undefined;
      case "await":
        yield "await";
        return undefined;
      case "reset":
        yield "reset";
        return undefined;
      case "point":
        return undefined;
      case "end":
      case "cut":
      case "diverged":
        return { why: "end", ...this.#place() };
    }
  }

  #takeStop(): PointHit {
    const stop = this.#stop;
    assert(stop !== undefined, "a run that ended at a point says which");
    this.#stop = undefined;
    return stop;
  }

  #stopped(stop: PointHit): DebugStop {
    if (stop.kind === "watchpoint") {
      const { hart, point, address } = stop;
      return { why: "watchpoint", hart, icount: this.timeline.icount, point, address };
    }
    const hart = stop.kind === "breakpoint" ? stop.hart : this.#hart();
    return { why: stop.kind, hart, icount: this.timeline.icount };
  }

  #place(): { readonly hart: number; readonly icount: number } {
    return { hart: this.#hart(), icount: this.timeline.icount };
  }

  #hart(): number {
    const machine: Machine = this.timeline.machine;
    return machine.hart;
  }
}
