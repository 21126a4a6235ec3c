/**
 * One debugger's session: bytes in, replies out, one command at a time, and the interrupt that gets past
 * the queue.
 *
 * Invariant: at most QUEUED packets wait; a client that sends more, where the protocol has it wait for
 * each reply, is cut off. When the session ends, the machine stands still or was detached.
 */
import type { DebugTarget } from "../../kernel/debug/target.ts";
import { runCommand } from "./commands.ts";
import { Connection, errorReply, type Reply } from "./connection.ts";
import { type Arrival, asciiBytes, asciiText, framePacket, PacketReader } from "./packets.ts";

const QUEUED = 64;
const ACK = asciiBytes("+");
const NAK = asciiBytes("-");

/** Sends bytes to the client; rejects when the connection is gone. */
export type Send = (bytes: Uint8Array<ArrayBuffer>) => Promise<void>;

/** How a session ended: the debugger left, never said anything, or saw the machine exit. */
export type SessionEnd = "left" | "silent" | "exited";

/** A session. Give it what arrives; `ended` tells when it is over. */
export class Session {
  /** Resolves when the machine is detached and nothing will be sent any more. */
  readonly ended: Promise<SessionEnd>;
  readonly #reader = new PacketReader();
  readonly #queue: Arrival[] = [];
  readonly #connection: Connection;
  readonly #send: Send;
  #wake: () => void = () => {};
  #closed = false;
  #heard = false;
  #acks = true;
  #last: Uint8Array<ArrayBuffer> | undefined;

  constructor(readonly target: DebugTarget, send: Send) {
    this.#send = async (bytes) => {
      if (this.#closed) return;
      try {
        await send(bytes);
      } catch {
        // A connection that is gone is the end of the session, not an error.
        this.close();
      }
    };
    this.#connection = new Connection(target, this.#send);
    this.#connection.begun = () => this.#interruptIfAsked();
    this.ended = this.#work();
  }

  /** Takes bytes from the client; false when the session is over. */
  receive(bytes: Uint8Array): boolean {
    if (this.#closed) return false;
    for (const arrival of this.#reader.push(bytes)) {
      if (arrival.kind === "interrupt" && this.#connection.running) this.target.interrupt();
      else this.#queue.push(arrival);
      if (this.#queue.length <= QUEUED) continue;
      this.close();
      return false;
    }
    this.#wake();
    return true;
  }

  /** The client is gone, or to be. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    if (this.#connection.running) this.target.interrupt();
    this.#wake();
  }

  /** An interrupt that came right behind the packet that set the machine going. */
  #interruptIfAsked(): void {
    const at = this.#queue.findIndex(({ kind }) => kind === "interrupt");
    if (at >= 0) this.#queue.splice(at, 1);
    if (at >= 0 || this.#closed) this.target.interrupt();
  }

  async #work(): Promise<SessionEnd> {
    const connection = this.#connection;
    try {
      while (!this.#closed && !connection.left) {
        const arrival = this.#queue.shift();
        if (arrival === undefined) await new Promise<void>((resolve) => this.#wake = resolve);
        else await this.#take(arrival);
      }
    } finally {
      this.#closed = true;
    }
    if (this.#heard && !connection.left) await this.target.detach();
    if (connection.stop?.why === "exited") return "exited";
    return this.#heard ? "left" : "silent";
  }

  async #take(arrival: Arrival): Promise<void> {
    switch (arrival.kind) {
      case "packet":
        this.#heard = true;
        if (this.#acks) await this.#send(ACK);
        return await this.#answer(arrival.content);
      case "damaged":
        if (this.#acks) return await this.#send(NAK);
        return await this.#send(framePacket(errorReply("the packet was damaged or too long")));
      case "resend":
        if (this.#acks && this.#last !== undefined) await this.#send(this.#last);
        return;
      case "interrupt":
        // The machine stands still already.
        return;
    }
  }

  async #answer(content: Uint8Array): Promise<void> {
    const noAcks = asciiText(content) === "QStartNoAckMode";
    const reply: Reply = noAcks ? "OK" : await runCommand(this.#connection, content);
    if (noAcks) this.#acks = false;
    if (reply === undefined) return;
    this.#last = framePacket(reply);
    await this.#send(this.#last);
  }
}
