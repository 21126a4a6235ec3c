/**
 * Replays a recording on a machine (issue 4, "Replay"; S20): runs it from one recorded event to the next,
 * delivers each at its own place, and compares what leaves with the output ledger. Knows no files, no
 * worlds and no clock, so it also runs in a browser.
 *
 * Invariants: an event is delivered exactly where its stamp says or not at all; the first difference
 * ends the replay; nothing that happens here depends on how much `run` was asked to run.
 */
import { assert, unreachable } from "../base/assert.ts";
import { Divergence, FormatError, LogExhausted } from "../base/errors.ts";
import type { DirtyPages } from "../memory/dirty_pages.ts";
import type { Machine } from "../machine/machine.ts";
import type { MachineOutput } from "../machine/outputs.ts";
import type { StopReason } from "../machine/turns.ts";
import { Epochs, readEpoch } from "./epochs.ts";
import type { Ledger, LedgerPlace } from "./ledger.ts";
import type { LogCursor, LogPlace, LogReader } from "./log_reader.ts";
import { NondetSource } from "./nondet_source.ts";
import {
  type EndCause,
  EVENT_RECORD,
  type EventRecord,
  type RawRecord,
  readEventRecord,
} from "./record_table.ts";
import { type ReadBase, ReplayDisks } from "./replay_disks.ts";

/** Why a replay stands still. */
export type ReplayStop =
  /** It has run as far as it was asked to. */
  | { readonly kind: "budget" }
  /** It waits for what a disk held. */
  | { readonly kind: "await" }
  /** The guest reset itself: `restart` with a new machine. */
  | { readonly kind: "reset"; readonly wallStart: bigint }
  /** The recording ends here. */
  | { readonly kind: "end"; readonly why: EndCause; readonly code: number }
  /** The recording was cut, or makes no sense from here on: nobody knows what came next. */
  | { readonly kind: "cut"; readonly reason?: string }
  /** The machine did something else than when it was recorded. */
  | { readonly kind: "diverged"; readonly what: string }
  /** Whoever drives the machine wants to stop here; the replay can go on. */
  | { readonly kind: "point" };

/** Where a replay is in its recording, beside what its machine is: what going back needs. */
export interface ReplayPlace {
  readonly events: LogPlace;
  readonly ledger: LedgerPlace | undefined;
  /** Instructions executed before the guest last reset itself. */
  readonly before: number;
  /** Entries of the nondeterminism buffer that were used. */
  readonly entries: number;
  /** Bytes that consoles have sent. */
  readonly bytesSent: number;
}

/** What a replay needs besides its machine. */
export interface ReplayParts {
  readonly events: LogReader;
  /** What left the machine; without it outputs are not compared. */
  readonly ledger?: Ledger;
  /** Reads the disks as they were. */
  readonly readBase: ReadBase;
  /** Sees what leaves the machine, with its icount since the recording began. */
  readonly sent: (output: MachineOutput, icount: number) => void;
  /** Whether the state is compared with the recording's at its epochs. */
  readonly comparesEpochs?: boolean;
  /** Sees the recording's epochs as they are passed. */
  readonly epochPassed?: () => void;
  /** Runs the machine instead of its own `run`; undefined: something wants to stop here. */
  readonly drive?: (machine: Machine, budget: number) => StopReason | undefined;
}

/** Replays one recording. */
export class Replayer {
  /** Where the recording begins: not at 0 when it is of a VM that ran already. */
  readonly start: number;
  readonly disks: ReplayDisks;
  readonly #parts: ReplayParts;
  readonly #cursor: LogCursor;
  #machine: Machine;
  /** Instructions executed before the guest last reset itself. */
  #before = 0;
  #stop: ReplayStop | undefined;
  #epochs: Epochs | undefined;
  readonly #source: NondetSource;
  /** Entries of the buffer that were used before the source was last placed. */
  #entriesBefore = 0;
  #bytesSent = 0;
  /** Epochs at which the state was the recording's. */
  epochsCompared = 0;

