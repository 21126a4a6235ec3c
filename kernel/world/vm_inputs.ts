/**
 * What has come for the machine and has not been taken by it yet, in a VM world.
 *
 * Invariants: events of one device and port keep their order; console input in here is bounded by the
 * credit that the kernel world holds (CONSOLE_CREDIT), everything else by what the machine itself has
 * asked for, and frames by MOST_FRAMES (further ones are dropped, as a full network card does). Who the VM
 * is, and what its wall clock shows, the guest sees before anything else that came with them.
 */
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import { GENERATION_BYTES, MAC_BYTES } from "../base/identity.ts";
import type { VmEvent } from "../machine/event.ts";
import { wallEvent } from "../machine/identity.ts";
import type { MachinePort } from "./machine_port.ts";
import type { VmMailbox } from "./mailbox.ts";
import { type Message, message, messageText, TO_KERNEL } from "./protocol.ts";

/** Bytes of console input for one port that may be on their way or waiting. */
export const CONSOLE_CREDIT = 16 * 1024;

const MOST_FRAMES = 256;

/** Events that wait for the machine. */
export class VmInputs {
  readonly #console = new Map<string, { device: string; port: number; bytes: Uint8Array }>();
  readonly #diskData = new Map<string, Uint8Array[]>();
  #disk: VmEvent[] = [];
  #frames: VmEvent[] = [];
  #sizes: VmEvent[] = [];
  /** Who the VM is, and what its wall clock shows. */
  readonly #identities: VmEvent[] = [];

  /** Console input arrived. */
  addConsole({ device, numbers, bytes }: Message): void {
    const port = numbers[0] ?? 0;
    const key = `${device}:${port}`;
    const waiting = this.#console.get(key)?.bytes ?? new Uint8Array(0);
    const all = concatBytes([waiting, bytes]);
    assert(all.length <= CONSOLE_CREDIT, "more console input than there is credit for");
    this.#console.set(key, { device, port, bytes: all });
  }

  /** A part of what a disk read arrived. */
  addDiskData({ device, numbers, bytes }: Message): void {
    const key = `${device}:${numbers[0]}`;
    const before = this.#diskData.get(key);
    if (before === undefined) this.#diskData.set(key, [bytes]);
    else before.push(bytes);
  }

  /** A disk request ended. */
  addDiskDone({ device, numbers }: Message): void {
    const [tag = 0, status = 1] = numbers;
    const key = `${device}:${tag}`;
    const data = this.#diskData.get(key);
    this.#diskData.delete(key);
    const event = { kind: "disk", device, tag, status } as const;
    const whole = data !== undefined && status === 0;
    this.#disk.push(whole ? { ...event, data: concatBytes(data) } : event);
  }

  /** A frame arrived. */
  addFrame({ device, bytes }: Message): void {
    if (this.#frames.length < MOST_FRAMES) this.#frames.push({ kind: "frame", device, bytes });
  }

  /** A terminal changed its size. Only the last size of each port matters. */
  addResize({ device, numbers }: Message): void {
    const [port = 0, columns = 80, rows = 24] = numbers;
    this.#sizes = this.#sizes.filter((e) =>
      !(e.kind === "resize" && e.device === device && e.port === port)
    );
    this.#sizes.push({ kind: "resize", device, port, columns, rows });
  }

  /** The VM is a copy of another one. */
  addIdentity({ bytes }: Message): void {
    this.#identities.push({
      kind: "identity",
      generation: bytes.slice(0, GENERATION_BYTES),
      mac: bytes.slice(GENERATION_BYTES, GENERATION_BYTES + MAC_BYTES),
      entropy: bytes.slice(GENERATION_BYTES + MAC_BYTES),
    });
  }

  /** The wall clock is moved, so that at a guest time, now, it shows what the message says. */
  addWall({ bytes }: Message, ticks: number): void {
    this.#identities.push(wallEvent(BigInt(messageText(bytes)), ticks));
  }

  /** Whether results of disk requests wait for the machine. */
  get hasDiskResults(): boolean {
    return this.#disk.length > 0;
  }

  /** The machine that asked the disks is no more; what came for its consoles waits for the next one. */
  forgetDisks(): void {
    this.#disk = [];
    this.#diskData.clear();
  }

  /** Offers what the disks did to the machine, and nothing else. */
  offerDiskResults(machine: MachinePort): void {
    if (this.#disk.length > 0) {
      this.#disk = this.#disk.filter((event) => machine.offer(event) === 0);
    }
  }

  /** Offers who the machine is and what time it is; false when it has not taken all of that. */
  offerIdentities(machine: MachinePort): boolean {
    while (this.#identities.length > 0 && machine.offer(this.#identities[0]!) > 0) {
      this.#identities.shift();
    }
    return this.#identities.length === 0;
  }

  /** Offers everything to the machine; says to the kernel how much console input it took. */
  offerTo(machine: MachinePort, mailbox: VmMailbox): void {
    const notTaken = (event: VmEvent): boolean => machine.offer(event) === 0;
    this.offerDiskResults(machine);
    // Before all else that the guest could see.
    this.offerIdentities(machine);
    if (this.#sizes.length > 0) this.#sizes = this.#sizes.filter(notTaken);
    while (this.#frames.length > 0 && machine.offer(this.#frames[0]!) > 0) this.#frames.shift();
    for (const [key, waiting] of this.#console) {
      const taken = machine.offer({ kind: "console", ...waiting });
      if (taken === 0) continue;
      if (taken === waiting.bytes.length) this.#console.delete(key);
      else this.#console.set(key, { ...waiting, bytes: waiting.bytes.slice(taken) });
      mailbox.send(TO_KERNEL.consoleTaken, message(waiting.device, [waiting.port, taken]));
    }
  }
}
