/**
 * Bytes that go into a VM through one port.
 *
 * Invariant: never more than CONSOLE_CREDIT bytes are on their way or waiting inside the VM world; the
 * rest waits here, in order, and whoever writes is told when it is gone (back pressure).
 */
import { HostError } from "../base/errors.ts";
import { message, TO_VM } from "./protocol.ts";
import { CONSOLE_CREDIT } from "./vm_inputs.ts";
import type { VmLink } from "./vm_link.ts";

/** A port's input. */
export class ByteInput {
  readonly #link: VmLink;
  readonly #device: string;
  readonly #port: number;
  #credit = CONSOLE_CREDIT;
  #turn: Promise<void> = Promise.resolve();
  #moreCredit: (() => void) | undefined;
  #closed = false;

  /** Input for a port of a device of the VM behind the link. */
  constructor(link: VmLink, device: string, port: number) {
    this.#link = link;
    this.#device = device;
    this.#port = port;
  }

  /** Sends bytes; resolves when all are in the VM world. Rejects with `HostError` once it has ended. */
  write(bytes: Uint8Array): Promise<void> {
    const done = this.#turn.then(() => this.#send(bytes));
    // A writer that came after a failed one finds the reason itself.
    this.#turn = done.catch(() => {});
    return done;
  }

  /** The machine took so many bytes. */
  taken(count: number): void {
    this.#credit = Math.min(CONSOLE_CREDIT, this.#credit + count);
    this.#moreCredit?.();
  }

  /** The VM is gone. */
  close(): void {
    this.#closed = true;
    this.#moreCredit?.();
  }

  async #send(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      while (this.#credit === 0 && !this.#closed) {
        await new Promise<void>((resolve) => this.#moreCredit = resolve);
      }
      if (this.#closed) throw new HostError("Cannot write to the VM: it is not running");
      const part = bytes.subarray(at, at + this.#credit);
      at += part.length;
      this.#credit -= part.length;
      await this.#link.send(TO_VM.console, message(this.#device, [this.#port], part));
    }
  }
}
