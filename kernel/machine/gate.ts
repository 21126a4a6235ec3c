/**
 * The gate: the one place where events come into a machine (issue 4, "The boundary"; S1, S20). Whoever
 * records a machine watches its gate, whoever replays one delivers to it.
 *
 * Invariants: what is due by the machine's own clock happens before an event does, so that an event's
 * place is told by its stamp and its number alone; an event that changed nothing is not told to the watcher.
 */
import { assert, unreachable } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import type { GuestIdentity } from "../driver/mod.ts";
import type { Stamp, VmEvent } from "./event.ts";
import type { AttachedDevice, Machine } from "./machine.ts";
import { DISK_REQUESTS_MAXIMUM } from "./machine_state.ts";

/**
 * Sees each event that changed the machine, with how much of it was taken; of console input, just the
 * bytes that were, or all when none were and the attempt alone changed the device.
 */
export type GateWatcher = (event: VmEvent, taken: number, stamp: Stamp) => void;

interface DiskResult {
  readonly status: number;
  readonly data: Uint8Array | undefined;
}

/** The gate of one machine. */
export class Gate {
  /** Whoever records. */
  watcher: GateWatcher | undefined;
  /** Told of each event before it changes the machine; of a disk's result, when the guest sees it. */
  observer: ((event: VmEvent) => void) | undefined;
  /** Results of disk requests that arrived before their guest time: not seen by the guest yet. */
  readonly diskResults = new Map<number, DiskResult>();

  constructor(private readonly machine: Machine) {}

  /** When it is. */
  stamp(): Stamp {
    const { state } = this.machine;
    return { icount: state.icount, ticks: this.machine.ticks(), hart: state.turn };
  }

  /**
   * Delivers an event between two runs. Gives how much was taken: bytes for "console", else 1; 0 when
   * the event is to be offered again after the next run.
   */
  deliver(event: VmEvent): number {
    // A result that waits for its guest time is not seen by the guest: it needs no place of its own.
    if (event.kind === "disk" && this.machine.config.clock === "virtual") {
      return this.#keepResult(event);
    }
    if (!this.machine.settle()) return 0;
    const { watcher } = this;
    if (watcher === undefined) return this.#apply(event);
    const stamp = this.stamp();
    const before = event.kind === "console" ? this.#stateOf(event.device).slice() : undefined;
    const taken = this.#apply(event);
    if (event.kind !== "console" || taken === event.bytes.length) watcher(event, taken, stamp);
    else if (taken > 0) watcher({ ...event, bytes: event.bytes.subarray(0, taken) }, taken, stamp);
    // A guest's queue without room, or broken, may take nothing and yet be worked on.
    else if (!equalBytes(before!, this.#stateOf(event.device))) watcher(event, 0, stamp);
    return taken;
  }

  /** At power-on: the devices show who the VM is. */
  begin(identity: GuestIdentity): void {
    for (const device of this.machine.devices) device.behaviour.identify?.(identity);
  }

  /** Guest time is `ticks` outside: the clock follows. */
  follow(ticks: number): void {
    const { clock, icount } = this.machine;
    this.deliver({ kind: "time", ...clock.following(icount, ticks) });
  }

  /** Delivers the disk results that are due; false when a due one has not come from the host yet. */
  deliverDueDisks(ticks: number): boolean {
    const { machine } = this;
    const { diskDue } = machine.state;
    for (let slot = 0; slot < machine.config.disks.length * DISK_REQUESTS_MAXIMUM; slot++) {
      if (diskDue[slot] === 0 || diskDue[slot]! > ticks) continue;
      const result = this.diskResults.get(slot);
      if (result === undefined) return false;
      this.diskResults.delete(slot);
      diskDue[slot] = 0;
      const tag = slot % DISK_REQUESTS_MAXIMUM;
      const device = this.#disk((slot - tag) / DISK_REQUESTS_MAXIMUM);
      const { status, data } = result;
      this.observer?.({ kind: "disk", device: device.name, tag, status, ...data && { data } });
      device.behaviour.complete?.(tag, status, data);
    }
    return true;
  }

  #keepResult(event: VmEvent & { readonly kind: "disk" }): number {
    const { disk } = this.machine.device(event.device);
    const { status, data, tag } = event;
    this.diskResults.set(disk * DISK_REQUESTS_MAXIMUM + tag, { status, data });
    // That it failed cannot be repeated from the disk's contents, and so is told.
    if (status !== 0) this.watcher?.(event, 1, this.stamp());
    return 1;
  }

  #apply(event: VmEvent): number {
    const { machine } = this;
    this.observer?.(event);
    switch (event.kind) {
      case "console":
        return this.#input(machine.device(event.device), event.port, event.bytes);
      case "frame":
        machine.device(event.device).behaviour.input?.(0, event.bytes);
        return 1;
      case "resize": {
        const { port, columns, rows } = event;
        machine.device(event.device).behaviour.resize?.(port, columns, rows);
        return 1;
      }
      case "disk": {
        const { tag, status, data } = event;
        machine.device(event.device).behaviour.complete?.(tag, status, data);
        return 1;
      }
      case "time":
        machine.clock.anchor(machine.icount, event.ticks, event.rate);
        return 1;
      case "entropy":
        machine.random.mix(event.bytes);
        return 1;
      case "identity":
        machine.random.mix(event.entropy);
        this.begin(event);
        return 1;
      case "wall":
        machine.state.wallStart = event.wallStart;
        for (const device of machine.devices) device.behaviour.wallMoved?.();
        return 1;
      default:
        return unreachable();
    }
  }

  #input(device: AttachedDevice, port: number, bytes: Uint8Array): number {
    const { behaviour } = device;
    if (behaviour.input === undefined) return bytes.length;
    const taken = behaviour.input(port, bytes);
    assert(taken >= 0 && taken <= bytes.length, `${device.name} took what it was not given`);
    return taken;
  }

  #stateOf(name: string): Uint8Array {
    const { machine } = this;
    const { declaration, stateOffset } = machine.device(name);
    const { bytes, plan } = machine.core;
    const start = plan.deviceState + stateOffset;
    return bytes.subarray(start, start + declaration.state.byteLength);
  }

  #disk(disk: number): AttachedDevice {
    const device = this.machine.devices.find((candidate) => candidate.disk === disk);
    assert(device !== undefined, `disk ${disk} has no device`);
    return device;
  }
}
