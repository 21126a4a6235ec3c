/**
 * What leaves a machine: the one place where console bytes, frames and disk requests go out (design.md,
 * "outputs"). Output is kept until somebody takes it.
 */
import { concatBytes } from "../base/bytes.ts";
import type { DiskRequest } from "../driver/mod.ts";

/** One thing that left. `icount` says when. */
export type MachineOutput =
  | {
    readonly kind: "bytes";
    readonly icount: number;
    readonly device: string;
    readonly port: number;
    readonly bytes: Uint8Array;
  }
  | {
    readonly kind: "disk";
    readonly icount: number;
    readonly disk: number;
    readonly request: DiskRequest;
  }
  | {
    readonly kind: "frame";
    readonly icount: number;
    readonly device: string;
    readonly bytes: Uint8Array;
  };

/** Collects output in order; bytes of one port that follow each other become one output. */
export class Outputs {
  #list: MachineOutput[] = [];
  #pending: { device: string; port: number; icount: number; parts: Uint8Array[] } | undefined;

  /** Whether anything waits. */
  get waiting(): boolean {
    return this.#list.length > 0 || this.#pending !== undefined;
  }

  /** Adds bytes of a port. The bytes are kept, not copied. */
  bytes(icount: number, device: string, port: number, bytes: Uint8Array): void {
    const pending = this.#pending;
    if (pending !== undefined && pending.device === device && pending.port === port) {
      pending.parts.push(bytes);
      return;
    }
    this.#close();
    this.#pending = { device, port, icount, parts: [bytes] };
  }

  /** Adds a disk request or a frame. */
  add(output: MachineOutput): void {
    this.#close();
    this.#list.push(output);
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
    const { device, port, icount, parts } = pending;
    this.#list.push({ kind: "bytes", icount, device, port, bytes: concatBytes(parts) });
  }
}
