/**
 * The loop of a VM world: executes the machine slice by slice, and between slices exchanges what came
 * for it and what it sent out with the kernel world (design.md, Worlds; issue 2, section 5).
 *
 *     look at the mailbox ──► offer events ──► run a slice ──► send outputs ──► idle? sleep ──┐
 *          ▲                                                                                  │
 *          └──────────────────────────────────────────────────────────────────────────────────┘
 *
 * Invariants: nothing here touches the machine but through `MachinePort`; with the virtual clock, host
 * time influences nothing but the moment at which outside input arrives; while the machine waits, the
 * thread sleeps in Atomics.wait.
 */
import { unreachable } from "../base/assert.ts";
import type { HostClock } from "../host/clock.ts";
import type { DebugSide } from "./debug_side.ts";
import { type HostTime, TICKS_PER_MILLISECOND } from "./host_time.ts";
import { IdleLook } from "./idle_memory.ts";
import type { MachineOutput, MachinePort, MachineStats, StopReason } from "./machine_port.ts";
import type { Received, VmMailbox } from "./mailbox.ts";
import { message, TO_KERNEL, TO_VM } from "./protocol.ts";
import { addStats, type EndReport } from "./reports.ts";
import type { SaveSide } from "./save_side.ts";
import { SliceSizer } from "./slices.ts";
import { answerQuestion, sendOutput } from "./vm_answers.ts";
import { VmInputs } from "./vm_inputs.ts";
import type { VmExtras } from "./vm_extras.ts";
import type { VmRecording } from "./vm_recording.ts";

/** How to drive a machine. */
export interface VmSideOptions {
  /** What guest time follows, standing still yet; undefined with the virtual clock. */
  readonly time: HostTime | undefined;
  /** The host's clocks: for the size of slices. */
  readonly hostClock: HostClock;
  /** Parts that few VMs want. */
  readonly extras: VmExtras;
  /** Who records from power-on, if anybody does. */
  readonly recording?: VmRecording | undefined;
  /** Whether to stand still until a debugger comes. */
  readonly waitsForDebugger?: boolean;
  /** What drove the VM until its guest reset itself: what it began goes on. */
  readonly before?: VmSide | undefined;
  /** What freezes the machine, where it was restored; made when it is wanted otherwise. */
  readonly saves?: SaveSide | undefined;
}

/** A wish to freeze the machine. */
interface FreezeWish {
  readonly id: number;
  readonly all: boolean;
  readonly holds: boolean;
}

/** Drives one machine until it ends. */
export class VmSide {
  readonly #machine: MachinePort;
  readonly #mailbox: VmMailbox;
  readonly #clock: HostClock;
  readonly #extras: VmExtras;
  readonly #time: HostTime | undefined;
  #earlier: MachineStats | undefined;
  #recording: VmRecording | undefined;
  /** A recording is wanted; "waits": its folder is being made. */
  #wanted: "drain" | "waits" | undefined;
  #diskRequests = 0;
  readonly #slices = new SliceSizer();
  #inputs = new VmInputs();
  #paused = false;
  #stop = false;
  #debug: DebugSide | undefined;
  #waitsForDebugger: boolean;
  /** The guest reset itself: this is how it ends when its disks are quiet. */
  #reset: EndReport | undefined;
  #saves: SaveSide | undefined;
  readonly #idleLook: IdleLook | undefined;
  #freeze: FreezeWish | undefined;
  /** The machine stands still because it was frozen for good, unless `saveGo` comes. */
  #isHeldFrozen = false;
  /** The machine was frozen, and has not run since. */
  #frozen: { readonly id: number; readonly at: number } | undefined;

  /** Prepares to drive the machine; guest time starts now. */
  constructor(machine: MachinePort, mailbox: VmMailbox, options: VmSideOptions) {
    this.#machine = machine;
    this.#mailbox = mailbox;
    this.#clock = options.hostClock;
    this.#extras = options.extras;
    this.#recording = options.recording;
    this.#waitsForDebugger = options.waitsForDebugger ?? false;
    this.#saves = options.saves;
    const core = machine.machine?.core;
    this.#idleLook = core && new IdleLook(core, options.hostClock);
    if (options.before) this.#goOnFrom(options.before);
    this.#time = options.time;
    this.#time?.go();
  }

  #goOnFrom(before: VmSide): void {
    this.#earlier = before.#stats();
    this.#recording = before.#recording;
    this.#wanted = before.#wanted;
    this.#inputs = before.#inputs;
    this.#inputs.forgetDisks();
    this.#freeze = before.#freeze;
    if (before.#debug) this.#debugBy(before.#debug);
  }