  /** The machine is as it was when the recording began. */
  constructor(machine: Machine, parts: ReplayParts) {
    this.#machine = machine;
    this.#parts = parts;
    this.#cursor = parts.events.cursor();
    this.disks = new ReplayDisks(parts.readBase);
    if (parts.comparesEpochs) this.#epochs = new Epochs(machine);
    this.#source = new NondetSource(parts.events);
    this.#feed(0);
    this.start = machine.icount;
  }

  /** The machine. */
  get machine(): Machine {
    return this.#machine;
  }

  /** Pages that were written since the last epoch, if epochs are compared: they go back with the machine. */
  get dirty(): DirtyPages | undefined {
    return this.#epochs?.dirty;
  }

  /** Instructions executed since the recording began. */
  get icount(): number {
    return this.#before + this.#machine.icount;
  }

  /** How it ended, once it has. */
  get ended(): ReplayStop | undefined {
    return this.#stop;
  }

  /** Where it is. */
  get place(): ReplayPlace {
    const { ledger } = this.#parts;
    const entries = this.#entriesBefore + this.#machine.nondeterminism.entriesConsumed;
    return {
      events: this.#cursor.place,
      ledger: ledger?.place,
      before: this.#before,
      entries,
      bytesSent: this.#bytesSent,
    };
  }

  /** The machine and the disks were put back to where they were at a place: goes on from there. */
  goTo({ events, ledger, before, entries, bytesSent }: ReplayPlace): void {
    this.#feed(entries);
    this.#cursor.goTo(events);
    if (ledger !== undefined) this.#parts.ledger?.goTo(ledger);
    this.#before = before;
    this.#bytesSent = bytesSent;
    this.#stop = undefined;
  }

