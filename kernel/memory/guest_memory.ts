/**
 * Guest-physical memory for everyone but instructions: devices' DMA, firmware, loaders, debuggers.
 *
 * Invariants: no access leaves RAM; every write asks the traces of its pages first and tells generated
 * code afterwards, so that tables and decoded instructions never go stale (X1).
 */
import type { MemoryPlan } from "./memory_plan.ts";
import { type PageFlags, READ_TRACES, SERVICE_WRITE_TRACES } from "./page_flags.ts";

/** Checked access to one VM's RAM. */
export class GuestMemory {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  /** @param wrote is told of each write: address and bytes */
  constructor(
    buffer: ArrayBufferLike,
    private readonly plan: MemoryPlan,
    private readonly flags: PageFlags,
    private readonly wrote: (gpa: number, length: number) => void,
  ) {
    this.#bytes = new Uint8Array(buffer, plan.ram, plan.ramBytes);
    this.#view = new DataView(buffer, plan.ram, plan.ramBytes);
  }

  /** Copies from guest memory; false outside RAM. */
  read(gpa: number, into: Uint8Array): boolean {
    const at = this.#offset(gpa, into.length);
    if (at < 0) return false;
    this.#ask("read", at, into.length);
    into.set(this.#bytes.subarray(at, at + into.length));
    return true;
  }

  /** Copies to guest memory; false outside RAM. */
  write(gpa: number, from: Uint8Array): boolean {
    const at = this.#offset(gpa, from.length);
    if (at < 0) return false;
    this.#ask("write", at, from.length);
    this.#bytes.set(from, at);
    this.wrote(gpa, from.length);
    return true;
  }

  /** Reads a little-endian integer; undefined outside RAM. */
  integer(gpa: number, size: 1 | 2 | 4): number | undefined {
    const at = this.#offset(gpa, size);
    if (at < 0) return undefined;
    this.#ask("read", at, size);
    if (size === 1) return this.#view.getUint8(at);
    return size === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  /** Writes a little-endian integer; false outside RAM. */
  setInteger(gpa: number, size: 1 | 2 | 4, value: number): boolean {
    const at = this.#offset(gpa, size);
    if (at < 0) return false;
    this.#ask("write", at, size);
    if (size === 1) this.#view.setUint8(at, value);
    else if (size === 2) this.#view.setUint16(at, value, true);
    else this.#view.setUint32(at, value, true);
    this.wrote(gpa, size);
    return true;
  }

  /** Offset in RAM, or -1 when any byte lies outside. */
  #offset(gpa: number, length: number): number {
    const at = gpa - this.plan.ramStart;
    return at >= 0 && at + length <= this.plan.ramBytes ? at : -1;
  }

  #ask(kind: "read" | "write", at: number, length: number): void {
    const wanted = kind === "read" ? READ_TRACES : SERVICE_WRITE_TRACES;
    const end = at + length;
    for (let start = at; start < end;) {
      const next = Math.min(end, start - start % 4096 + 4096);
      if ((this.flags.get(start >>> 12) & wanted) !== 0) {
        this.flags.hit(kind, this.plan.ramStart + start, next - start, 0n, "dma");
      }
      start = next;
    }
  }
}
