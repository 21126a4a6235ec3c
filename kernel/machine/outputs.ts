/**
 * What leaves a machine: the one place where console bytes, frames and disk requests go out (design.md,
 * "outputs"). Output is kept until somebody takes it.
 */
import { concatBytes } from "../base/bytes.ts";
import type { DiskRequest } from "../driver/mod.ts";
import type { Stamp } from "./event.ts";
import { DISK_REQUESTS_MAXIMUM } from "./machine_state.ts";

/** One thing that left, and when. */
export type MachineOutput =
  | {
    readonly kind: "bytes";
    /** When the first of the bytes left. */
    readonly stamp: Stamp;
    readonly device: string;
    readonly port: number;
    readonly bytes: Uint8Array;
  }
  | {
    readonly kind: "disk";
    readonly stamp: Stamp;
    readonly disk: number;
    readonly request: DiskRequest;
  }
  | {
    readonly kind: "frame";
    readonly stamp: Stamp;
    readonly device: string;
    readonly bytes: Uint8Array;
  };

/** Collects output in order; bytes of one port that follow each other become one output. */
export class Outputs {
  #list: MachineOutput[] = [];
  #pending: { device: string; port: number; stamp: Stamp; parts: Uint8Array[] } | undefined;

  /** @param now gives the stamp of the instruction under way */
  constructor(private readonly now: () => Stamp) {}

  /** Whether anything waits. */
  get waiting(): boolean {
    return this.#list.length > 0 || this.#pending !== undefined;
  }

  /** Adds bytes of a port. The bytes are kept, not copied. */
  bytes(device: string, port: number, bytes: Uint8Array): void {
    const pending = this.#pending;
    if (pending !== undefined && pending.device === device && pending.port === port) {
      pending.parts.push(bytes);
      return;
    }
    this.#close();
    this.#pending = { device, port, stamp: this.now(), parts: [bytes] };
  }

  /** Adds a disk request. */
  disk(disk: number, request: DiskRequest): void {
    this.#close();
    this.#list.push({ kind: "disk", stamp: this.now(), disk, request });
  }

  /** The slots of the disk requests that wait: disk and tag as one number. */
  diskSlots(): number[] {
    return this.#list.flatMap((output) =>
      output.kind === "disk" ? [output.disk * DISK_REQUESTS_MAXIMUM + output.request.tag] : []
    );
  }

  /** Adds a frame. */
  frame(device: string, bytes: Uint8Array): void {
    this.#close();
    this.#list.push({ kind: "frame", stamp: this.now(), device, bytes });
  }

  /** Takes everything. */
  take(): MachineOutput[] {
    this.#close();
    const list = this.#list;
    this.#list = [];
    return list;
  }

  #close(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    this.#pending = undefined;
    const { device, port, stamp, parts } = pending;
    this.#list.push({ kind: "bytes", stamp, device, port, bytes: concatBytes(parts) });
  }
}
