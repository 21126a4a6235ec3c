/**
 * A debugger's walk through a recording in memory, and what it is held to: plain replays that only go
 * forward. What a VM world does around a ReplayDebugger (kernel/world/replay_side.ts) is done here in its
 * simplest form.
 */
import { assert, unreachable } from "../../kernel/base/assert.ts";
import { latin1 } from "../../kernel/base/bytes.ts";
import { Timeline, type TimelineOptions } from "../../kernel/checkpoint/timeline.ts";
import { MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import { ReplayDebugger } from "../../kernel/debug/replay_debugger.ts";
import type { DebugPoint, DebugResume, DebugStop } from "../../kernel/debug/target.ts";
import { hostCompression } from "../../kernel/host/compression.ts";
import type { MachineConfig } from "../../kernel/machine/machine.ts";
import { Ledger } from "../../kernel/replay/ledger.ts";
import { LogReader } from "../../kernel/replay/log_reader.ts";
import { Replayer } from "../../kernel/replay/replayer.ts";
import { SentOnce } from "../../kernel/replay/sent_once.ts";
import { testMachine } from "./machine.ts";
import type { TestRecording } from "./recording.ts";

/** A replay that a debugger holds. */
export class ReplayWalk {
  readonly timeline: Timeline;
  /** How often the recording began anew. */
  restarts = 0;
  readonly #debugger: ReplayDebugger;
  readonly #sent = new SentOnce();
  readonly #text: string[] = [];
  #replayer: Replayer;
  #inspector: MachineDebugger;

  constructor(
    private readonly recording: TestRecording,
    private readonly options: Partial<MachineConfig>,
    history: TimelineOptions,
    private readonly compares: boolean = false,
  ) {
    [this.#replayer, this.#inspector] = this.#begin();
    this.timeline = new Timeline(this.#replayer, history);
    this.#debugger = new ReplayDebugger(this.timeline, () => this.#inspector);
  }

  /** What left it, each byte once. */
  get console(): string {
    return this.#text.join("");
  }

  /** Instructions executed. */
  get icount(): number {
    return this.timeline.icount;
  }

  /** The debugger of the machine that runs now. */
  get inspector(): MachineDebugger {
    return this.#inspector;
  }

  /** Digest of the machine as it stands. */
  digest(): string {
    return this.timeline.machine.digest();
  }

  /** Registers of all harts as they stand. */
  registers(): string {
    const { core, config } = this.timeline.machine;
    const harts = Array.from({ length: config.harts }, (_, hart) => {
      const x = Array.from({ length: 32 }, (_, i) => core.register(hart, "x", i).toString(16));
      return `${core.register(hart, "pc").toString(16)} ${core.register(hart, "executed")} ${x}`;
    });
    return harts.join("\n");
  }

  /** Goes a way to its end. */
  go(how: DebugResume | { readonly seek: number }): DebugStop {
    const way = this.#debugger.way(how);
    for (;;) {
      const { done, value } = way.next();
      if (done) return value;
      if (value === "restart") this.#restart();
      else assert(value === "slice", `a pause for ${value}`);
    }
  }

  #restart(): void {
    this.restarts++;
    const { points } = this.#inspector;
    [this.#replayer, this.#inspector] = this.#begin();
    for (const { point, space } of points) this.#inspector.addPoint(point, space);
    this.timeline.restart(this.#replayer);
  }

  #begin(): [Replayer, MachineDebugger] {
    const machine = testMachine({ ...this.recording.config, ...this.options });
    const { events, outputs } = this.recording.segments;
    const replayer: Replayer = new Replayer(machine, {
      events: new LogReader("events", events, hostCompression.unpack),
      readBase: (_disk, sector, bytes, arrived) =>
        arrived(this.recording.disk.slice(sector * 512, sector * 512 + bytes)),
      sent: (output) => {
        if (output.kind !== "bytes") return;
        this.#text.push(latin1(this.#sent.fresh(output.bytes, replayer.bytesSent)));
      },
      drive: (_machine, budget) => this.#debugger.drive(budget),
      // Whatever differs ends the replay.
      ledger: new Ledger(new LogReader("outputs", outputs, hostCompression.unpack).cursor()),
      comparesEpochs: this.compares,
    });
    return [replayer, new MachineDebugger(machine)];
  }
}

/** A stop of a run with points. */
export interface PlainHit {
  readonly why: "breakpoint" | "watchpoint";
  /** Where it ended. */
  readonly icount: number;
  readonly hart: number;
  /** Registers there. */
  readonly registers: string;
}

/** Runs a recording forward, with points, and gives their hits; undefined when there are more than so many. */
export function plainHits(
  recording: TestRecording,
  points: readonly DebugPoint[],
  most: number,
): PlainHit[] | undefined {
  const walk = plainWalk(recording);
  for (const point of points) walk.inspector.addPoint(point);
  const hits: PlainHit[] = [];
  for (;;) {
    const stop = walk.go({ direction: "forward" });
    if (stop.why === "end") return hits;
    if (hits.length >= most) return undefined;
    if (stop.why !== "breakpoint" && stop.why !== "watchpoint") return unreachable();
    hits.push({ why: stop.why, icount: stop.icount, hart: stop.hart, registers: walk.registers() });
  }
}

/** Digests at icounts, by a run that only goes forward. */
export function plainDigests(
  recording: TestRecording,
  icounts: Iterable<number>,
): Map<number, string> {
  const walk = plainWalk(recording);
  const digests = new Map<number, string>();
  for (const icount of [...icounts].sort((a, b) => a - b)) {
    walk.go({ seek: icount });
    digests.set(icount, walk.digest());
  }
  return digests;
}

/** A walk in the interpreter that will not go back: no marks after the first. */
function plainWalk(recording: TestRecording): ReplayWalk {
  return new ReplayWalk(recording, { tier: "interpreter" }, { limitBytes: 0, spacing: 2 ** 50 });
}
