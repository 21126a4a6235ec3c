/**
 * One client of a kernel's control socket: reads its lines, does what they ask, and writes what comes of
 * it (docs/control.md).
 *
 * Invariants: requests are done one after another and streams beside them; at most REQUESTS_MAXIMUM of
 * the former and STREAMS_MAXIMUM of the latter are under way, and no more is read meanwhile; whatever a
 * client sends or leaves unread, it gets an error or loses its connection, and the VMs go on.
 */
import { FormatError, HostError } from "../../../mod.ts";
import { VERSION } from "../version.ts";
import { LineReader } from "./line_reader.ts";
import {
  type ClientLine,
  CONTROL_VERSION,
  type ControlId,
  type ControlReply,
  errorReply,
  formatLine,
  idOf,
  LINE_BYTES_MAXIMUM,
  parseClientLine,
  parsed,
} from "./protocol.ts";
import type { AnyVerb, ControlSurroundings } from "./verb.ts";
import { VERBS } from "./verbs.ts";

/** Most requests of a connection that wait or are done. */
const REQUESTS_MAXIMUM = 16;
/** Most streams of a connection. */
const STREAMS_MAXIMUM = 16;
/** Bytes read at once. */
const READ_BYTES = 16 * 1024;

/** A connection as far as it is needed here. */
export interface ControlTransport {
  /** Reads some bytes; null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some bytes, and says how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends it; `read` and `write` that wait reject. */
  close(): void;
}

/** A stream that goes on. */
interface Stream {
  message(content: unknown): void;
  end(reason: unknown): void;
  readonly done: Promise<void>;
}

/** What a verb runs with. */
type OpenCall = Parameters<AnyVerb["run"]>[0] & {
  /** Nothing may be told any more. */
  finish(): void;
};

/** A client. */
export class ControlConnection {
  readonly #surroundings: ControlSurroundings;
  readonly #transport: ControlTransport;
  readonly #streams = new Map<ControlId, Stream>();
  readonly #gone = new AbortController();
  #requests = 0;
  #turn: Promise<void> = Promise.resolve();
  #roomForMore: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();
  #closed = false;

  /** Over a transport, which is closed with it. */
  constructor(surroundings: ControlSurroundings, transport: ControlTransport) {
    this.#surroundings = surroundings;
    this.#transport = transport;
  }

  /** Serves the client until it goes away, or `close`. Never rejects. */
  async serve(): Promise<void> {
    try {
      const hello = { version: CONTROL_VERSION, program: VERSION, process: Deno.pid };
      await this.#write({ hello });
      await this.#readAll();
      const left = new HostError("The client ended its connection");
      this.#gone.abort(left);
      this.#endStreams(left);
      // Who sends no more may still read the replies.
      await this.settled();
    } catch {
      // The client went away, or `close` ended the connection.
    } finally {
      this.close();
    }
  }

