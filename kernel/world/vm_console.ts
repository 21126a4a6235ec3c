/**
 * The terminal of a VM, as its user holds it: what the guest prints and what is typed, as web streams.
 */
import { DEVICE_NAMES } from "./machine_port.ts";
import { ByteInput } from "./byte_input.ts";
import { ByteOutput } from "./byte_output.ts";
import { message, TO_VM } from "./protocol.ts";
import type { VmLink } from "./vm_link.ts";

/** Which device of the board is the terminal. */
export type ConsoleDevice = "uart" | "virtio";

/** A VM's terminal. */
export interface VmConsole {
  /** Device name of the terminal on the board. */
  readonly device: string;
  /**
   * What the guest prints, from the start (if nobody reads for long: from the last 256 KiB) until the
   * VM ends. There is one such stream; use its `tee()` for several readers. Unread output of 8 MiB
   * makes the VM stand still.
   */
  readonly readable: ReadableStream<Uint8Array>;
  /** What is typed. Closing it changes nothing for the guest; writing after the VM's end fails. */
  readonly writable: WritableStream<Uint8Array>;
  /** Types text or bytes; resolves when they are in the VM. */
  write(input: string | Uint8Array): Promise<void>;
  /**
   * Tells the guest the terminal's size in characters: its virtio console, and its serial terminal where
   * the guest's agent runs.
   */
  resize(columns: number, rows: number): Promise<void>;
}

/** A VM's terminal, with what the connection to the VM world needs. */
export class ConsoleEnd implements VmConsole {
  readonly #link: VmLink;
  readonly #output: ByteOutput;
  readonly #input: ByteInput;
  readonly #onSize: (columns: number, rows: number) => Promise<void>;
  #writable: WritableStream<Uint8Array> | undefined;

  readonly device: string;

  /**
   * Made by the VM. `onRead` is called when a reader took output, `onSize` tells the size where no device
   * can.
   */
  constructor(
    link: VmLink,
    device: ConsoleDevice,
    onRead: () => void,
    onSize: (columns: number, rows: number) => Promise<void>,
  ) {
    this.#onSize = onSize;
    this.#link = link;
    this.device = device === "uart" ? DEVICE_NAMES.uart : DEVICE_NAMES.console;
    this.#output = new ByteOutput(onRead);
    this.#input = new ByteInput(link, this.device, 0);
  }

  get readable(): ReadableStream<Uint8Array> {
    return this.#output.readable;
  }

  get writable(): WritableStream<Uint8Array> {
    this.#writable ??= new WritableStream({ write: (bytes) => this.#input.write(bytes) });
    return this.#writable;
  }

  write(input: string | Uint8Array): Promise<void> {
    return this.#input.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
  }

  async resize(columns: number, rows: number): Promise<void> {
    const size = message(DEVICE_NAMES.console, [0, columns, rows]);
    await this.#link.send(TO_VM.resize, size);
    await this.#onSize(columns, rows);
  }

  /** Output that a reader has yet to take, in bytes. */
  get backlog(): number {
    return this.#output.backlog;
  }

  /** What was typed and the guest has not taken. */
  get untaken(): Uint8Array {
    return this.#input.untaken;
  }

  /** Output arrived from the VM. */
  arrived(bytes: Uint8Array): void {
    this.#output.push(bytes);
  }

  /** The machine took so many bytes of input. */
  taken(count: number): void {
    this.#input.taken(count);
  }

  /** The VM ended, with an error if it failed. */
  end(error?: Error): void {
    this.#output.end(error);
    this.#input.close();
  }
}
