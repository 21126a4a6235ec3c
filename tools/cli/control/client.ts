/**
 * A client of a kernel's control socket (docs/control.md).
 *
 * Invariant: a request ends with its own reply, an error, or its time; when the connection breaks, all
 * end with why.
 */
import { FormatError, HostError } from "../../../mod.ts";
import { LineReader } from "./line_reader.ts";
import {
  CONTROL_VERSION,
  type ControlHello,
  type ControlReply,
  errorOf,
  formatLine,
  type KernelLine,
  parsed,
  parseKernelLine,
} from "./protocol.ts";
import {
  type EventOf,
  type FieldsOf,
  type MessageOf,
  type ResultOf,
  type VerbName,
  VERBS,
} from "./verbs.ts";

/** Most bytes of a kernel's line: it tells of many VMs in one. */
const REPLY_BYTES_MAXIMUM = 4 * 1024 * 1024;
/** Milliseconds that a kernel gets to say hello. */
const HELLO_MILLISECONDS = 10_000;

/** The kernel ended the connection, or it broke: most often the kernel's process has ended. */
export class HungUp extends HostError {}

/** How to ask. */
export interface AskOptions<V extends VerbName> {
  /** Gets the events; what it throws ends the request. */
  readonly onEvent?: (event: EventOf<V>) => void;
  /** Most milliseconds until the reply; the connection is of no use after them. */
  readonly milliseconds?: number;
}

/** A request under way. */
export interface OpenRequest<V extends VerbName> {
  /** What it results in. */
  readonly result: Promise<ResultOf<V>>;
  /** Says more about it. */
  send(message: MessageOf<V>): Promise<void>;
}

interface Pending {
  readonly command: VerbName;
  event(event: unknown): void;
  reply(reply: ControlReply): void;
  reject(error: unknown): void;
}

/** A connection with a kernel. */
export class ControlClient {
  readonly #connection: Deno.Conn;
  readonly #pending = new Map<number, Pending>();
  readonly #hello: PromiseWithResolvers<ControlHello> = Promise.withResolvers();
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;
  #next = 1;

  private constructor(connection: Deno.Conn) {
    this.#connection = connection;
    void this.#readAll();
  }

  /**
   * Connects. Rejects as `Deno.connect` does, with HungUp, and with HostError when the kernel is silent for
   * so long, or speaks another version.
   */
  static async connect(path: string, milliseconds = HELLO_MILLISECONDS): Promise<ControlClient> {
    const client = new ControlClient(await Deno.connect({ transport: "unix", path }));
    const late = new HostError(`The kernel said nothing within ${milliseconds} ms`);
    const timer = setTimeout(() => client.#end(late), milliseconds);
    try {
      const { version, process } = await client.#hello.promise;
      if (version === CONTROL_VERSION) return client;
      throw new HostError(
        `Process ${process} speaks version ${version} of the control protocol: expected ` +
          `${CONTROL_VERSION}`,
      );
    } catch (error) {
      client.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Asks for something. Rejects with the error that the kernel replies with, FormatError for a reply
   * that makes no sense, HungUp when the kernel is gone, and HostError when it takes too long.
   */
  async ask<V extends VerbName>(
    command: V,
    fields: FieldsOf<V>,
    { onEvent, milliseconds }: AskOptions<V> = {},
  ): Promise<ResultOf<V>> {
    const { result } = this.open(command, fields, onEvent);
    if (milliseconds === undefined) return await result;
    const late = new HostError(`The kernel did not reply within ${milliseconds} ms`);
    const timer = setTimeout(() => this.#end(late), milliseconds);
    try {
      return await result;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Begins a request of which more is to be said. */
  open<V extends VerbName>(
    command: V,
    fields: FieldsOf<V>,
    onEvent: (event: EventOf<V>) => void = () => {},
  ): OpenRequest<V> {
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<ResultOf<V>>();
    const fail = (error: unknown) => {
      this.#pending.delete(id);
      reject(error);
    };
    const attempt = (action: () => void) => {
      try {
        action();
      } catch (error) {
        fail(error);
      }
    };
    const verb = VERBS[command];
    const wrong = `The kernel's reply to "${command}" is wrong`;
    const events = "event" in verb ? verb.event : undefined;
    this.#pending.set(id, {
      command,
      event: (event) =>
        attempt(() => {
          // Events that are not known come from a newer kernel.
          const known = events?.safeParse(event);
          if (known?.success) onEvent(known.data as EventOf<V>);
        }),
      reply: ({ result, error }) =>
        attempt(() => {
          this.#pending.delete(id);
          if (error !== undefined) throw errorOf(error);
          resolve(parsed(verb.result as never, result, wrong) as ResultOf<V>);
        }),
      reject: fail,
    });
    promise.catch(() => {});
    if (this.#failure !== undefined) fail(this.#failure);
    else {
      const request = { version: CONTROL_VERSION, id, command, ...fields as object };
      this.#write(request).catch(fail);
    }
    return { result: promise, send: (message) => this.#write({ id, message }) };
  }

  /** Ends the connection. */
  close(): void {
    this.#end(new HostError("The connection with the kernel was closed"));
  }

  /** Same as `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #readAll(): Promise<void> {
    const lines = new LineReader(REPLY_BYTES_MAXIMUM);
    const chunk = new Uint8Array(64 * 1024);
    try {
      for (;;) {
        const count = await this.#connection.read(chunk);
        if (count === null) throw new HungUp("The kernel ended the connection");
        for (const line of lines.push(chunk.subarray(0, count))) {
          this.#arrived(parseKernelLine(line));
        }
      }
    } catch (error) {
      this.#end(explained(error));
    }
  }

  #arrived(line: KernelLine): void {
    if ("hello" in line) return this.#hello.resolve(line.hello);
    const { id } = line;
    // Lines about nothing that was asked for may come from a newer kernel.
    if (typeof id === "number") {
      const pending = this.#pending.get(id);
      return "event" in line ? pending?.event(line.event) : pending?.reply(line);
    }
    // An error about no request in particular is the connection's last word.
    if (id === null && "error" in line && line.error !== undefined) throw errorOf(line.error);
  }

  #write(content: unknown): Promise<void> {
    const written = this.#writing.then(async () => {
      try {
        const bytes = formatLine(content);
        for (let at = 0; at < bytes.length;) {
          at += await this.#connection.write(bytes.subarray(at));
        }
      } catch (error) {
        // Why the connection ended is known better by who reads from it, if there is more to read.
        throw this.#failure ?? explained(error);
      }
    });
    this.#writing = written.catch(() => {});
    return written;
  }

  #end(why: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = why;
    this.#hello.promise.catch(() => {});
    this.#hello.reject(why);
    for (const pending of [...this.#pending.values()]) pending.reject(why);
    this.#connection.close();
  }
}

function explained(cause: unknown): Error {
  if (cause instanceof HostError || cause instanceof FormatError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HungUp(`The connection with the kernel broke: ${reason}`, { cause });
}
