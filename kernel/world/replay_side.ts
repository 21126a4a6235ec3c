/**
 * The loop of a VM world that replays a recording: as vm_side.ts, but what comes into the machine comes
 * from the recording's log (issue 4, "Replay").
 *
 * Invariants: nothing from outside reaches the machine; what a replayed disk held is asked for and waited
 * for, and never changes what the guest sees; frames that the machine sends go nowhere.
 */
import { assert, unreachable } from "../base/assert.ts";
import type { HostClock } from "../host/clock.ts";
import { Timeline } from "../checkpoint/timeline.ts";
import { readMemory } from "../debug/hart_memory.ts";
import { MachineDebugger } from "../debug/machine_debugger.ts";
import { ReplayDebugger, type Way } from "../debug/replay_debugger.ts";
import type { ReplayEnding } from "../debug/plugin.ts";
import type { LoadedPlugin, PluginStop } from "../debug/plugin_host.ts";
import type { GuestSymbol } from "../debug/symbol_table.ts";
import type { Machine } from "../machine/machine.ts";
import { Snapshots } from "../machine/snapshot.ts";
import type { PointStop, StopReason } from "../machine/turns.ts";
import { ReplayCores } from "../replay/replay_core.ts";
import { LogReader } from "../replay/log_reader.ts";
import type { Decompress } from "../replay/log_reader.ts";
import { Ledger } from "../replay/ledger.ts";
import { restoreState } from "../replay/start_state.ts";
import { Replayer, type ReplayStop } from "../replay/replayer.ts";
import { SentOnce } from "../replay/sent_once.ts";
import { type DebugDriver, DebugSide } from "./debug_side.ts";
import { TICKS_PER_MILLISECOND } from "./host_time.ts";
import type { MachinePort } from "./machine_port.ts";
import type { Received, VmMailbox } from "./mailbox.ts";
import { concatBytes } from "../base/bytes.ts";
import { PluginSide, type PluginSource } from "./plugin_side.ts";
import { message, parts, TO_KERNEL, TO_VM } from "./protocol.ts";
import { ReplayLearner, type ReplayLearning } from "./replay_learner.ts";
import type { EndReport, ReplayReport } from "./reports.ts";
import { SliceSizer } from "./slices.ts";
import { answerQuestion, sendOutput } from "./vm_answers.ts";

/** What is to be replayed, and how. */
export interface ReplayStart {
  /** Segments of the event log. */
  readonly events: readonly Uint8Array<ArrayBuffer>[];
  /** Segments of the state that it begins from; none: power-on. */
  readonly state: readonly Uint8Array<ArrayBuffer>[];
  /** Segments of the output ledger. */
  readonly outputs: readonly Uint8Array<ArrayBuffer>[];
  /** Whether outputs and digests of the state are compared with the recording's. */
  readonly verify: boolean;
  /** icount to stop at; undefined: the end. */
  readonly to: number | undefined;
  /** Whether guest time is held back to the speed of the host's. */
  readonly realTime: boolean;
  /** Most bytes of memory that going back may take. */
  readonly historyBytes: number;
  /** Whether replay-only code runs. */
  readonly replayOnly: boolean;
  /** Who observes; nobody goes back then. */
  readonly plugins: readonly PluginSource[];
  /** Names of addresses, for plugins. */
  readonly symbols: readonly GuestSymbol[] | undefined;
  /** What to learn of the pages that it uses, with nobody who goes back; it ends then. */
  readonly learn: ReplayLearning | undefined;
}

/** A machine that can be replayed. */
export interface ReplayedMachine extends MachinePort {
  readonly machine: Machine;
}

/** What the loop needs of its world. */
export interface ReplayWorld {
  readonly mailbox: VmMailbox;
  readonly clock: HostClock;
  readonly unpack: Decompress;
  /** Whether to stand still until a debugger comes. */
  readonly waitsForDebugger: boolean;
  /**
   * A new machine at its power-on state: with another wall clock for a guest that reset itself, with the
   * recording's for a recording that begins anew.
   */
  readonly again: (wallStart: bigint | undefined) => Promise<ReplayedMachine>;
  /** The plugins of the start message. */
  readonly plugins: readonly LoadedPlugin[];
}

/** Longest sleep of a replay that is held back, in milliseconds: it looks at its mailbox then. */
const LONGEST_SLEEP = 100;

