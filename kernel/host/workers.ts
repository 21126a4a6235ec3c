/**
 * Starts VM worlds: Workers that hold no permission of the operating system at all (design.md,
 * Worlds; issue 2, section 5).
 *
 * Invariant: a Worker is never started with more than no permissions. Where the runtime cannot
 * withhold them, starting fails.
 */
import { startGivingWay } from "./thread_priority.ts";

/** What a dying Worker said. */
export interface WorldDeath {
  /** The error's message. */
  readonly message: string;
  /** Where it was thrown, as "file:line:column", where known. */
  readonly place: string;
}

/** A started VM world. */
export interface WorldWorker {
  /** Sends a message; the buffers in `transfer` move to it. */
  post(message: unknown, transfer?: readonly Transferable[]): void;
  /** Ends it at once, whatever it is doing. */
  terminate(): void;
}

/** How a world is to run. */
export interface WorldOptions {
  /** Whether others that want the processor have it first, where the host can do that. */
  readonly givesWay?: boolean;
}

/** Makes VM worlds. */
export interface HostWorkers {
  /**
   * Starts the module at `url` as a world of its own; `onDeath` is called when it fails by itself,
   * `onMessage` with what it posts.
   */
  start(
    url: URL,
    name: string,
    onDeath: (death: WorldDeath) => void,
    onMessage?: (message: unknown) => void,
    options?: WorldOptions,
  ): WorldWorker;
}

/** Worker options with Deno's permission setting, which the standard type does not know. */
interface ConfinedWorkerOptions extends WorkerOptions {
  readonly deno: { readonly permissions: "none" };
}

/** Workers of the runtime this code runs on. */
export const hostWorkers: HostWorkers = {
  start: (url, name, onDeath, onMessage, { givesWay = false } = {}) => {
    const options: ConfinedWorkerOptions = { type: "module", name, deno: { permissions: "none" } };
    const start = () => new Worker(url, options);
    const worker = givesWay ? startGivingWay(start) : start();
    worker.addEventListener("error", (event) => {
      // Without this the runtime would end the whole kernel for one VM's failure.
      event.preventDefault();
      onDeath({
        message: event.message,
        place: event.filename ? `${event.filename}:${event.lineno}:${event.colno}` : "",
      });
    });
    if (onMessage) worker.addEventListener("message", ({ data }) => onMessage(data));
    worker.addEventListener("messageerror", () => {
      onDeath({ message: "a message could not be read", place: "" });
    });
    return {
      post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
      terminate: () => worker.terminate(),
    };
  },
};
