/**
 * Runs commands in a guest: the kernel world's half of the exec protocol, over port 1 of the virtio
 * console, where the guest's agent listens.
 *
 * Invariants: bytes of stdin, stdout and stderr pass unchanged and in order; a command waits until the
 * agent has said hello; whatever the guest sends, it can only end its own commands, never the kernel.
 */
import { concatBytes } from "../base/bytes.ts";
import { ConfigError, HostError } from "../base/errors.ts";
import { ByteInput } from "./byte_input.ts";
import { ByteOutput } from "./byte_output.ts";
import {
  encodeExecFrame,
  EXEC_FRAME,
  EXEC_PAYLOAD_BYTES,
  EXEC_WINDOW,
  type ExecFrame,
  type ExecFrameKind,
  ExecFrameReader,
  execNumber,
  IDENTITY_AGENT_VERSION,
} from "./exec_protocol.ts";
import { DEVICE_NAMES } from "./machine_port.ts";
import type { VmLink } from "./vm_link.ts";

/** Port of the virtio console that carries the exec protocol. */
export const EXEC_PORT = 1;

/** How to run a command. */
export interface ExecOptions {
  /** What the command reads; nothing by default. */
  readonly stdin?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Ends the command when aborted. */
  readonly signal?: AbortSignal;
}

/** What a command left behind. */
export interface ExecResult {
  /** Exit status; 128 and the signal's number when a signal ended it. */
  readonly status: number;
  /** What it wrote to its standard output. */
  readonly stdout: Uint8Array;
  /** What it wrote to its standard error. */
  readonly stderr: Uint8Array;
  /** `stdout` as text. */
  readonly text: string;
}

/** The connection to a guest's agent, as it is at one moment: what a VM that goes on from there has to know. */
export interface AgentPlace {
  /** Version that the agent said; 0: it has not said hello. */
  readonly version: number;
  /** Number of the next command: those before may still run in the guest, and nobody waits for them. */
  readonly nextCommand: number;
  /** What the agent has sent of a frame that is not complete. */
  readonly rest: Uint8Array;
  /** What the agent has yet to be sent. */
  readonly untaken: Uint8Array;
}

type Send = (kind: ExecFrameKind, payload?: Uint8Array) => Promise<void>;

/** Status of a command whose agent told none that makes sense. */
const NO_STATUS = 255;

/** A command that runs in a guest. */
export interface ExecProcess {
  /** What the command reads. Close it to let the command see the end. */
  readonly stdin: WritableStream<Uint8Array>;
  /** What it writes to its standard output. Unread output of 8 MiB makes the VM stand still. */
  readonly stdout: ReadableStream<Uint8Array>;
  /** What it writes to its standard error. */
  readonly stderr: ReadableStream<Uint8Array>;
  /** Its exit status; rejects with `HostError` when it could not be started or the VM ended first. */
  readonly status: Promise<number>;
  /** Sends it a signal by number: 15 (the default) asks it to end, 9 ends it. */
  kill(signal?: number): Promise<void>;
}

/** A command that runs in a guest, with what the connection to its agent needs. */
class Command implements ExecProcess {
  readonly #stdout: ByteOutput;
  readonly #stderr: ByteOutput;
  readonly #status: PromiseWithResolvers<number> = Promise.withResolvers();
  readonly #send: Send;
  #window = EXEC_WINDOW;
  #moreWindow: (() => void) | undefined;
  #over = false;

  readonly stdin: WritableStream<Uint8Array>;

  /** `send` sends a frame to the agent; `onRead` is called when a reader took output. */
  constructor(send: Send, onRead: () => void) {
    this.#send = send;
    this.#stdout = new ByteOutput(onRead);
    this.#stderr = new ByteOutput(onRead);
    // Asked for now, so that nothing is dropped for want of a reader.
    void this.#stdout.readable;
    void this.#stderr.readable;
    this.#status.promise.catch(() => {});
    this.stdin = new WritableStream({
      write: (bytes) => this.#writeStdin(bytes),
      close: () => this.#toCommand(EXEC_FRAME.stdinEnd),
      abort: () => this.#toCommand(EXEC_FRAME.stdinEnd),
    });
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.#stdout.readable;
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.#stderr.readable;
  }

  get status(): Promise<number> {
    return this.#status.promise;
  }

  /** Output that nobody took yet, in bytes. */
  get backlog(): number {
    return this.#stdout.backlog + this.#stderr.backlog;
  }

  kill(signal = 15): Promise<void> {
    return this.#toCommand(EXEC_FRAME.signal, new TextEncoder().encode(`${signal}`));
  }