/** Replays one recording. */
export class ReplaySide {
  readonly #world: ReplayWorld;
  readonly #start: ReplayStart;
  readonly #events: LogReader;
  readonly #outputs: LogReader;
  readonly #slices = new SliceSizer();
  readonly #wanted = new Map<number, (data: Uint8Array | undefined) => void>();
  readonly #arriving = new Map<number, Uint8Array[]>();
  readonly #torn: string | undefined;
  readonly #plugins: PluginSide | undefined;
  #machine: ReplayedMachine;
  #replayer: Replayer;
  #inspector: MachineDebugger;
  #cores: ReplayCores;
  #timeline: Timeline | undefined;
  #debug: DebugSide | undefined;
  #debugger: ReplayDebugger | undefined;
  /** The debugger's way that is under way. */
  #way: Way | undefined;
  #waitsForDebugger: boolean;
  readonly #learner: ReplayLearner | undefined;
  /** What left the replay before it last went back does not leave it again. */
  readonly #sent = new SentOnce();
  /** icount behind the last replay-only code that was told of. */
  #lastCore = -1;
  #nextId = 1;
  #paused = false;
  #stop = false;
  /** Host and guest time at which a replay that is held back began. */
  #pace: { readonly milliseconds: number; readonly ticks: number } | undefined;

  /** The machine is as the recording began. Throws FormatError for a damaged log. */
  constructor(machine: ReplayedMachine, start: ReplayStart, world: ReplayWorld) {
    this.#machine = machine;
    this.#start = start;
    this.#world = world;
    this.#waitsForDebugger = world.waitsForDebugger;
    this.#events = new LogReader("events", start.events, world.unpack);
    this.#outputs = new LogReader("outputs", start.outputs, world.unpack);
    this.#torn = this.#events.torn?.reason;
    this.#goToStart();
    this.#learner = start.learn && new ReplayLearner(start.learn);
    this.#replayer = this.#newReplayer();
    this.#inspector = new MachineDebugger(machine.machine);
    this.#cores = this.#newCores();
    if (world.plugins.length === 0) return;
    this.#plugins = new PluginSide(world.mailbox, start.symbols);
    this.#plugins.host.moveTo(this.#inspector, 0);
    this.#plugins.host.start(world.plugins);
  }

  /** A machine at its power-on state becomes what it was when the recording began. */
  #goToStart(): void {
    const { state } = this.#start;
    if (state.length === 0) return;
    restoreState(this.#machine.machine, new LogReader("state", state, this.#world.unpack));
  }

  #newReplayer(): Replayer {
    const { verify } = this.#start;
    const { mailbox } = this.#world;
    return new Replayer(this.#machine.machine, {
      events: this.#events,
      ...verify && { ledger: new Ledger(this.#outputs.cursor()), comparesEpochs: true },
      readBase: (disk, sector, bytes, arrived) => this.#want(disk, sector, bytes, arrived),
      epochPassed: () => this.#plugins?.host.tell("epoch", undefined),
      sent: (output, icount) => {
        this.#plugins?.host.sent(output, icount);
        this.#plugins?.flush();
        if (output.kind !== "bytes") return;
        const bytes = this.#sent.fresh(output.bytes, this.#replayer.bytesSent);
        if (bytes.length > 0) sendOutput(mailbox, { ...output, kind: "console", bytes });
      },
      drive: (_machine, budget) => this.#drive(budget),
    });
  }

