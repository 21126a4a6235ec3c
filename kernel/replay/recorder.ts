/**
 * Records a machine, in its VM world: watches its gate and its outputs and makes clusters of records
 * (issue 4, "Record"; S1.2, S20). Whoever owns the world sends the clusters to the kernel world.
 *
 * Invariants: a recorder changes nothing in its machine; events are written down in the order in which
 * they took effect; between two `take`s nothing that was recorded is anywhere else.
 */
import type { Stamp } from "../machine/event.ts";
import type { Machine } from "../machine/machine.ts";
import type { MachineOutput } from "../machine/outputs.ts";
import { epochFields, Epochs } from "./epochs.ts";
import type { Cluster, LogStream } from "./log_format.ts";
import { LogEncoder } from "./log_encoder.ts";
import { type EndCause, EVENT_RECORD, eventFields, outputFields } from "./record_table.ts";

/** Records one machine. */
export class Recorder {
  readonly #events = new LogEncoder();
  readonly #outputs = new LogEncoder();
  #machine: Machine;
  /** Instructions executed before the guest last reset itself. */
  #before = 0;

  #epochs: Epochs;

  /** Begins now. */
  constructor(machine: Machine) {
    this.#machine = machine;
    this.#epochs = new Epochs(machine);
    this.#watch();
  }

  /** Instructions executed since the recording began, or since it began and resets before. */
  get icount(): number {
    return this.#before + this.#machine.icount;
  }

  /** Ends an epoch here; false when the machine waits for a disk, so that it must be asked again. */
  epoch(): boolean {
    if (!this.#machine.settle()) return false;
    this.#mark(EVENT_RECORD.epoch, epochFields(this.#epochs.take()));
    return true;
  }

  /** Bytes that wait to be taken. */
  get waiting(): number {
    return this.#events.length + this.#outputs.length;
  }

  /** The machine sent these. */
  sent(outputs: readonly MachineOutput[]): void {
    for (const output of outputs) {
      const [kind, fields] = outputFields(output);
      this.#outputs.add(kind, this.#placed(output.stamp), fields);
    }
  }

  /** The guest reset itself: from now on this machine is recorded, which starts at this wall clock. */
  reset(machine: Machine, wallStart: bigint): void {
    this.#machine.nondeterminism.stop();
    this.#mark(EVENT_RECORD.reset, [`${wallStart}`]);
    this.#before += this.#machine.icount;
    this.#machine = machine;
    this.#epochs = new Epochs(machine);
    this.#watch();
  }

  /**
   * Notes that nothing else came in up to here, so that what left the machine can be replayed even if the
   * recording is cut behind it.
   * @param whole also writes down what is in the nondeterminism buffer, without which that is not so
   */
  reached(whole: boolean): void {
    if (whole) this.#machine.nondeterminism.flush();
    this.#mark(EVENT_RECORD.reached, []);
  }

  /** The recording ends here. */
  end(why: EndCause, code: number): void {
    this.#machine.nondeterminism.stop();
    this.epoch();
    this.#mark(EVENT_RECORD.end, [why, code]);
    this.#machine.gate.watcher = undefined;
    this.#epochs.end();
  }

  /** Takes what is to be written. */
  take(): { readonly stream: LogStream; readonly cluster: Cluster }[] {
    const taken: { readonly stream: LogStream; readonly cluster: Cluster }[] = [];
    const events = this.#events.take();
    if (events !== undefined) taken.push({ stream: "events", cluster: events });
    const outputs = this.#outputs.take();
    if (outputs !== undefined) taken.push({ stream: "outputs", cluster: outputs });
    return taken;
  }

  #mark(kind: number, fields: readonly unknown[]): void {
    this.#events.add(kind, this.#placed(this.#machine.gate.stamp()), fields);
  }

  #watch(): void {
    const machine = this.#machine;
    if (machine.config.clock === "exact") {
      machine.nondeterminism.record({
        full: (entries) => {
          const stamp = this.#placed(machine.stampNow());
          this.#events.add(EVENT_RECORD.nondeterminism, stamp, [entries.slice()]);
        },
        refill: () => 0,
      });
    }
    this.#machine.gate.watcher = (event, taken, stamp) => {
      const [kind, fields] = eventFields(event, taken);
      this.#events.add(kind, this.#placed(stamp), fields);
    };
  }

  #placed(stamp: Stamp): Stamp {
    return this.#before === 0 ? stamp : { ...stamp, icount: stamp.icount + this.#before };
  }
}
