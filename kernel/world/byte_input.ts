/**
 * Bytes that go into a VM through one port.
 *
 * Invariants: never more than CONSOLE_CREDIT bytes are on their way or waiting inside the VM world; the
 * rest waits here, in order, and whoever writes is told when it is gone (back pressure). What the machine
 * has not taken is known here at every moment, because a checkpoint of the VM has to keep it (S17).
 */
import { concatBytes } from "../base/bytes.ts";
import { HostError } from "../base/errors.ts";
import { message, TO_VM } from "./protocol.ts";
import { CONSOLE_CREDIT } from "./vm_inputs.ts";
import type { VmLink } from "./vm_link.ts";

/** Most bytes that a checkpoint keeps of what the machine has not taken. */
export const UNTAKEN_MAXIMUM = 4 * 1024 * 1024;

/** A port's input. */
export class ByteInput {
  readonly #link: VmLink;
  readonly #device: string;
  readonly #port: number;
  #credit = CONSOLE_CREDIT;
  #turn: Promise<void> = Promise.resolve();
  #moreCredit: (() => void) | undefined;
  #closed = false;
  /** What was sent and the machine has not taken. */
  #untaken: Uint8Array = new Uint8Array(0);
  /** What waits to be sent, one entry for each write. */
  readonly #waiting: Uint8Array[] = [];

  /** Input for a port of a device of the VM behind the link. */
  constructor(link: VmLink, device: string, port: number) {
    this.#link = link;
    this.#device = device;
    this.#port = port;
  }

  /** Sends bytes; resolves when all are in the VM world. Rejects with `HostError` once it has ended. */
  write(bytes: Uint8Array): Promise<void> {
    this.#waiting.push(bytes);
    const done = this.#turn.then(() => this.#sendNext());
    // A writer that came after a failed one finds the reason itself.
    this.#turn = done.catch(() => {});
    return done;
  }

  /**
   * What was written and the machine has not taken, up to UNTAKEN_MAXIMUM bytes. Of more than that the last
   * writes are missing as wholes, as if their writers, who were not told that they are done, had yet to come; but
   * for the one that is next, which may be of any length and is cut.
   */
  get untaken(): Uint8Array {
    const parts = [this.#untaken];
    let room = UNTAKEN_MAXIMUM - this.#untaken.length;
    for (const [i, bytes] of this.#waiting.entries()) {
      if (bytes.length > room && i > 0) break;
      parts.push(bytes.subarray(0, room));
      room -= bytes.length;
      if (room <= 0) break;
    }
    return concatBytes(parts);
  }

  /** The machine took so many bytes. */
  taken(count: number): void {
    this.#untaken = this.#untaken.slice(count);
    this.#credit = Math.min(CONSOLE_CREDIT, this.#credit + count);
    this.#moreCredit?.();
  }

  /** The VM is gone. */
  close(): void {
    this.#closed = true;
    this.#moreCredit?.();
  }

  async #sendNext(): Promise<void> {
    try {
      while (this.#waiting[0]!.length > 0) {
        while (this.#credit === 0 && !this.#closed) {
          await new Promise<void>((resolve) => this.#moreCredit = resolve);
        }
        if (this.#closed) throw new HostError("Cannot write to the VM: it is not running");
        const part = this.#waiting[0]!.slice(0, this.#credit);
        this.#waiting[0] = this.#waiting[0]!.subarray(part.length);
        this.#untaken = concatBytes([this.#untaken, part]);
        this.#credit -= part.length;
        await this.#link.send(TO_VM.console, message(this.#device, [this.#port], part));
      }
    } finally {
      this.#waiting.shift();
    }
  }
}
