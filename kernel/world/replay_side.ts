/**
 * The loop of a VM world that replays a recording: as vm_side.ts, but what comes into the machine comes
 * from the recording's log (issue 4, "Replay").
 *
 * Invariants: nothing from outside reaches the machine; what a replayed disk held is asked for and waited
 * for, and never changes what the guest sees; frames that the machine sends go nowhere.
 */
import { unreachable } from "../base/assert.ts";
import type { HostClock } from "../host/clock.ts";
import type { Machine } from "../machine/machine.ts";
import { LogReader } from "../replay/log_reader.ts";
import type { Decompress } from "../replay/log_reader.ts";
import { Ledger } from "../replay/ledger.ts";
import { Replayer, type ReplayStop } from "../replay/replayer.ts";
import { TICKS_PER_MILLISECOND } from "./host_time.ts";
import type { MachinePort } from "./machine_port.ts";
import type { Received, VmMailbox } from "./mailbox.ts";
import { concatBytes } from "../base/bytes.ts";
import { message, TO_KERNEL, TO_VM } from "./protocol.ts";
import type { EndReport, ReplayReport } from "./reports.ts";
import { SliceSizer } from "./slices.ts";
import { answerQuestion, sendOutput } from "./vm_answers.ts";

/** What is to be replayed, and how. */
export interface ReplayStart {
  /** Segments of the event log. */
  readonly events: readonly Uint8Array<ArrayBuffer>[];
  /** Segments of the output ledger. */
  readonly outputs: readonly Uint8Array<ArrayBuffer>[];
  /** Whether outputs and digests of the state are compared with the recording's. */
  readonly verify: boolean;
  /** icount to stop at; undefined: the end. */
  readonly to: number | undefined;
  /** Whether guest time is held back to the speed of the host's. */
  readonly realTime: boolean;
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
  /** A new machine at its power-on state, for a guest that reset itself. */
  readonly again: (wallStart: bigint) => Promise<ReplayedMachine>;
}

/** Longest sleep of a replay that is held back, in milliseconds: it looks at its mailbox then. */
const LONGEST_SLEEP = 100;

/** Replays one recording. */
export class ReplaySide {
  readonly #world: ReplayWorld;
  readonly #start: ReplayStart;
  readonly #replayer: Replayer;
  readonly #slices = new SliceSizer();
  readonly #wanted = new Map<number, (data: Uint8Array | undefined) => void>();
  readonly #arriving = new Map<number, Uint8Array[]>();
  readonly #torn: string | undefined;
  #machine: ReplayedMachine;
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
    const events = new LogReader("events", start.events, world.unpack);
    const outputs = new LogReader("outputs", start.outputs, world.unpack);
    this.#torn = events.torn?.reason;
    this.#replayer = new Replayer(machine.machine, {
      events,
      ...start.verify && { ledger: new Ledger(outputs.cursor()), comparesEpochs: true },
      readBase: (disk, sector, bytes, arrived) => this.#want(disk, sector, bytes, arrived),
      sent: (output) => {
        if (output.kind === "bytes") sendOutput(world.mailbox, { ...output, kind: "console" });
      },
    });
  }

  /** Replays to the end, or to where it is to stop. */
  async run(): Promise<EndReport> {
    const { mailbox } = this.#world;
    for (;;) {
      const arrival = this.#machine.arrival?.();
      if (arrival !== undefined) await arrival;
      const bell = mailbox.bell();
      this.#readMailbox();
      if (this.#stop) return this.#ended("stopped", 0);
      if (this.#paused || mailbox.held) {
        mailbox.sleep(bell);
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
          this.#machine = await this.#world.again(stop.wallStart);
          this.#replayer.restart(this.#machine.machine);
          break;
        case "end":
        case "cut":
        case "diverged":
          return this.#replayed(stop);
        default:
          unreachable();
      }
    }
  }

  #atTarget(): boolean {
    const { to } = this.#start;
    return to !== undefined && this.#replayer.icount >= to;
  }

  #slice(): ReplayStop {
    const { clock, mailbox } = this.#world;
    const { to } = this.#start;
    const before = this.#replayer.icount;
    const started = clock.monotonicMilliseconds();
    const most = to === undefined ? Infinity : to - before;
    const stop = this.#replayer.run(Math.min(this.#slices.budget, most));
    const executed = this.#replayer.icount - before;
    this.#slices.record(executed, clock.monotonicMilliseconds() - started);
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

  #replayed(
    stop: Extract<ReplayStop, { kind: ReplayReport["kind"] }> | { kind: "reached" },
  ): EndReport {
    const report: ReplayReport = {
      ...stop,
      icount: this.#replayer.icount,
      epochs: this.#replayer.epochsCompared,
      ...stop.kind === "cut" && { reason: this.#torn ?? "the recording was never ended" },
    };
    const code = stop.kind === "end" ? stop.code : 0;
    return { ...this.#ended("replayed", code), replay: report };
  }

  #readMailbox(): void {
    const { mailbox } = this.#world;
    let count = 0;
    for (let got = mailbox.receive(); got; got = mailbox.receive()) {
      this.#receive(got);
      count++;
    }
    if (count > 0) mailbox.ringPeer();
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
      case TO_VM.baseData:
        this.#arrived(got);
        break;
      default:
        // What is typed at a replay, and the like: the recording has its own.
        break;
    }
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