  /** Runs the machine to its end. Rejects with what a broken machine throws. */
  async run(): Promise<EndReport> {
    for (;;) {
      const arrival = this.#machine.arrival?.();
      if (arrival !== undefined) await arrival;
      const bell = this.#mailbox.bell();
      const early = this.#mailbox.takeMessages(
        (got) => this.#receive(got),
        ({ kind }) => this.#extras.has(kind),
      );
      if (early !== undefined) {
        await this.#extras.load(early.kind);
        this.#receive(early);
        continue;
      }
      if (this.#stop) return this.#ended("stopped", 0);
      if (this.#reset === undefined && this.#freeze !== undefined) this.#freezeNow(this.#freeze);
      if (this.#reset === undefined && this.#wanted !== undefined) this.#prepareRecording();
      if (this.#mustStandStill()) {
        this.#standStill(bell);
        continue;
      }
      if (this.#reset !== undefined) return this.#reset;
      this.#inputs.offerTo(this.#machine, this.#mailbox);
      const reason = this.#slice();
      const outputs = this.#machine.takeOutputs();
      this.#recording?.afterSlice();
      this.#send(outputs);
      switch (reason.kind) {
        case "budget":
          break;
        case "idle":
          this.#idle(reason, bell);
          break;
        case "await":
          this.#sleep(bell);
          break;
        case "halted":
          if (reason.why !== "reset") return this.#ended(reason.why, reason.code);
          this.#reset = this.#ended("reset", reason.code);
          break;
        default:
          unreachable();
      }
    }
  }

  #mustStandStill(): boolean {
    if (this.#paused || this.#isHeldFrozen || this.#mailbox.held) return true;
    // What the disks did for this machine is nothing to the one after it, whose requests have the same tags.
    if (this.#reset !== undefined) return this.#diskRequests > 0;
    return this.#waitsForDebugger || this.#debug?.goesOn === false || this.#wanted !== undefined;
  }

  /** The debugger that holds the VM, if one does. */
  get debug(): DebugSide | undefined {
    return this.#debug;
  }

  #debugCall(got: Received): void {
    this.#waitsForDebugger = false;
    if (this.#debug === undefined) {
      this.#debugBy(this.#extras.debugging!.beginDebugging(this.#machine, this.#mailbox));
    }
    if (!this.#debug!.receive(got)) this.#debug = this.#machine.drive = undefined;
  }

  #debugBy(debug: DebugSide): void {
    this.#debug = debug;
    this.#machine.drive = (budget) => debug.run(budget);
  }

  #send(outputs: readonly MachineOutput[]): void {
    for (const output of outputs) {
      if (output.kind === "disk") this.#diskRequests++;
      sendOutput(this.#mailbox, output);
    }
  }

  /** Stands still until no disk request is under way: their results are part of the state. */
  #prepareRecording(): void {
    this.#inputs.offerDiskResults(this.#machine);
    // Also what the end of a request made the device ask for.
    this.#send(this.#machine.takeOutputs());
    const isQuiet = this.#diskRequests === 0 && !this.#inputs.hasDiskResults;
    if (this.#wanted !== "drain" || !isQuiet) return;
    this.#wanted = "waits";
    this.#mailbox.send(TO_KERNEL.recordReady, message());
  }

  #beginRecording(kind: number): void {
    const { beginRecording, SYNC_KINDS } = this.#extras.recording!;
    const sync = SYNC_KINDS[kind]!;
    this.#wanted = undefined;
    this.#recording = beginRecording(this.#machine, this.#mailbox, this.#clock, sync, "state");
  }

  /** Who records now, if anybody does. */
  get recording(): VmRecording | undefined {
    return this.#recording;
  }

  /** Makes what freezes this machine. */
  #saveSide(): SaveSide {
    return this.#saves ??= this.#extras.saving!.saveSideOf(this.#machine, this.#mailbox);
  }

  #freezeNow({ id, all, holds }: FreezeWish): void {
    const at = this.#clock.monotonicMilliseconds();
    // Who a clone is belongs to what it is, though it has not run since it was told.
    if (!this.#inputs.offerIdentities(this.#machine)) return;
    this.#freeze = undefined;
    this.#send(this.#machine.takeOutputs());
    this.#saveSide().freeze(id, all, holds);
    this.#isHeldFrozen = holds;
    this.#frozen = { id, at };
    // A VM that stands still for another reason does not wait for this.
    if (this.#mustStandStill()) this.#thawed(this.#frozen, this.#clock.monotonicMilliseconds());
  }

  #thawed({ id, at }: { readonly id: number; readonly at: number }, now: number): void {
    this.#frozen = undefined;
    this.#mailbox.send(TO_KERNEL.thawed, message("", [id, Math.round((now - at) * 1000)]));
  }

  #slice(): StopReason {
    const machine = this.#machine;
    if (this.#time) machine.anchor(this.#time.ticks());
    const before = machine.icount;
    const started = this.#clock.monotonicMilliseconds();
    if (this.#frozen !== undefined) this.#thawed(this.#frozen, started);
    this.#saves?.tellLearned(started);
    const reason = machine.run(this.#slices.budget);
    this.#slices.record(machine.icount - before, this.#clock.monotonicMilliseconds() - started);
    this.#mailbox.publish(machine.icount);
    return reason;
  }

  #idle(reason: { readonly wakeTicks?: number }, bell: number): void {
    const wake = reason.wakeTicks;
    if (wake === undefined) return this.#sleep(bell);
    if (!this.#time) return this.#machine.skipIdle();
    const milliseconds = (wake - this.#time.ticks()) / TICKS_PER_MILLISECOND;
    if (milliseconds > 0) this.#sleep(bell, milliseconds);
  }

  #sleep(bell: number, milliseconds = Infinity): void {
    const look = this.#idleLook?.look(this.#machine.icount) ?? Infinity;
    const time = Math.min(milliseconds, look);
    this.#mailbox.sleep(bell, this.#recording?.beforeSleep(time) ?? time);
  }

  #standStill(bell: number): void {
    this.#time?.stop();
    this.#mailbox.sleep(bell);
    // Whether to go on is seen after the mailbox was read; time stops again if not.
    this.#time?.go();
  }

  #ended(why: EndReport["why"], code: number): EndReport {
    this.#saves?.tellLearned();
    return { why, code, stats: this.#stats() };
  }

  #stats(): MachineStats {
    const stats = this.#machine.stats();
    return this.#earlier === undefined ? stats : addStats(this.#earlier, stats);
  }

  #receive(got: Received): void {
    switch (got.kind) {
      case TO_VM.pause:
        this.#paused = true;
        this.#mailbox.send(TO_KERNEL.paused, message());
        break;
      case TO_VM.resume:
        this.#paused = false;
        this.#mailbox.send(TO_KERNEL.running, message());
        break;
      case TO_VM.stop:
        this.#stop = true;
        break;
      case TO_VM.query:
        answerQuestion(this.#machine, this.#mailbox, got, () => this.#stats());
        break;
      case TO_VM.recordStart:
        this.#wanted = "drain";
        break;
      case TO_VM.recordGo:
        this.#beginRecording(got.numbers[0] ?? 1);
        break;
      case TO_VM.recordStop:
        this.#wanted = undefined;
        this.#recording?.end("stopped", 0);
        this.#recording = undefined;
        this.#machine.stopRecording?.();
        break;
      case TO_VM.savePrepare:
        this.#saveSide().prepare(got.numbers[0] === 1);
        break;
      case TO_VM.freeze: {
        const [id = 0, all = 1, holds = 0] = got.numbers;
        this.#freeze = { id, all: all !== 0, holds: holds !== 0 };
        break;
      }
      case TO_VM.saveEnded:
        this.#saves?.ended(got.numbers[0] === 1);
        break;
      case TO_VM.saveGo:
        this.#isHeldFrozen = false;
        this.#saves?.goOn();
        break;
      case TO_VM.learn:
        this.#saves!.learn(this.#clock.monotonicMilliseconds() + got.numbers[0]!);
        break;
      case TO_VM.debug:
        this.#debugCall(got);
        break;
      case TO_VM.debugInterrupt:
        this.#debug?.interrupt();
        break;
      case TO_VM.console:
        this.#inputs.addConsole(got);
        break;
      case TO_VM.diskData:
        this.#inputs.addDiskData(got);
        break;
      case TO_VM.diskDone:
        this.#diskRequests--;
        this.#inputs.addDiskDone(got);
        break;
      case TO_VM.frame:
        this.#inputs.addFrame(got);
        break;
      case TO_VM.resize:
        this.#inputs.addResize(got);
        break;
      case TO_VM.identity:
        this.#inputs.addIdentity(got);
        break;
      case TO_VM.wall:
        this.#inputs.addWall(got, this.#time?.ticks() ?? this.#machine.ticks);
        break;
      default:
        unreachable(`message ${got.kind} is unknown to a VM world`);
    }
  }
}
