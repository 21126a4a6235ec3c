/**
 * A client of a kernel's control socket (docs/control.md).
 *
 * Invariant: a request ends with its own reply, an error, or its time.
 */
import { HostError } from "../../../mod.ts";
import {
  CONTROL_VERSION,
  type ControlCommand,
  type ControlQuestion,
  type ControlReply,
  type ControlResult,
  formatLine,
  LineReader,
  parseReply,
  resultOf,
} from "./protocol.ts";

/** Most bytes of a reply: a kernel tells of many VMs in one line. */
const REPLY_BYTES_MAXIMUM = 4 * 1024 * 1024;

/** A connection with a kernel. */
export class ControlClient {
  readonly #connection: Deno.Conn;
  readonly #lines = new LineReader(REPLY_BYTES_MAXIMUM);
  readonly #arrived: string[] = [];
  #next = 1;

  private constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /** Connects. Rejects as `Deno.connect` does. */
  static async connect(path: string): Promise<ControlClient> {
    return new ControlClient(await Deno.connect({ transport: "unix", path }));
  }

  /**
   * Asks for something. Rejects with the error that the kernel replies with, FormatError for a reply
   * that makes no sense, and HostError when the kernel is gone or takes longer than `milliseconds`; the
   * connection is of no use then.
   */
  async ask<C extends ControlCommand>(
    question: Extract<ControlQuestion, { command: C }>,
    milliseconds?: number,
  ): Promise<ControlResult<C>> {
    const id = this.#next++;
    const content = { version: CONTROL_VERSION, id, ...question } as const;
    let late = false;
    const timer = milliseconds === undefined ? undefined : setTimeout(() => {
      late = true;
      this.close();
    }, milliseconds);
    try {
      await this.#send(formatLine(content));
      return resultOf(question.command as C, await this.#reply(id));
    } catch (cause) {
      if (!late) throw cause;
      throw new HostError(`The kernel did not reply within ${milliseconds} ms`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the connection. */
  close(): void {
    try {
      this.#connection.close();
    } catch (error) {
      // Closed before, when a reply was late.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  /** Same as `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #send(bytes: Uint8Array): Promise<void> {
    await this.#attempt(async () => {
      for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
    });
  }

  async #reply(id: number): Promise<ControlReply> {
    const chunk = new Uint8Array(64 * 1024);
    for (;;) {
      for (let line = this.#arrived.shift(); line !== undefined; line = this.#arrived.shift()) {
        const reply = parseReply(line);
        // Lines about nothing that was asked for may come from a newer kernel.
        if (reply.id === id || (reply.id === null && reply.error !== undefined)) return reply;
      }
      const count = await this.#attempt(() => this.#connection.read(chunk));
      if (count === null) throw new HostError("The kernel ended the connection");
      this.#arrived.push(...this.#lines.push(chunk.subarray(0, count)));
    }
  }

  async #attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new HostError(`The connection with the kernel broke: ${reason}`, { cause });
    }
  }
}
