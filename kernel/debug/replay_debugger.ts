/**
 * A debugger's ways through a replay, forwards and backwards (issue 4, "gdb, both directions"). A way is a
 * generator that yields between slices, so that its owner can look up from it, and returns why it ended.
 *
 * Going backwards is running forwards from earlier and earlier marks: the last point that was hit before
 * the moment of departure is where it ends. A breakpoint stops before its instruction, in both
 * directions; a watchpoint stops behind the access forwards and before it backwards.
 *
 * Invariants: wherever a way ends, the replay is where a run to that icount is; at a breakpoint, where a
 * run with that breakpoint ends.
 */
import { assert } from "../base/assert.ts";
import type { Timeline } from "../checkpoint/timeline.ts";
import type { Machine } from "../machine/machine.ts";
import type { StopReason } from "../machine/turns.ts";
import type { ReplayStop } from "../replay/replayer.ts";
import { type DebuggerStop, type MachineDebugger, PointNote } from "./machine_debugger.ts";
import type { DebugPoint, DebugResume, DebugStop } from "./target.ts";

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
  readonly hart: number;
  readonly point: DebugPoint;
  readonly address: bigint;
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
    // Behind an instruction, what is due comes as it does where a run of so many instructions ends.
    if (stop.kind !== "breakpoint") inspector.run(0);
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
      if (stop.kind !== "point") continue;
      const hit = this.#takeStop();
      if (hit.kind !== "breakpoint") yield* this.#settle();
      return this.#stopped(hit);
    }
  }

  /** Lets happen what is due here, as it is where a run of so many instructions ends. */
  *#settle(): Generator<WayPause, void, void> {
    while (this.timeline.run(0).kind === "await") yield "await";
  }

  /** Goes to an icount, without stopping at points. */
  *#seek(icount: number): Way {
    const goal = Math.max(icount, this.timeline.start);
    const ended = goal < this.timeline.icount
      ? yield* this.#runBackTo(goal)
      : yield* this.#runTo(goal);
    return ended ?? { why: "step", ...this.#place() };
  }

  *#runBackTo(icount: number): Generator<WayPause, DebugStop | undefined, void> {
    yield* this.#backTo(icount);
    return yield* this.#runTo(icount);
  }

  /** Undoes the last instruction that a hart executed, and what others did behind it. */
  *#stepBack(hart: number): Way {
    const { timeline } = this;
    const executed = () => timeline.machine.core.register(hart, "executed");
    const now = timeline.icount;
    const { switchedOn } = timeline;
    const wanted = executed() - 1n;
    if (now === timeline.start) return { why: "start", ...this.#place() };
    if (wanted < 0n) {
      // The hart has done nothing since the guest reset itself, or at all.
      if (switchedOn === 0) return { why: "start", ...this.#place() };
      return yield* this.#seek(switchedOn - 1);
    }
    // Mostly it was the last instruction of all.
    let ended = yield* this.#runBackTo(now - 1);
    if (ended !== undefined || executed() === wanted) {
      return ended ?? { why: "step", hart, icount: timeline.icount };
    }
    // From marks further and further back, until the hart had not executed it yet.
    for (let from = now - 1;;) {
      yield* this.#backTo(from);
      from = timeline.icount - 1;
      if (timeline.icount <= switchedOn || executed() <= wanted) break;
      // The hart has done nothing since the recording began.
      if (timeline.icount === timeline.start) return { why: "start", ...this.#place() };
    }
    ended = yield* this.#runTo(switchedOn);
    while (ended === undefined && executed() < wanted) {
      ended = yield* this.#runTo(timeline.icount + Number(wanted - executed()));
    }
    ended ??= yield* this.#stepOver(hart);
    ended ??= yield* this.#runBackTo(timeline.icount - 1);
    // Whose turn it is was not chosen yet, perhaps.
    return ended ?? { why: "step", hart, icount: timeline.icount };
  }

  /** Runs to behind the next instruction of a hart, past points. */
  *#stepOver(hart: number): Generator<WayPause, DebugStop | undefined, void> {
    for (;;) {
      this.inspector().pointsDo("pass");
      this.#stepHart = hart;
      const stop = this.timeline.run(SLICE);
      this.#stepHart = undefined;
      this.inspector().pointsDo("stop");
      const ended = yield* this.#between(stop);
      if (ended !== undefined) return ended;
      if (stop.kind === "point" && this.#takeStop().kind === "step") return undefined;
    }
  }

  /** Goes back to the last point that was hit before now. */
  *#backward(): Way {
    const { timeline } = this;
    let end = timeline.icount;
    let sought = this.inspector().sought();
    while (end > timeline.start) {
      const chance = timeline.lastChance(end, sought);
      // Before the first mark nobody knows.
      end = chance?.to ?? Math.min(end, timeline.marks[0]?.icount ?? end);
      if (end === timeline.start) break;
      yield* this.#backTo(chance?.from ?? timeline.start);
      const begin = timeline.icount;
      // Where watched addresses lead to may have been another place earlier.
      sought = this.inspector().sought();
      const hit = yield* this.#lastHit(end);
      if (hit !== undefined) return yield* this.#goToHit(hit);
      end = begin;
    }
    yield* this.#backTo(this.timeline.start);
    return { why: "start", ...this.#place() };
  }

  /** Runs forward to an icount; gives the last point that was hit on the way. */
  *#lastHit(end: number): Generator<WayPause, Hit | undefined, void> {
    const note = new PointNote();
    const ended = yield* this.#runTo(end, note);
    const isThere = ended === undefined || this.timeline.icount === end;
    assert(isThere, "what was executed once can be executed again");
    const { point, icount, hart, address } = note;
    if (point === undefined) return undefined;
    // The access is undone, and so the machine is where its instruction begins.
    const isCode = point.kind === "execute";
    return {
      icount: isCode ? icount : Math.max(this.timeline.start, icount - 1),
      hart,
      point,
      address,
    };
  }

  *#goToHit({ icount, hart, point, address }: Hit): Way {
    const ended = yield* this.#runBackTo(icount);
    if (ended !== undefined) return ended;
    if (point.kind !== "execute") return { why: "watchpoint", hart, icount, point, address };
    // The same stop as the one forwards: an interrupt that comes before the instruction was taken.
    const stop = yield* this.#forward(undefined);
    assert(stop.why === "breakpoint" && stop.icount === icount, "what was hit is hit again");
    return stop;
  }

  /**
   * Runs forward to an icount, past points, which are noted if a note is given. Gives a stop when the
   * recording ends before.
   */
  *#runTo(
    icount: number,
    note?: PointNote,
  ): Generator<WayPause, DebugStop | undefined, void> {
    while (this.timeline.icount < icount) {
      // Not kept over a pause: there may be another machine behind it, or nobody who comes back.
      const inspector = this.inspector();
      if (note !== undefined) note.before = this.timeline.switchedOn;
      inspector.pointsDo(note ?? "pass");
      const stop = this.timeline.run(Math.min(SLICE, icount - this.timeline.icount));
      inspector.pointsDo("stop");
      const ended = yield* this.#between(stop);
      if (ended !== undefined) return ended;
    }
    return undefined;
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