  /** A frame for this command arrived; true when it was its last. */
  arrived({ kind, payload }: ExecFrame): boolean {
    switch (kind) {
      case EXEC_FRAME.stdout:
        this.#stdout.push(payload);
        return false;
      case EXEC_FRAME.stderr:
        this.#stderr.push(payload);
        return false;
      case EXEC_FRAME.taken:
        this.#window = Math.min(EXEC_WINDOW, this.#window + (execNumber(payload) || 0));
        this.#moreWindow?.();
        return false;
      case EXEC_FRAME.exit:
        this.#finish(statusOf(payload));
        return true;
      case EXEC_FRAME.refused:
        this.#finish(new HostError(new TextDecoder().decode(payload)));
        return true;
      default:
        // A frame that only we may send: a confused agent. Its commands still end by themselves.
        return false;
    }
  }

  /** The VM ended. */
  lost(): void {
    this.#finish(new HostError("The VM ended while the command ran"));
  }

  #finish(outcome: number | Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#moreWindow?.();
    this.#stdout.end();
    this.#stderr.end();
    if (outcome instanceof Error) this.#status.reject(outcome);
    else this.#status.resolve(outcome);
  }

  async #writeStdin(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      while (this.#window === 0 && !this.#over) {
        await new Promise<void>((resolve) => this.#moreWindow = resolve);
      }
      // As writing to a pipe that nobody reads any more.
      if (this.#over) throw new HostError("The command has ended");
      const part = bytes.subarray(at, at + Math.min(this.#window, EXEC_PAYLOAD_BYTES));
      at += part.length;
      this.#window -= part.length;
      await this.#toCommand(EXEC_FRAME.stdin, part);
    }
  }

  async #toCommand(kind: ExecFrameKind, payload?: Uint8Array): Promise<void> {
    if (!this.#over) await this.#send(kind, payload);
  }
}

function statusOf(payload: Uint8Array): number {
  const status = execNumber(payload);
  return status <= 255 ? status : NO_STATUS;
}

/** All commands of one VM. */
export class VmExec {
  readonly #input: ByteInput;
  readonly #onRead: () => void;
  readonly #reader = new ExecFrameReader();
  readonly #running = new Map<number, Command>();
  readonly #ready: PromiseWithResolvers<void> = Promise.withResolvers();
  #next = 1;
  #ended = false;
  /** Version of the agent, once it said hello; before, 0. */
  #agent = 0;
  /** Who waits for the agent to have heard who its guest is, in order. */
  readonly #identified: ((refused: Uint8Array | undefined) => void)[] = [];
  /** Size of the terminal, when it was told. */
  #size: Uint8Array | undefined;

  /**
   * Commands over a link; `onRead` is called when a reader took output.
   * @param resumed the agent of a guest that goes on from where it said hello already
   */
  constructor(link: VmLink, onRead: () => void, resumed?: AgentPlace) {
    this.#input = new ByteInput(link, DEVICE_NAMES.console, EXEC_PORT);
    this.#onRead = onRead;
    this.#ready.promise.catch(() => {});
    if (resumed !== undefined) this.#goOnFrom(resumed);
  }

  /** The connection as it is now. */
  get agent(): AgentPlace {
    return {
      version: this.#agent,
      nextCommand: this.#next,
      rest: this.#reader.rest,
      untaken: this.#input.untaken,
    };
  }

  /** Whether the guest's agent is there. */
  get hasAgent(): boolean {
    return this.#agent !== 0;
  }