  /** Resolves when all that was asked so far is done and said. Never rejects. */
  async settled(): Promise<void> {
    await Promise.all([...this.#streams.values()].map(({ done }) => done));
    await this.#turn;
    await this.#writing;
  }

  /** Ends the connection. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const reason = new HostError("The connection with the client ended");
    this.#gone.abort(reason);
    this.#endStreams(reason);
    this.#roomForMore?.();
    this.#transport.close();
  }

  async #readAll(): Promise<void> {
    const lines = new LineReader(LINE_BYTES_MAXIMUM);
    const chunk = new Uint8Array(READ_BYTES);
    for (;;) {
      const count = await this.#transport.read(chunk);
      if (count === null) return;
      try {
        for (const line of lines.push(chunk.subarray(0, count))) {
          await this.#arrived(line);
          if (this.#closed) return;
        }
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        // Where the next line begins is not known.
        return await this.#write(errorReply(null, error));
      }
    }
  }

  async #arrived(text: string): Promise<void> {
    let line: ClientLine;
    try {
      line = parseClientLine(text);
    } catch (error) {
      return this.#later(() => Promise.resolve(errorReply(idOf(text), error)));
    }
    if ("message" in line) return this.#streams.get(line.id)?.message(line.message);
    const { id, command, fields } = line;
    let verb: AnyVerb;
    try {
      verb = verbNamed(command);
      const request = parsed(verb.fields, fields, "The request is wrong");
      if (verb.message !== undefined) return this.#begin(id, verb, request);
      return await this.#later(() => this.#perform(id, verb, request));
    } catch (error) {
      return await this.#later(() => Promise.resolve(errorReply(id, error)));
    }
  }

  /** Does something when all before it is done, and writes its reply. Waits while too much waits. */
  async #later(action: () => Promise<ControlReply>): Promise<void> {
    this.#requests++;
    this.#turn = this.#turn.then(async () => {
      // What was asked by somebody who has gone is not begun any more.
      if (!this.#closed) await this.#write(await action());
    }).catch(() => this.close()).finally(() => {
      this.#requests--;
      this.#roomForMore?.();
    });
    while (this.#requests >= REQUESTS_MAXIMUM && !this.#closed) {
      await new Promise<void>((resolve) => this.#roomForMore = resolve);
    }
  }

  async #perform(id: ControlId, verb: AnyVerb, request: unknown): Promise<ControlReply> {
    const call = this.#call(id, request, this.#gone.signal, () => {});
    return await this.#run(id, verb, call);
  }

  /** Does what is asked; nothing is told of it after its reply. Never rejects. */
  async #run(id: ControlId, verb: AnyVerb, call: OpenCall): Promise<ControlReply> {
    try {
      return { id, result: await verb.run(call) };
    } catch (error) {
      return errorReply(id, error);
    } finally {
      call.finish();
    }
  }

  /** Begins a stream, which goes on beside all else. Throws when it cannot be begun. */
  #begin(id: ControlId, verb: AnyVerb, request: unknown): void {
    if (this.#streams.has(id)) throw new FormatError(`A request with the id ${id} goes on`);
    if (this.#streams.size >= STREAMS_MAXIMUM) {
      throw new HostError(`${STREAMS_MAXIMUM} streams of the connection go on: expected less`);
    }
    const over = new AbortController();
    let handler: ((content: unknown) => void) | undefined;
    const running = (async () => {
      const call = this.#call(id, request, over.signal, (receiver) => handler = receiver);
      const reply = await this.#run(id, verb, call);
      this.#streams.delete(id);
      await this.#write(reply);
    })();
    const done = running.catch(() => this.close());
    this.#streams.set(id, {
      message: (content) => {
        if (over.signal.aborted) return;
        try {
          handler?.(parsed(verb.message!, content, "The message is wrong"));
        } catch (error) {
          over.abort(error);
        }
      },
      end: (reason) => over.abort(reason),
      done,
    });
  }

  #call(
    id: ControlId,
    request: unknown,
    over: AbortSignal,
    receive: (handler: (content: unknown) => void) => void,
  ): OpenCall {
    let telling = false;
    let finished = false;
    return {
      ...this.#surroundings,
      request,
      over,
      receive,
      finish: () => finished = true,
      emit: (event) => {
        if (finished) return Promise.reject(new HostError("The request has ended"));
        return this.#write({ id, event });
      },
      progress: (event) => {
        if (telling || finished) return;
        telling = true;
        const told = () => telling = false;
        this.#write({ id, event }).then(told, told);
      },
    };
  }

  #endStreams(reason: unknown): void {
    for (const stream of [...this.#streams.values()]) stream.end(reason);
  }

  /** Writes a line when those before it are written. */
  #write(content: unknown): Promise<void> {
    const written = this.#writing.then(async () => {
      const bytes = formatLine(content);
      for (let at = 0; at < bytes.length;) at += await this.#transport.write(bytes.subarray(at));
    });
    this.#writing = written.catch(() => {});
    return written;
  }
}

function verbNamed(command: string): AnyVerb {
  if (Object.hasOwn(VERBS, command)) return VERBS[command as keyof typeof VERBS];
  throw new FormatError(
    `There is no command "${command}": expected ${Object.keys(VERBS).join(", ")}`,
  );
}
