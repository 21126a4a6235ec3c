/**
 * What a VM world needs to record the machine that it runs: loaded by the first VM that is recorded
 * (vm_extras.ts).
 */
import { assert } from "../base/assert.ts";
import type { HostClock } from "../host/clock.ts";
import { Recorder } from "../replay/recorder.ts";
import type { RecordSync } from "../replay/recording_writer.ts";
import { stateClusters } from "../replay/start_state.ts";
import type { MachinePort } from "./machine_port.ts";
import type { VmMailbox } from "./mailbox.ts";
import { sendCluster, VmRecording } from "./vm_recording.ts";

export { SYNC_KINDS } from "./vm_recording.ts";

/**
 * Begins to record a machine whose outputs were taken; undefined for one that cannot be recorded.
 * @param from whether it is at power-on, or its state is recorded first
 */
export function beginRecording(
  port: MachinePort,
  mailbox: VmMailbox,
  clock: HostClock,
  sync: RecordSync,
  from: "power-on" | "state",
): VmRecording | undefined {
  const { machine } = port;
  if (machine === undefined || port.record === undefined) {
    assert(from === "power-on", "this machine cannot be recorded");
    return undefined;
  }
  const recorder = new Recorder(machine);
  port.record(recorder);
  if (from === "state") {
    for (const cluster of stateClusters(machine)) sendCluster(mailbox, "state", cluster);
  }
  return new VmRecording(recorder, mailbox, clock, sync);
}