  /** Resolves when the guest's agent is there; rejects with HostError when the VM ends before. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Output that nobody took yet, in bytes. */
  get backlog(): number {
    let sum = 0;
    for (const process of this.#running.values()) sum += process.backlog;
    return sum;
  }

  /** Starts a command as soon as the guest's agent is there. */
  async spawn(command: string | readonly string[], options: ExecOptions): Promise<ExecProcess> {
    const argv = typeof command === "string" ? ["/bin/sh", "-c", command] : command;
    if (argv.length === 0) throw new HostError("Cannot run an empty command");
    const text = new TextEncoder().encode(argv.join("\0"));
    if (text.length > EXEC_PAYLOAD_BYTES) {
      throw new ConfigError(
        `Cannot run a command of ${text.length} bytes: expected at most ${EXEC_PAYLOAD_BYTES}; ` +
          "more can be its input",
      );
    }
    await this.#ready.promise;
    if (this.#ended) throw new HostError("Cannot run a command: the VM is not running");
    const id = this.#next++;
    const send: Send = (kind, payload = new Uint8Array(0)) =>
      this.#input.write(encodeExecFrame({ kind, id, payload }));
    const process = new Command(send, this.#onRead);
    this.#running.set(id, process);
    await send(EXEC_FRAME.start, text);
    const { signal } = options;
    if (signal) {
      const kill = () => void process.kill(9).catch(() => {});
      signal.addEventListener("abort", kill, { once: true });
      const forget = () => signal.removeEventListener("abort", kill);
      process.status.then(forget, forget);
      if (signal.aborted) kill();
    }
    return process;
  }

  /** Runs a command to its end. */
  async run(command: string | readonly string[], options: ExecOptions): Promise<ExecResult> {
    const process = await this.spawn(command, options);
    const over = new AbortController();
    const feeding = feed(process.stdin, options.stdin, over.signal);
    try {
      const [status, stdout, stderr] = await Promise.all([
        process.status,
        collect(process.stdout),
        collect(process.stderr),
      ]);
      return { status, stdout, stderr, text: new TextDecoder().decode(stdout) };
    } finally {
      // A command may end while its input goes on for ever.
      over.abort();
      await feeding;
    }
  }

  /** Bytes arrived from the agent. */
  arrived(bytes: Uint8Array): void {
    for (const frame of this.#reader.push(bytes)) {
      if (frame.kind === EXEC_FRAME.hello) this.#hello(execNumber(frame.payload) || 1);
      else if (frame.kind === EXEC_FRAME.identified) this.#identified.shift()?.(frame.payload);
      else if (this.#running.get(frame.id)?.arrived(frame)) this.#running.delete(frame.id);
    }
  }

  /** The machine took so many bytes. */
  taken(count: number): void {
    this.#input.taken(count);
  }

  /** Lets the agent tell the guest's serial terminal its size, now or as soon as it is there. */
  async resize(columns: number, rows: number): Promise<void> {
    const payload = new TextEncoder().encode(`${columns} ${rows}`);
    this.#size = payload;
    if (this.#agent !== 0 && !this.#ended) {
      await this.#input.write(encodeExecFrame({ kind: EXEC_FRAME.size, id: 0, payload }));
    }
  }

  /**
   * Tells the agent who its guest is; gives the names of what the guest refused, or undefined when there is no
   * agent that knows how, or when the signal ends the wait for its answer.
   */
  async identify(payload: Uint8Array, signal: AbortSignal): Promise<string[] | undefined> {
    if (this.#agent < IDENTITY_AGENT_VERSION || this.#ended || signal.aborted) return undefined;
    const answer = Promise.withResolvers<Uint8Array | undefined>();
    this.#identified.push(answer.resolve);
    const giveUp = () => answer.resolve(undefined);
    signal.addEventListener("abort", giveUp, { once: true });
    const sent = this.#input.write(encodeExecFrame({ kind: EXEC_FRAME.identity, id: 0, payload }));
    sent.catch(giveUp);
    const refused = await answer.promise;
    signal.removeEventListener("abort", giveUp);
    return refused && new TextDecoder().decode(refused).split(" ").filter((name) => name !== "");
  }

  #goOnFrom({ version, nextCommand, rest, untaken }: AgentPlace): void {
    this.#next = nextCommand;
    this.#reader.push(rest);
    // The VM may end before it takes them, as it might have without a checkpoint.
    if (untaken.length > 0) this.#input.write(untaken).catch(() => {});
    if (version > 0) this.#hello(version);
  }

  #hello(version: number): void {
    this.#agent = version;
    this.#ready.resolve();
    if (this.#size === undefined) return;
    const size = encodeExecFrame({ kind: EXEC_FRAME.size, id: 0, payload: this.#size });
    // The VM may end meanwhile, and then nobody needs a size.
    this.#input.write(size).catch(() => {});
  }

  /** The VM ended. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#input.close();
    this.#ready.reject(new HostError("The VM ended before its guest could run a command"));
    for (const answered of this.#identified.splice(0)) answered(undefined);
    for (const process of this.#running.values()) process.lost();
    this.#running.clear();
  }
}

/** Writes all of stdin and closes it. A command that ends without reading all is no error. */
async function feed(
  to: WritableStream<Uint8Array>,
  from: ExecOptions["stdin"],
  over: AbortSignal,
): Promise<void> {
  try {
    if (from instanceof ReadableStream) return await from.pipeTo(to, { signal: over });
    const writer = to.getWriter();
    if (typeof from === "string") await writer.write(new TextEncoder().encode(from));
    else if (from) await writer.write(from);
    await writer.close();
  } catch (error) {
    if (!(error instanceof HostError) && !over.aborted) throw error;
  }
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return concatBytes(chunks);
}
