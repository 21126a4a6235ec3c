/**
 * Replay-only code (S13): when a replay comes to a core's begin marker, the machine is saved, the core
 * runs with interrupts held and a budget, and the machine is put back and goes on (S13.4). What the core
 * prints goes to a side channel, which is not put back (S13.7).
 *
 * Invariants: behind a core the machine is what it was before, its icount included (S13.8); a core takes
 * nothing from the log (S13.6); whatever it does, it ends.
 */
import { concatBytes } from "../base/bytes.ts";
import { CORE_OFFSET } from "../cpu/isa/marker.ts";
import type { Machine } from "../machine/machine.ts";
import type { Snapshots } from "../machine/snapshot.ts";
import type { PointStop, StopReason } from "../machine/turns.ts";

/** Instructions that a core may execute. */
export const CORE_BUDGET = 50_000_000;
/** Instructions between two looks at what a core printed. */
const SLICE = 1_000_000;
/** Most bytes that one write marker sends. */
const WRITE_BYTES = 64 * 1024;

/** Bytes of output behind which a core ends: it cannot print more than memory holds. */
export const CORE_OUTPUT_BYTES = 16 * 1024 * 1024;

/** What a core did. */
export interface CoreReport {
  /** Where it lies: the address of its begin marker. */
  readonly pc: bigint;
  /** Hart that came there. */
  readonly hart: number;
  /** Instructions executed before it. */
  readonly icount: number;
  /** Instructions that it executed. */
  readonly executed: number;
  /** What it printed, by markers and on consoles. */
  readonly output: Uint8Array;
  /** Why it ended: "end" is its own end marker, "output" that it printed too much. */
  readonly ended: "end" | "budget" | "waited" | "switched off" | "output";
}

/** Reads guest memory at virtual addresses. */
export type ReadVirtual = (
  machine: Machine,
  hart: number,
  address: bigint,
  length: number,
) => Uint8Array;

/** What a core has printed so far. */
class Printed {
  readonly parts: Uint8Array[] = [];
  length = 0;

  add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.parts.push(bytes);
    this.length += bytes.length;
  }
}

/** Runs the cores of one machine. */
export class ReplayCores {
  constructor(
    private readonly machine: Machine,
    private readonly snapshots: Snapshots,
    private readonly read: ReadVirtual,
    /** Lets the machine do something that takes nothing from the log. */
    private readonly aside: <T>(body: () => T) => T,
  ) {}

  /** Lets the machine stop at markers, or pass them. */
  stopAtMarkers(stops: boolean): void {
    this.machine.core.setControlWord("markers", stops ? 1 : 0);
  }

  /**
   * The machine stopped at a marker. Runs the core that begins there, if one does, and steps over the
   * marker. The machine's outputs were taken.
   */
  pass({ marker, hart, pc }: PointStop & { readonly kind: "marker" }): CoreReport | undefined {
    const report = marker === "begin" ? this.aside(() => this.#run(hart, pc)) : undefined;
    this.stopAtMarkers(false);
    this.machine.run(1);
    this.stopAtMarkers(true);
    return report;
  }

  #run(hart: number, pc: bigint): CoreReport {
    const { machine, snapshots } = this;
    const { core, icount } = machine;
    const saved = snapshots.take();
    machine.forgetStops();
    core.setRegister(hart, "pc", pc + BigInt(CORE_OFFSET));
    core.setControlWord("holdInterrupts", 1);
    const printed = new Printed();
    const ended = this.#execute(icount + CORE_BUDGET, printed);
    core.setControlWord("holdInterrupts", 0);
    const executed = machine.icount - icount;
    machine.takeOutputs();
    snapshots.restore(saved);
    snapshots.forget(saved);
    machine.forgetStops();
    return { pc, hart, icount, executed, output: concatBytes(printed.parts), ended };
  }

  #execute(end: number, printed: Printed): CoreReport["ended"] {
    const { machine } = this;
    for (;;) {
      const left = end - machine.icount;
      if (left <= 0) return "budget";
      if (printed.length >= CORE_OUTPUT_BYTES) return "output";
      const stop = machine.run(Math.min(left, SLICE));
      for (const output of machine.takeOutputs()) {
        // Frames and disk requests of a core go nowhere, and nobody answers them.
        if (output.kind === "bytes") printed.add(output.bytes);
      }
      const ended = this.#ended(stop, printed);
      if (ended !== undefined) return ended;
    }
  }

  #ended(stop: StopReason, printed: Printed): CoreReport["ended"] | undefined {
    switch (stop.kind) {
      case "off":
      case "reset":
        return "switched off";
      case "idle":
      case "await":
        return "waited";
      case "marker":
        if (stop.marker === "end") return "end";
        if (stop.marker === "write") printed.add(this.#written(stop.hart));
        // A core within a core is jumped over. The next run executes the marker, which is nothing.
        return undefined;
      default:
        return undefined;
    }
  }

  #written(hart: number): Uint8Array {
    const { machine } = this;
    const address = machine.core.register(hart, "x", 10);
    const length = Number(machine.core.register(hart, "x", 11));
    return this.read(machine, hart, address, Math.min(length, WRITE_BYTES));
  }
}