  /** Bytes that consoles have sent since the recording began, those that are being sent included. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  /** Lets the machine do something that takes nothing from the log. */
  aside<T>(body: () => T): T {
    const { entries } = this.place;
    if (this.#machine.config.clock === "exact") this.#machine.nondeterminism.stop();
    const result = body();
    this.#feed(entries);
    return result;
  }

  /** Instructions take their values from the log, behind so many. */
  #feed(entries: number): void {
    if (this.#machine.config.clock !== "exact") return;
    this.#entriesBefore = entries;
    this.#source.goTo(entries);
    this.#machine.nondeterminism.replay(this.#source);
  }

  /** After "reset": the wall clock at which the guest starts again. */
  get resetAt(): bigint {
    assert(this.#stop?.kind === "reset", "the guest has not reset itself");
    return this.#stop.wallStart;
  }

  /** After "reset": goes on with a machine that is at its power-on state. */
  restart(machine: Machine): void {
    assert(this.#stop?.kind === "reset", "the guest has not reset itself");
    const { entries } = this.place;
    this.#before += this.#machine.icount;
    this.disks.forgetRequests();
    this.#machine = machine;
    this.#feed(entries);
    if (this.#epochs !== undefined) this.#epochs = new Epochs(machine);
    this.#stop = undefined;
  }

  /** Runs at most so many instructions. */
  run(budget: number): ReplayStop {
    try {
      return this.#run(budget);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return this.#end({ kind: "cut", reason: error.message });
    }
  }

  #run(budget: number): ReplayStop {
    const end = this.icount + budget;
    for (;;) {
      if (this.#stop !== undefined) return this.#stop;
      const next = this.#cursor.peek();
      if (next === undefined) return this.#end({ kind: "cut" });
      if (next.kind === EVENT_RECORD.nondeterminism) {
        // Read by the buffer's source, when an instruction wants a value.
        this.#cursor.advance();
        continue;
      }
      if (this.#isDue(next)) {
        const stop = this.#deliver(next);
        if (stop === "not yet") return { kind: "await" };
        if (stop !== undefined) return this.#end(stop);
        continue;
      }
      if (this.icount >= end) return { kind: "budget" };
      const stop = this.#advance(Math.min(end, next.stamp.icount), next);
      if (stop === "not yet") {
        // That a request failed is a record; what the others read is in the disks.
        if (!this.#isDue(next) && !this.#deliverDiskResults()) return { kind: "await" };
      } else if (stop?.kind === "point") return stop;
      else if (stop !== undefined) return this.#end(stop);
    }
  }

  #end(stop: ReplayStop): ReplayStop {
    this.#stop = stop;
    return stop;
  }

  #isDue({ stamp }: RawRecord): boolean {
    return stamp.icount === this.icount && stamp.ticks <= this.#machine.ticks();
  }

  /** Runs towards a place, or lets an idle machine's time go on to the next record's. */
  #advance(target: number, next: RawRecord): ReplayStop | "not yet" | undefined {
    const machine = this.#machine;
    // A machine that has to wait for its next event waits at that event's icount.
    const budget = Math.max(1, target - this.icount);
    const { drive } = this.#parts;
    let stop: StopReason | undefined;
    try {
      stop = drive === undefined ? machine.run(budget) : drive(machine, budget);
    } catch (error) {
      if (error instanceof Divergence) return this.#diverged(error.message);
      if (error instanceof LogExhausted) return { kind: "cut", reason: error.message };
      throw error;
    }
    const different = this.takeOutputs();
    if (different !== undefined) return this.#diverged(different);
    if (this.icount > next.stamp.icount) {
      return this.#diverged("the machine goes on where the recording waited");
    }
    if (stop === undefined) return { kind: "point" };
    switch (stop.kind) {
      case "budget":
      case "output":
        return undefined;
      case "await":
        return "not yet";
      case "idle":
        return this.#idle(stop, next);
      case "off":
      case "reset":
        return this.#over(stop);
      default:
        return unreachable();
    }
  }

  #idle(stop: StopReason & { readonly kind: "idle" }, next: RawRecord): ReplayStop | undefined {
    const machine = this.#machine;
    if (next.stamp.icount === this.icount && this.#isDue(next)) return undefined;
    const skips = machine.config.clock === "virtual" && stop.wakeTicks !== Infinity;
    const before = next.stamp.icount > this.icount || stop.wakeTicks <= next.stamp.ticks;
    if (skips && before) {
      machine.skipTo(stop.wakeTicks);
      return undefined;
    }
    return this.#diverged(
      `the machine waits; the recording's next record is at icount ${next.stamp.icount}`,
    );
  }

  /** The machine switched itself off or reset itself: the log says so too, here. */
  #over(stop: StopReason & { readonly kind: "off" | "reset" }): ReplayStop {
    const otherwise = `the machine ${
      stop.kind === "off" ? "switches itself off" : "resets itself"
    }; the recording goes on`;
    for (;;) {
      const raw = this.#cursor.peek();
      // Cut here: nobody knows that it was over.
      if (raw === undefined) return { kind: "cut" };
      const record = readEventRecord(raw);
      if (record.type !== "nondeterminism" && raw.stamp.icount !== this.icount) {
        return this.#diverged(otherwise);
      }
      switch (record.type) {
        case "event":
          return this.#diverged(otherwise);
        case "end":
        case "reset":
          this.#cursor.advance();
          return this.#ended(record);
        case "epoch": {
          const different = this.#compareEpoch(raw.stamp.icount, record.fields);
          if (different === "not yet") {
            return unreachable("a machine that is off waits for no disk");
          }
          if (different !== undefined) return different;
          break;
        }
        default:
          this.#cursor.advance();
      }
    }
  }

