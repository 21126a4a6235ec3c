/**
 * The kernel world's end of a mailbox as a live connection: hands out what arrives, queues what is
 * sent until the ring has room.
 *
 * Invariants: messages of one direction keep their order; receiving never waits for sending, so the
 * VM world, which does block when its ring is full, always goes on; other work on the event loop gets
 * its turn between batches.
 */
import type { HostTimers } from "../host/timers.ts";
import type { KernelMailbox, Received } from "./mailbox.ts";
import type { Message } from "./protocol.ts";

/** Messages handled before other work gets its turn. */
const BATCH = 64;

/** What a connection reports. */
export interface VmLinkEvents {
  /** A message arrived. */
  message(got: Received): void;
  /** A message could not be read or handled: the VM must not be trusted any more. */
  fault(error: unknown): void;
}

interface Waiting {
  readonly kind: number;
  readonly content: Message;
  readonly sent: () => void;
}

/** A connection to a VM world. */
export class VmLink {
  readonly #mailbox: KernelMailbox;
  readonly #timers: HostTimers;
  readonly #events: VmLinkEvents;
  readonly #waiting: Waiting[] = [];
  readonly #ended: Promise<void>;
  #open = true;
  #yieldSoon = false;

  /** Opens the connection; messages arrive from now on. */
  constructor(mailbox: KernelMailbox, timers: HostTimers, events: VmLinkEvents) {
    this.#mailbox = mailbox;
    this.#timers = timers;
    this.#events = events;
    this.#ended = this.#pump();
  }

  /** Sends a message. Resolves when it is in the ring, or when the connection has closed. */
  send(kind: number, content: Message): Promise<void> {
    if (!this.#open) return Promise.resolve();
    if (this.#waiting.length === 0 && this.#mailbox.trySend(kind, content)) {
      this.#mailbox.ringPeer();
      return Promise.resolve();
    }
    return new Promise((sent) => this.#waiting.push({ kind, content, sent }));
  }

  /** Lets other work have its turn before the next message is handed out. */
  yieldSoon(): void {
    this.#yieldSoon = true;
  }

  /** Asks the VM to stand still while output has piled up, or lets it go on. */
  hold(on: boolean): void {
    this.#mailbox.hold(on);
  }

  /** Instructions that have retired, as the VM world published them last. */
  get icount(): number {
    return this.#mailbox.icount;
  }

  /** Closes the connection; resolves when nothing of it runs any more. */
  close(): Promise<void> {
    this.#open = false;
    this.#mailbox.close();
    for (const { sent } of this.#waiting.splice(0)) sent();
    return this.#ended;
  }

  async #pump(): Promise<void> {
    // The owner finishes its constructor before the first message reaches it.
    await Promise.resolve();
    while (this.#open) {
      const seen = this.#mailbox.bell();
      const full = this.#receiveBatch();
      this.#sendWaiting();
      if (!this.#open) return;
      if (full || !await this.#mailbox.rung(seen)) await this.#timers.yieldToOthers();
    }
  }

  #receiveBatch(): boolean {
    let count = 0;
    this.#yieldSoon = false;
    try {
      for (; count < BATCH && this.#open && !this.#yieldSoon; count++) {
        const got = this.#mailbox.receive();
        if (got === undefined) break;
        this.#events.message(got);
      }
    } catch (error) {
      this.#events.fault(error);
    }
    if (count > 0) this.#mailbox.ringPeer();
    return count === BATCH || this.#yieldSoon;
  }

  #sendWaiting(): void {
    let count = 0;
    for (const { kind, content, sent } of this.#waiting) {
      if (!this.#mailbox.trySend(kind, content)) break;
      sent();
      count++;
    }
    if (count === 0) return;
    this.#waiting.splice(0, count);
    this.#mailbox.ringPeer();
  }
}