  #newCores(): ReplayCores {
    const { machine } = this.#machine;
    const { dirty } = this.#replayer;
    const snapshots = this.#timeline?.snapshots ??
      new Snapshots(machine, { limitBytes: this.#start.historyBytes, ...dirty && { dirty } });
    const cores = new ReplayCores(
      machine,
      snapshots,
      readMemory,
      (body) => {
        const aside = () => this.#replayer.aside(body);
        return this.#plugins === undefined ? aside() : this.#plugins.host.aside(aside);
      },
    );
    cores.stopAtMarkers(this.#start.replayOnly);
    return cores;
  }

  /** Replays to the end, or to where it is to stop. */
  async run(): Promise<EndReport> {
    const { mailbox } = this.#world;
    for (;;) {
      const arrival = this.#machine.arrival?.();
      if (arrival !== undefined) await arrival;
      const bell = mailbox.bell();
      mailbox.takeMessages((got) => this.#receive(got));
      if (this.#stop) return this.#ended("stopped", 0);
      if (this.#paused || mailbox.held) {
        mailbox.sleep(bell);
        continue;
      }
      if (this.#waitsForDebugger || this.#debug !== undefined) {
        await this.#debugged(bell);
        continue;
      }
      const stop = this.#slice();
      switch (stop.kind) {
        case "budget":
          if (this.#atTarget()) return this.#replayed({ kind: "reached" });
          this.#holdBack(bell);
          break;
        case "await":
          mailbox.sleep(bell);
          break;
        case "reset":
          await this.#reset(stop.wallStart);
          break;
        case "point":
          return this.#stoppedByPlugin();
        case "end":
        case "cut":
        case "diverged":
          return this.#replayed(stop);
        default:
          unreachable();
      }
    }
  }

  /** Stands still for the debugger, or goes a bit of the way that it asked for. */
  async #debugged(bell: number): Promise<void> {
    const { mailbox } = this.#world;
    const debug = this.#debug;
    if (debug === undefined || !debug.goesOn || this.#way === undefined) return mailbox.sleep(bell);
    const { done, value } = this.#way.next();
    mailbox.publish(this.#replayer.icount);
    if (done) {
      this.#way = undefined;
      return debug.stopped(value);
    }
    switch (value) {
      case "slice":
        break;
      case "await":
        mailbox.sleep(bell);
        break;
      case "reset":
        await this.#reset(this.#replayer.resetAt);
        break;
      case "restart":
        await this.#restart();
        break;
    }
  }

  /** The guest reset itself. */
  async #reset(wallStart: bigint): Promise<void> {
    this.#machine = await this.#world.again(wallStart);
    this.#replayer.restart(this.#machine.machine);
    this.#timeline?.reset();
    this.#newMachine();
    this.#plugins?.host.moveTo(this.#inspector, this.#replayer.icount);
  }

  /** The recording begins anew. */
  async #restart(): Promise<void> {
    this.#machine = await this.#world.again(undefined);
    this.#goToStart();
    this.#replayer = this.#newReplayer();
    this.#timeline?.restart(this.#replayer);
    this.#newMachine();
  }

  #newMachine(): void {
    this.#inspector = new MachineDebugger(this.#machine.machine);
    this.#cores = this.#newCores();
    this.#debug?.moveTo(this.#inspector);
  }

  /** Runs the machine for the replayer: through replay-only code, and to where a debugger wants to stop. */
  #drive(budget: number): StopReason | undefined {
    const { machine } = this.#machine;
    const end = machine.icount + budget;
    for (;;) {
      const left = end - machine.icount;
      const stop = this.#run(left);
      if (stop?.kind !== "marker") return stop;
      this.#passMarker(stop);
      if (machine.icount >= end) return { kind: "budget" };
    }
  }

  #run(budget: number): StopReason | undefined {
    if (this.#plugins !== undefined) return this.#plugins.host.run(budget);
    if (this.#debugger !== undefined) return this.#debugger.drive(budget);
    return this.#machine.machine.run(budget);
  }

  #passMarker(stop: PointStop & { readonly kind: "marker" }): void {
    // What left before the core leaves now, because what leaves in it goes elsewhere.
    const different = this.#replayer.takeOutputs();
    assert(different === undefined, "outputs differ");
    const { icount } = this.#replayer;
    const report = this.#cores.pass(stop);
    if (report === undefined || icount <= this.#lastCore) return;
    this.#lastCore = icount;
    const { executed, hart, pc, ended, output } = report;
    const pcWords = [Number(pc >> 32n), Number(pc & 0xffff_ffffn)];
    // What printed nothing is reported all the same.
    const all = output.length === 0 ? [output] : [...parts(output)];
    for (const [i, part] of all.entries()) {
      const more = i + 1 < all.length ? 1 : 0;
      const numbers = [icount, executed, hart, more, ...pcWords];
      this.#world.mailbox.send(TO_KERNEL.replayOnly, message(ended, numbers, part));
    }
  }

  #atTarget(): boolean {
    const { to } = this.#start;
    if (this.#learner?.look(this.#machine.machine, this.#replayer.icount)) return true;
    return to !== undefined && this.#replayer.icount >= to;
  }

  #slice(): ReplayStop {
    const { clock, mailbox } = this.#world;
    const { to } = this.#start;
    const before = this.#replayer.icount;
    const started = clock.monotonicMilliseconds();
    const most = Math.min(
      to === undefined ? Infinity : to - before,
      this.#learner?.most(before) ?? Infinity,
    );
    // A debugger that went back and left is followed by what has left the machine before.
    const stop = (this.#timeline ?? this.#replayer).run(Math.min(this.#slices.budget, most));
    const executed = this.#replayer.icount - before;
    this.#slices.record(executed, clock.monotonicMilliseconds() - started);
    this.#plugins?.flush();
    mailbox.publish(this.#replayer.icount);
    return stop;
  }

  #holdBack(bell: number): void {
    if (!this.#start.realTime) return;
    const now = this.#world.clock.monotonicMilliseconds();
    const { ticks } = this.#machine;
    this.#pace ??= { milliseconds: now, ticks };
    const passed = (ticks - this.#pace.ticks) / TICKS_PER_MILLISECOND;
    const ahead = this.#pace.milliseconds + passed - now;
    if (ahead > 1) this.#world.mailbox.sleep(bell, Math.min(ahead, LONGEST_SLEEP));
  }

  #ended(why: EndReport["why"], code: number): EndReport {
    return { why, code, stats: this.#machine.stats() };
  }

  /** A plugin wants the replay to end here. */
  #stoppedByPlugin(): EndReport {
    const stop = this.#plugins?.host.stop;
    assert(stop !== undefined, "nobody else wants to stop");
    return this.#replayed(stop);
  }

  #replayed(stop: Finish): EndReport {
    this.#learner?.tell(this.#world.mailbox);
    this.#plugins?.host.ended(endingOf(stop));
    this.#plugins?.flush();
    // A plugin may fail in its last hook, too.
    const failed = this.#plugins?.host.stop;
    if (failed !== undefined && failed !== stop) return this.#reported(failed);
    return this.#reported(stop);
  }

  #reported(stop: Finish): EndReport {
    const report: ReplayReport = {
      ...stop,
      icount: this.#replayer.icount,
      epochs: this.#replayer.epochsCompared,
      ...stop.kind === "cut" && {
        reason: stop.reason ?? this.#torn ?? "the recording was never ended",
      },
    };
    const code = stop.kind === "end" ? stop.code : 0;
    return { ...this.#ended("replayed", code), replay: report };
  }

  #receive(got: Received): void {
    const { mailbox } = this.#world;
    switch (got.kind) {
      case TO_VM.pause:
        this.#paused = true;
        mailbox.send(TO_KERNEL.paused, message());
        break;
      case TO_VM.resume:
        this.#paused = false;
        mailbox.send(TO_KERNEL.running, message());
        break;
      case TO_VM.stop:
        this.#stop = true;
        break;
      case TO_VM.query:
        answerQuestion(this.#machine, mailbox, got, () => this.#machine.stats());
        break;
      case TO_VM.debug:
        this.#debugCall(got);
        break;
      case TO_VM.debugInterrupt:
        if (this.#way !== undefined) {
          this.#way = undefined;
          this.#debug?.interrupt();
        }
        break;
      case TO_VM.baseData:
        this.#arrived(got);
        break;
      default:
        // What is typed at a replay, and the like: the recording has its own.
        break;
    }
  }

  #debugCall(got: Received): void {
    this.#waitsForDebugger = false;
    if (this.#debug === undefined) {
      const { historyBytes } = this.#start;
      this.#timeline?.end();
      this.#timeline = new Timeline(this.#replayer, { limitBytes: historyBytes });
      this.#cores = this.#newCores();
      this.#debugger = new ReplayDebugger(this.#timeline, () => this.#inspector);
      this.#debug = new DebugSide(this.#inspector, this.#driver(), this.#world.mailbox);
    }
    if (this.#debug.receive(got)) return;
    // The debugger left: the replay goes on to its end.
    this.#debug = this.#debugger = this.#way = undefined;
    this.#timeline?.end();
    this.#cores = this.#newCores();
  }

  #driver(): DebugDriver {
    const icount = () => this.#replayer.icount;
    return {
      replaying: true,
      stepHart: undefined,
      icount,
      begin: (how) => this.#way = this.#debugger!.way(how),
      checkpoints: () => this.#timeline!.marks,
      info: () => {
        const { marks } = this.#timeline!;
        const bytes = marks.reduce((sum, mark) => sum + mark.bytes, 0);
        return `replay, ${icount()} instructions executed; ${marks.length} checkpoints hold ` +
          `${Math.ceil(bytes / 2 ** 20)} MiB${endText(this.#replayer.ended)}\n`;
      },
    };
  }

  #want(
    disk: number,
    sector: number,
    bytes: number,
    arrived: (data: Uint8Array | undefined) => void,
  ): void {
    const id = this.#nextId++;
    this.#wanted.set(id, arrived);
    this.#world.mailbox.send(TO_KERNEL.baseWanted, message("", [id, disk, sector, bytes]));
  }

  #arrived({ numbers: [id = 0, more = 0, failed = 0], bytes }: Received): void {
    const parts = this.#arriving.get(id) ?? [];
    parts.push(bytes);
    if (more !== 0) return void this.#arriving.set(id, parts);
    this.#arriving.delete(id);
    const arrived = this.#wanted.get(id);
    this.#wanted.delete(id);
    arrived?.(failed !== 0 ? undefined : concatBytes(parts));
  }
}

/** How a replay can end. */
type Finish = Extract<ReplayStop, { kind: ReplayReport["kind"] }> | PluginStop | {
  readonly kind: "reached";
};

/** What plugins are told of the end. */
function endingOf(stop: Finish): ReplayEnding {
  if (stop.kind === "end") return Object.freeze({ ...stop });
  return Object.freeze({ kind: stop.kind === "plugin failed" ? "stopped" : stop.kind });
}

/** For a debugger, which only learns that there is nothing more to execute. */
function endText(stop: ReplayStop | undefined): string {
  switch (stop?.kind) {
    case "diverged":
      return `; it differs from the recording: ${stop.what}`;
    case "cut":
      return `; the recording is cut here${stop.reason === undefined ? "" : `: ${stop.reason}`}`;
    case "end":
      return "; the recording ends here";
    default:
      return "";
  }
}
