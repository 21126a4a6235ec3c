/**
 * The shared memory between the kernel world and one VM world: two message rings, one for each
 * direction, and a control page with a bell for each side.
 *
 *     0      control page: Int32 words, below
 *     4096   inbox ring (kernel to VM), then outbox ring (VM to kernel)
 *
 * A bell is a counter. Whoever changes something for the other side rings: adds one and notifies.
 * Whoever wants to sleep reads its bell first, then looks for work, and sleeps only if the bell still
 * has that value. So no wake-up is lost.
 *
 * Invariants: each ring has one writer and one reader; only the VM side blocks.
 */
import { assert } from "../base/assert.ts";
import { ByteRing } from "../base/byte_ring.ts";
import { MessageRing } from "../base/message_ring.ts";
import { MAILBOX_RING_BYTES } from "../limits.ts";
import { decodeMessage, encodeMessage, type Message } from "./protocol.ts";

const CONTROL_BYTES = 4096;

/** TABLE of words of the control page. */
const WORD = {
  /** Rung by the kernel for the VM. */
  vmBell: 0,
  /** Rung by the VM for the kernel. */
  kernelBell: 1,
  /** 1 while the kernel wants no more output: the VM stands still, unseen by the guest. */
  hold: 2,
  /** Retired instructions, low and high 32 bits, so that a report after a crash can name them. */
  icountLow: 3,
  icountHigh: 4,
} as const;

/** Most messages that a VM world takes between two slices: whoever asks without a pause does not stop it. */
const MOST_TAKEN = 64;

/** A received message. */
export interface Received extends Message {
  /** A value of TO_VM or TO_KERNEL. */
  readonly kind: number;
}

/** Allocates the shared memory of a mailbox. */
export function createMailbox(): SharedArrayBuffer {
  return new SharedArrayBuffer(CONTROL_BYTES + 2 * ByteRing.bytes(MAILBOX_RING_BYTES));
}

/** What both sides do. */
class Side {
  protected readonly words: Int32Array<SharedArrayBuffer>;
  readonly #out: MessageRing;
  readonly #in: MessageRing;
  readonly #peerBell: number;

  constructor(shared: SharedArrayBuffer, side: "vm" | "kernel") {
    const rings = [0, 1].map((i) =>
      new MessageRing(
        new ByteRing(
          shared,
          CONTROL_BYTES + i * ByteRing.bytes(MAILBOX_RING_BYTES),
          MAILBOX_RING_BYTES,
        ),
      )
    );
    this.words = new Int32Array(shared, 0, CONTROL_BYTES / 4);
    this.#in = rings[side === "vm" ? 0 : 1]!;
    this.#out = rings[side === "vm" ? 1 : 0]!;
    this.#peerBell = side === "vm" ? WORD.kernelBell : WORD.vmBell;
  }

  /** Puts a message into the ring; false when it has no room. The peer sees it at its next look. */
  trySend(kind: number, content: Message): boolean {
    const bytes = encodeMessage(content);
    assert(bytes.length <= MAILBOX_RING_BYTES / 4, "a message is too long for the mailbox");
    return this.#out.tryWrite(kind, bytes);
  }

  /** Takes the next message from the ring. */
  receive(): Received | undefined {
    const raw = this.#in.tryRead();
    return raw && { kind: raw.kind, ...decodeMessage(raw.bytes) };
  }

  /** Wakes the peer: there are messages, or there is room again. */
  ringPeer(): void {
    Atomics.add(this.words, this.#peerBell, 1);
    Atomics.notify(this.words, this.#peerBell);
  }
}

/** The VM world's side of a mailbox. */
export class VmMailbox extends Side {
  /** Messages may be left in the ring that no bell will tell of again. */
  #left = false;

  /** Opens the mailbox in shared memory made by `createMailbox`. */
  constructor(shared: SharedArrayBuffer) {
    super(shared, "vm");
  }

  /** The bell's value now; read it before looking for work. */
  bell(): number {
    return Atomics.load(this.words, WORD.vmBell);
  }

  /**
   * Takes messages, though not without end; the next `sleep` returns at once when some may be left.
   * @param mayTake whether a message can be taken now; one that cannot is given, and is the last
   */
  takeMessages(
    take: (got: Received) => void,
    mayTake: (got: Received) => boolean = () => true,
  ): Received | undefined {
    let count = 0;
    let refused: Received | undefined;
    while (count < MOST_TAKEN && refused === undefined) {
      const got = this.receive();
      if (got === undefined) break;
      count++;
      if (mayTake(got)) take(got);
      else refused = got;
    }
    this.#left = count === MOST_TAKEN || refused !== undefined;
    if (count > 0) this.ringPeer();
    return refused;
  }

  /** Sleeps until the bell has another value than `seen`, or the time is over. */
  sleep(seen: number, milliseconds = Infinity): void {
    if (!this.#left) this.#wait(seen, milliseconds);
  }

  /** Whether the kernel asks the VM to stand still because output has piled up. */
  get held(): boolean {
    return Atomics.load(this.words, WORD.hold) !== 0;
  }

  /** Sends a message, waiting for room if need be, and wakes the kernel. */
  send(kind: number, content: Message): void {
    for (;;) {
      const seen = this.bell();
      const sent = this.trySend(kind, content);
      this.ringPeer();
      if (sent) return;
      this.#wait(seen, Infinity);
    }
  }

  #wait(seen: number, milliseconds: number): void {
    Atomics.wait(this.words, WORD.vmBell, seen, milliseconds);
  }

  /** Publishes how many instructions have retired. */
  publish(icount: number): void {
    Atomics.store(this.words, WORD.icountLow, icount | 0);
    Atomics.store(this.words, WORD.icountHigh, Math.floor(icount / 0x1_0000_0000));
  }
}

/** The kernel world's side of a mailbox. */
export class KernelMailbox extends Side {
  readonly #closed = Promise.withResolvers<void>();

  /** Opens the mailbox in shared memory made by `createMailbox`. */
  constructor(shared: SharedArrayBuffer) {
    super(shared, "kernel");
  }

  /** The bell's value now; read it before looking for work. */
  bell(): number {
    return Atomics.load(this.words, WORD.kernelBell);
  }

  /**
   * Resolves when the bell has another value than `seen`, or after `close`: to true after a wait, to
   * false when there was nothing to wait for.
   */
  async rung(seen: number): Promise<boolean> {
    const wait = Atomics.waitAsync(this.words, WORD.kernelBell, seen);
    if (!wait.async) return false;
    await Promise.race([wait.value, this.#closed.promise]);
    return true;
  }

  /** Ends waits of this side's own, when no one is left who would ring. */
  close(): void {
    // The promise, because a wait on shared memory alone does not keep the event loop going; the bell,
    // so that the wait itself is over too.
    this.#closed.resolve();
    Atomics.add(this.words, WORD.kernelBell, 1);
    Atomics.notify(this.words, WORD.kernelBell);
  }

  /** Asks the VM to stand still, or lets it go on. */
  hold(on: boolean): void {
    Atomics.store(this.words, WORD.hold, on ? 1 : 0);
    this.ringPeer();
  }

  /** Retired instructions, as last published; may be torn by a slice, never by more. */
  get icount(): number {
    const low = Atomics.load(this.words, WORD.icountLow) >>> 0;
    return (Atomics.load(this.words, WORD.icountHigh) >>> 0) * 0x1_0000_0000 + low;
  }
}
