/**
 * Consoles of VMs for any number of readers and writers: what `attach` of other processes sees (issue 5,
 * section 6).
 *
 * Invariants: a console takes RING_BYTES of memory however many look at it and however slow they are; a
 * reader that falls behind loses the oldest bytes and is told how many; nothing here waits for a reader,
 * so none can hold the VM up. Input that the guest does not read is bounded too.
 */
import { HostError } from "../../../kernel/base/errors.ts";
import type { VM } from "../../../mod.ts";

/** Bytes of the past that a new reader sees. */
export const BACKLOG_BYTES = 64 * 1024;
/** Bytes that a reader may be behind. */
export const RING_BYTES = 256 * 1024;
/** Most bytes that wait for the guest to read them, of all writers together. */
const INPUT_BYTES_MAXIMUM = 2 * 1024 * 1024;

/** What a reader gets next. */
export interface ConsolePiece {
  /** Bytes that were lost before these, because the reader was slow. */
  readonly dropped: number;
  /** What was printed. */
  readonly bytes: Uint8Array;
}

type Size = readonly [columns: number, rows: number];

/** The console of a VM, as far as it is shared. */
export type ConsoleOwner = Pick<VM, "name" | "console">;

/** One VM's console. */
export class SharedConsole {
  readonly #vm: ConsoleOwner;
  readonly #ring = new Uint8Array(RING_BYTES);
  readonly #views = new Set<ConsoleView>();
  #written = 0;
  #ended = false;
  #typing = 0;
  /** Size that the guest is being told, or is to be told next. */
  #size: Size | undefined;

  /** Of a VM; somebody has to `push` what it prints, and `end` it. */
  constructor(vm: ConsoleOwner) {
    this.#vm = vm;
  }

  /** Bytes printed so far. */
  get written(): number {
    return this.#written;
  }

  /** Whether the VM prints no more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The VM printed bytes. */
  push(bytes: Uint8Array): void {
    const kept = bytes.subarray(Math.max(0, bytes.length - RING_BYTES));
    const from = (this.#written + bytes.length - kept.length) % RING_BYTES;
    const first = Math.min(kept.length, RING_BYTES - from);
    this.#ring.set(kept.subarray(0, first), from);
    this.#ring.set(kept.subarray(first), 0);
    this.#written += bytes.length;
    for (const view of this.#views) view.wake();
  }

  /** The VM prints no more. */
  end(): void {
    this.#ended = true;
    for (const view of this.#views) view.wake();
  }

  /** A reader that begins with the backlog. */
  watch(): ConsoleView {
    const view = new ConsoleView(this, Math.max(0, this.#written - BACKLOG_BYTES), (gone) => {
      this.#views.delete(gone);
    });
    this.#views.add(view);
    return view;
  }

  /** Types bytes; resolves when they are in the VM. Rejects with HostError. */
  async type(bytes: Uint8Array): Promise<void> {
    if (this.#typing + bytes.length > INPUT_BYTES_MAXIMUM) {
      const name = this.#vm.name;
      throw new HostError(`The VM "${name}" has ${this.#typing} bytes of input yet to read`);
    }
    this.#typing += bytes.length;
    try {
      await this.#vm.console.write(bytes);
    } finally {
      this.#typing -= bytes.length;
    }
  }

  /** Tells the guest the terminal's size; of several that wait to be told, the last counts. */
  resize(columns: number, rows: number): void {
    const idle = this.#size === undefined;
    this.#size = [columns, rows];
    if (idle) void this.#tellSize();
  }

  /** A copy of bytes that the ring still has. */
  copy(from: number, to: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(to - from);
    const at = from % RING_BYTES;
    const first = this.#ring.subarray(at, Math.min(RING_BYTES, at + bytes.length));
    bytes.set(first);
    bytes.set(this.#ring.subarray(0, bytes.length - first.length), first.length);
    return bytes;
  }

  async #tellSize(): Promise<void> {
    let told: Size;
    do {
      told = this.#size!;
      try {
        await this.#vm.console.resize(...told);
      } catch {
        // The VM ended, and nobody needs a size.
      }
    } while (told !== this.#size);
    this.#size = undefined;
  }
}

/** A reader of a console. */
export class ConsoleView {
  readonly #console: SharedConsole;
  readonly #onClose: (view: ConsoleView) => void;
  #position: number;
  #wake: (() => void) | undefined;
  #closed = false;

  /** Made by `SharedConsole.watch`. */
  constructor(
    console: SharedConsole,
    position: number,
    onClose: (view: ConsoleView) => void,
  ) {
    this.#console = console;
    this.#position = position;
    this.#onClose = onClose;
  }

  /** The next bytes, at most so many; undefined when there will be none. One call at a time. */
  async next(most: number): Promise<ConsolePiece | undefined> {
    while (!this.#closed && !this.#console.ended && this.#position === this.#console.written) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const { written } = this.#console;
    if (this.#closed || this.#position === written) return undefined;
    const from = Math.max(this.#position, written - RING_BYTES);
    const dropped = from - this.#position;
    this.#position = Math.min(written, from + most);
    return { dropped, bytes: this.#console.copy(from, this.#position) };
  }

  /** Something changed. */
  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Ends it: `next` gives nothing more. */
  close(): void {
    this.#closed = true;
    this.#onClose(this);
    this.wake();
  }

  /** Same as `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** The consoles of a kernel's VMs. */
export class Consoles {
  readonly #known = new WeakMap<ConsoleOwner, SharedConsole>();

  /** A console that its owner feeds, because it reads the VM's output itself. */
  fedBy(vm: ConsoleOwner): SharedConsole {
    const made = new SharedConsole(vm);
    this.#known.set(vm, made);
    return made;
  }

  /** A VM's console; the first who asks makes it read the VM's output. Throws HostError. */
  of(vm: ConsoleOwner): SharedConsole {
    const known = this.#known.get(vm);
    if (known !== undefined) return known;
    const { readable } = vm.console;
    if (readable.locked) {
      throw new HostError(`The console of the VM "${vm.name}" is read by its own process`);
    }
    const made = this.fedBy(vm);
    void feed(made, readable);
    return made;
  }
}

async function feed(
  shared: SharedConsole,
  readable: ReadableStream<Uint8Array>,
): Promise<void> {
  try {
    for await (const bytes of readable) shared.push(bytes);
  } catch {
    // The VM failed: whoever waits for its exit learns why.
  }
  shared.end();
}
