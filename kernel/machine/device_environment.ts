/**
 * What each virtual device is granted: the needs that it declared, bound to one machine. A thing it did
 * not declare fails loudly when it is used.
 */
import { Broken } from "../base/assert.ts";
import type { DeviceDeclaration, DeviceEnvironment, DiskRequest, Need } from "../driver/mod.ts";
import type { Machine } from "./machine.ts";
import { DISK_REQUESTS_MAXIMUM } from "./machine_state.ts";

/** Which instance an environment is for. */
export interface DeviceInstance {
  readonly name: string;
  readonly index: number;
  readonly irq: number;
  readonly disk: number;
}

/** Guest time that a disk request takes under the virtual clock: 100 µs and 1 µs for each KiB. */
function diskTicks(request: DiskRequest): number {
  return 1000 + 10 * Math.ceil(request.length / 1024);
}

/** Makes the environment of one device. */
export function deviceEnvironment(
  machine: Machine,
  declaration: DeviceDeclaration,
  instance: DeviceInstance,
): DeviceEnvironment {
  const need = (wanted: Need) => {
    if (!declaration.needs.includes(wanted)) {
      throw new Broken(`driver ${declaration.name} uses ${wanted} without declaring it`);
    }
  };
  const { index, irq, name, disk } = instance;
  const description = machine.config.disks[disk] ?? { sectors: 0, readOnly: true };
  const submit = (request: DiskRequest) => {
    need("disk");
    const slot = disk * DISK_REQUESTS_MAXIMUM + request.tag;
    // What is submitted again ends when it would have ended.
    const isAgain = machine.resubmitting && machine.state.diskDue[slot] !== 0;
    if (machine.config.clock === "virtual" && !isAgain) {
      machine.state.diskDue[slot] = machine.ticks() + diskTicks(request);
      machine.gate.diskResults.delete(slot);
    }
    machine.outputs.disk(disk, request);
    machine.wantsLook();
  };
  return {
    name,
    harts: machine.config.harts,
    irq(level) {
      need("irq");
      machine.deviceLine(irq, level);
    },
    hartLine(hart, line, level) {
      need("hartLines");
      machine.hartLine(hart, line, level);
    },
    memory: machine.memory,
    ticks() {
      need("clock");
      return machine.ticks();
    },
    setTicks(ticks) {
      need("clock");
      machine.clock.anchor(machine.icountNow(), ticks);
      machine.wantsLook();
    },
    wallNanoseconds() {
      need("clock");
      return machine.state.wallStart + BigInt(machine.ticks()) * 100n;
    },
    timer(ticks) {
      need("timer");
      machine.state.deviceTimer[index] = ticks;
      machine.wantsLook();
    },
    output(port, bytes) {
      need("output");
      machine.outputs.bytes(name, port, bytes);
    },
    disk: { ...description, submit },
    frame(bytes) {
      need("network");
      machine.outputs.frame(name, bytes);
    },
    entropy(into) {
      need("entropy");
      machine.random.fill(into);
    },
    power(kind, code) {
      need("power");
      machine.power(kind, code);
    },
  };
}