  /** The recorded machine was over here. What this one sent last may have been seen before its end was. */
  #mustBeOver(otherwise: string): ReplayStop {
    const stop = this.#machine.run(0);
    if (stop.kind === "off" || stop.kind === "reset") return this.#over(stop);
    return this.#diverged(otherwise);
  }

  #ended(record: EventRecord & { readonly type: "end" | "reset" }): ReplayStop {
    if (record.type === "reset") return { kind: "reset", wallStart: record.wallStart };
    const missing = this.#parts.ledger?.missing();
    if (missing !== undefined) return this.#diverged(`the replay is at its end; ${missing}`);
    return { kind: "end", why: record.why, code: record.code };
  }

  /** Delivers a record whose place this is. "not yet": its disk data has not arrived. */
  #deliver(raw: RawRecord): ReplayStop | "not yet" | undefined {
    const record = readEventRecord(raw);
    switch (record.type) {
      case "event": {
        const stop = this.#deliverEvent(raw, record);
        if (stop === undefined) this.#cursor.advance();
        return stop;
      }
      case "nondeterminism":
        return unreachable();
      case "reached":
        this.#cursor.advance();
        return undefined;
      case "epoch": {
        return this.#compareEpoch(raw.stamp.icount, record.fields);
      }
      case "end":
        if (record.why === "power-off" || record.why === "reset") {
          return this.#mustBeOver("the machine goes on; the recording was over");
        }
        this.#cursor.advance();
        return this.#ended(record);
      case "reset":
        return this.#mustBeOver("the machine goes on; the recording's guest reset itself");
    }
  }

  #compareEpoch(icount: number, fields: readonly unknown[]): ReplayStop | "not yet" | undefined {
    if (this.#epochs !== undefined) {
      while (!this.#machine.settle()) {
        if (!this.#deliverDiskResults()) return "not yet";
      }
      const recorded = readEpoch(icount - this.#before, fields);
      const different = this.#epochs.compare(recorded);
      if (different !== undefined) return this.#diverged(different);
      this.epochsCompared++;
    }
    this.#parts.epochPassed?.();
    this.#cursor.advance();
    return undefined;
  }

  #deliverEvent(
    { stamp }: RawRecord,
    { event, taken }: EventRecord & { readonly type: "event" },
  ): ReplayStop | "not yet" | undefined {
    const machine = this.#machine;
    if (event.kind === "disk" && machine.config.clock === "virtual") {
      this.disks.fail(machine.device(event.device).disk, event.tag);
      machine.gate.deliver(event);
      return undefined;
    }
    while (!machine.settle()) {
      if (!this.#deliverDiskResults()) return "not yet";
    }
    const now = machine.gate.stamp();
    if (now.ticks !== stamp.ticks || now.hart !== stamp.hart) {
      return this.#diverged(
        `guest time is ${now.ticks} at hart ${now.hart}'s turn; ` +
          `the recording has ${stamp.ticks} at hart ${stamp.hart}'s`,
      );
    }
    let whole = event;
    if (event.kind === "disk") {
      const { disk } = machine.device(event.device);
      if (event.status !== 0) this.disks.fail(disk, event.tag);
      else {
        let outcome = this.disks.finish(disk, event.tag);
        if (outcome === undefined) {
          // The end of an earlier request may have made the device ask for this one, here.
          const different = this.takeOutputs();
          if (different !== undefined) return this.#diverged(different);
          outcome = this.disks.finish(disk, event.tag);
        }
        if (outcome === undefined) return "not yet";
        whole = { ...event, ...outcome.data && { data: outcome.data } };
      }
    }
    const got = machine.gate.deliver(whole);
    return got === taken
      ? undefined
      : this.#diverged(`a device takes ${got} of what came in; the recording's took ${taken}`);
  }

  /** Under the virtual clock results wait in the machine for their guest time. True if there was one. */
  #deliverDiskResults(): boolean {
    if (this.#machine.config.clock !== "virtual") return false;
    const complete = this.disks.complete();
    for (const { disk, tag } of complete) {
      const { status, data } = this.disks.finish(disk, tag)!;
      const device = `disk${disk}`;
      this.#machine.gate.deliver({ kind: "disk", device, tag, status, ...data && { data } });
    }
    return complete.length > 0;
  }

  /** Sends what left the machine on; gives what differs from the recording. */
  takeOutputs(): string | undefined {
    for (const output of this.#machine.takeOutputs()) {
      const icount = this.#before + output.stamp.icount;
      const different = this.#parts.ledger?.difference(output, icount);
      if (different !== undefined) return `at icount ${icount} ${different}`;
      if (output.kind === "disk") this.disks.submit(output.disk, output.request);
      if (output.kind === "bytes") this.#bytesSent += output.bytes.length;
      this.#parts.sent(output, icount);
    }
    return undefined;
  }

  #diverged(what: string): ReplayStop {
    return { kind: "diverged", what };
  }
}
