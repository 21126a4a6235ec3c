/**
 * The gdb server: a TCP port of this host on which one debugger at a time is served (S13).
 *
 * Invariant: a machine has at most one debugger; another that comes is told so and gets nothing else.
 * Only this host can connect: the protocol knows no password, and writes memory.
 */
import { ConfigError, HostError } from "../../kernel/base/errors.ts";
import type { DebugTarget } from "../../kernel/debug/target.ts";
import { errorReply } from "./connection.ts";
import { asciiBytes, framePacket } from "./packets.ts";
import { Session, type SessionEnd } from "./session.ts";

const ADDRESS = "127.0.0.1";
const READ_BYTES = 0x10000;
/** How long a debugger that is refused may take to read why. */
const REFUSAL_MILLISECONDS = 2000;
const REFUSALS = 8;

/** A server that waits for a debugger or serves one. */
export interface GdbServer extends AsyncDisposable {
  /** TCP port on 127.0.0.1. */
  readonly port: number;
  /**
   * Resolves when no debugger can come any more: one left for good or saw the machine exit, or the
   * server was disposed of.
   * Rejects with an error of ours in the target.
   */
  readonly done: Promise<void>;
}

/**
 * Serves a machine that stands still to debuggers on a TCP port; 0 is any free one. When a debugger
 * leaves, the machine is detached, and another can come if the target can be attached to again.
 * Throws ConfigError for a port that there is not, HostError for one that cannot be had.
 */
export function startGdbServer(target: DebugTarget, port: number): GdbServer {
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new ConfigError(`the port for gdb is ${port}: expected 0 to 65535`);
  }
  return new Server(target, listen(port));
}

function listen(port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: ADDRESS, port });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`port ${port} of ${ADDRESS} is not to be had for gdb: ${text}`, { cause });
  }
}

class Server implements GdbServer {
  readonly port: number;
  readonly done: Promise<void>;
  readonly #listener: Deno.TcpListener;
  readonly #target: DebugTarget;
  #served: Deno.TcpConn | undefined;
  #serving: Promise<void> = Promise.resolve();
  /** Connections that are being told that there is another debugger. */
  readonly #refused = new Map<Deno.TcpConn, Promise<void>>();
  #detached = false;
  #failure: { readonly cause: unknown } | undefined;
  #disposed = false;

  constructor(target: DebugTarget, listener: Deno.TcpListener) {
    this.#target = target;
    this.#listener = listener;
    this.port = listener.addr.port;
    this.done = this.#accept();
    // Whoever waits for it still sees the error; nobody has to.
    this.done.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#stop();
    await this.done;
  }

  #stop(): void {
    closeQuietly(this.#listener);
    if (this.#served !== undefined) closeQuietly(this.#served);
    for (const connection of this.#refused.keys()) closeQuietly(connection);
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      if (this.#disposed) closeQuietly(connection);
      else if (this.#served !== undefined) this.#turnAway(connection);
      else this.#serving = this.#serve(connection);
    }
    await this.#serving;
    await Promise.all(this.#refused.values());
    if (this.#failure !== undefined) throw this.#failure.cause;
  }

  async #serve(connection: Deno.TcpConn): Promise<void> {
    this.#served = connection;
    try {
      const again = this.#detached;
      if (again) await this.#target.attach?.();
      const end = await talk(this.#target, connection);
      if (end !== "silent") this.#detached = true;
      else if (again) await this.#target.detach();
      if (end === "exited" || this.#detached && this.#target.attach === undefined) this.#stop();
    } catch (cause) {
      this.#failure = { cause };
      this.#stop();
    } finally {
      closeQuietly(connection);
      this.#served = undefined;
    }
  }

  #turnAway(connection: Deno.TcpConn): void {
    if (this.#refused.size === REFUSALS) return closeQuietly(connection);
    const told = refuse(connection).finally(() => this.#refused.delete(connection));
    this.#refused.set(connection, told);
  }
}

/** Tells a debugger that there is another, and closes. */
async function refuse(connection: Deno.TcpConn): Promise<void> {
  const timer = setTimeout(() => closeQuietly(connection), REFUSAL_MILLISECONDS);
  try {
    // The mark of an arrived packet stands before, so that this answers whatever is asked first.
    await writeAll(connection, asciiBytes("+"));
    await writeAll(connection, framePacket(errorReply("another debugger is connected")));
    await connection.closeWrite();
    const buffer = new Uint8Array(READ_BYTES);
    // What is left unread would have the connection reset, and the reason lost.
    while (await connection.read(buffer) !== null);
  } catch {
    // It is gone, and need not be refused.
  } finally {
    clearTimeout(timer);
    closeQuietly(connection);
  }
}

/** A session over a connection, and how it ended. */
async function talk(target: DebugTarget, connection: Deno.TcpConn): Promise<SessionEnd> {
  connection.setNoDelay(true);
  const session = new Session(target, (bytes) => writeAll(connection, bytes));
  const reading = receiveAll(session, connection);
  try {
    return await session.ended;
  } finally {
    closeQuietly(connection);
    await reading;
  }
}

async function receiveAll(session: Session, connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  try {
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null || !session.receive(buffer.subarray(0, count))) break;
    }
  } catch {
    // A connection that breaks ends like one that is closed.
  }
  session.close();
  // A reply that nobody reads would wait for ever.
  closeQuietly(connection);
}

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

function closeQuietly(resource: { close(): void }): void {
  try {
    resource.close();
  } catch {
    // It was closed already.
  }
}
