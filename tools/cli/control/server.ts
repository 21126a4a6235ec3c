/**
 * The kernel's end of its control socket: takes in clients (docs/control.md).
 *
 * Invariants: at most CONNECTIONS_MAXIMUM clients are connected; what the kernel had to say is said
 * before it closes, unless the client does not read.
 */
import { HostError } from "../../../mod.ts";
import { ControlConnection } from "./connection.ts";
import type { Consoles } from "./consoles.ts";
import { errorReply, formatLine } from "./protocol.ts";
import type { ClaimedNames, ControlledKernel, ControlSurroundings } from "./verb.ts";

/** Most clients at once. */
export const CONNECTIONS_MAXIMUM = 64;
/** Milliseconds that clients get at the end to read what was said. */
const CLOSE_MILLISECONDS = 5_000;

/** What a server is told beside its kernel. */
export interface ControlServerOptions {
  /** Consoles of the kernel's VMs. */
  readonly consoles: Consoles;
  /** File that this process' messages go to, if it has no terminal. */
  readonly log?: string | undefined;
  /** Takes names that no VM of this user has, and puts them among the claims. */
  claimNames(
    claims: Set<string>,
    names: Iterable<string>,
    count: number,
  ): Promise<ClaimedNames>;
}

/** Serves one kernel. */
export class ControlServer {
  /** Names that VMs about to be made will have. */
  readonly claims: Set<string> = new Set();
  readonly #surroundings: ControlSurroundings;
  readonly #listener: Deno.Listener<Deno.Conn>;
  readonly #connections = new Set<ControlConnection>();
  readonly #accepting: Promise<void>;

  /** Serves connections of a listener, which is closed with it. */
  constructor(
    kernel: ControlledKernel,
    listener: Deno.Listener<Deno.Conn>,
    { consoles, log, claimNames }: ControlServerOptions,
  ) {
    const { claims } = this;
    const claim: ControlSurroundings["claimNames"] = (names, count) =>
      claimNames(claims, names, count);
    this.#surroundings = { kernel, consoles, claims, claimNames: claim, log };
    this.#listener = listener;
    this.#accepting = this.#accept();
  }

  /** Ends all connections; resolves when nothing is accepted any more. */
  async close(): Promise<void> {
    this.#listener.close();
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_MILLISECONDS);
    const settled = [...this.#connections].map((connection) => connection.settled());
    await Promise.race([Promise.all(settled), late]);
    clearTimeout(timer);
    for (const connection of this.#connections) connection.close();
    this.#connections.clear();
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    try {
      for await (const transport of this.#listener) {
        if (this.#connections.size >= CONNECTIONS_MAXIMUM) {
          void turnAway(transport);
          continue;
        }
        const connection = new ControlConnection(this.#surroundings, transport);
        this.#connections.add(connection);
        void connection.serve().then(() => this.#connections.delete(connection));
      }
    } catch {
      // No more connections can be had: those that are there, and the VMs, go on.
    }
  }
}

async function turnAway(transport: Deno.Conn): Promise<void> {
  const why = new HostError(`The kernel has ${CONNECTIONS_MAXIMUM} clients: expected less`);
  try {
    // It fits into what a socket holds, so this waits for nobody.
    await transport.write(formatLine(errorReply(null, why)));
  } catch {
    // It went away by itself.
  } finally {
    transport.close();
  }
}
