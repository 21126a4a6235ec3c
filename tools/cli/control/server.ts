/**
 * The kernel's end of its control socket: does what requests ask of the kernel's VMs (docs/control.md).
 *
 * Invariants: requests of a connection are done one after another, and no more is read meanwhile;
 * whatever a client sends or leaves unread, it gets an error or loses its connection, and the VMs go on.
 */
import {
  ConfigError,
  FormatError,
  type RecordOptions,
  type VmState,
  type VmStats,
} from "../../../mod.ts";
import { VERSION } from "../version.ts";
import {
  CONTROL_VERSION,
  type ControlReply,
  type ControlRequest,
  errorReply,
  formatLine,
  idOf,
  LINE_BYTES_MAXIMUM,
  LineReader,
  parseRequest,
} from "./protocol.ts";

/** Most clients at once. */
const CONNECTIONS_MAXIMUM = 16;
/** Bytes read at once. */
const READ_BYTES = 16 * 1024;

/** A VM as far as it is controlled. */
export interface ControlledVm {
  readonly name: string;
  readonly state: VmState;
  readonly icount: number;
  /** Folder of the recording that is made of it, if one is. */
  readonly recordingFolder: string | undefined;
  pause(): Promise<void>;
  resume(): Promise<void>;
  stats(): Promise<VmStats>;
  startRecording(options: RecordOptions): Promise<void>;
  stopRecording(): Promise<void>;
}

/** A kernel as far as it is controlled. */
export interface ControlledKernel {
  /** VMs that have not ended. */
  readonly vms: readonly ControlledVm[];
}

/** Serves one kernel. */
export class ControlServer {
  readonly #kernel: ControlledKernel;
  readonly #listener: Deno.Listener<Deno.Conn>;
  readonly #connections = new Set<Deno.Conn>();
  readonly #accepting: Promise<void>;

  /** Serves connections of a listener, which is closed with it. */
  constructor(kernel: ControlledKernel, listener: Deno.Listener<Deno.Conn>) {
    this.#kernel = kernel;
    this.#listener = listener;
    this.#accepting = this.#accept();
  }

  /** Ends all connections; resolves when nothing is accepted any more. */
  async close(): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) connection.close();
    this.#connections.clear();
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        if (this.#connections.size >= CONNECTIONS_MAXIMUM) {
          connection.close();
          continue;
        }
        this.#connections.add(connection);
        void this.#serve(connection);
      }
    } catch {
      // No more connections can be had: those that are there, and the VMs, go on.
    }
  }

  async #serve(connection: Deno.Conn): Promise<void> {
    try {
      await this.#answerAll(connection);
    } catch {
      // The client went away, or `close` ended the connection.
    } finally {
      if (this.#connections.delete(connection)) connection.close();
    }
  }

  async #answerAll(connection: Deno.Conn): Promise<void> {
    const lines = new LineReader(LINE_BYTES_MAXIMUM);
    const chunk = new Uint8Array(READ_BYTES);
    for (;;) {
      const count = await connection.read(chunk);
      if (count === null) return;
      try {
        for (const line of lines.push(chunk.subarray(0, count))) {
          await send(connection, await answer(this.#kernel, line));
        }
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        // Where the next line begins is not known.
        return await send(connection, errorReply(null, error));
      }
    }
  }
}

async function send(connection: Deno.Conn, reply: ControlReply): Promise<void> {
  const bytes = formatLine(reply);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Does what a line asks for. Never rejects. */
export async function answer(kernel: ControlledKernel, line: string): Promise<ControlReply> {
  let id: ControlReply["id"] = null;
  try {
    id = idOf(line);
    const request = parseRequest(line);
    return { id, result: await perform(kernel, request) };
  } catch (error) {
    return errorReply(id, error);
  }
}

async function perform(kernel: ControlledKernel, request: ControlRequest): Promise<unknown> {
  switch (request.command) {
    case "version":
      return { version: CONTROL_VERSION, program: VERSION, process: Deno.pid };
    case "list":
      return { process: Deno.pid, vms: kernel.vms.map(describe) };
    case "record-start": {
      const { vm, folder, sync, images } = request;
      const options = { folder, ...sync && { sync }, ...images !== undefined && { images } };
      await named(kernel, vm).startRecording(options);
      return {};
    }
    case "record-stop":
      await named(kernel, request.vm).stopRecording();
      return {};
    case "pause":
    case "resume": {
      const vm = named(kernel, request.vm);
      await vm[request.command]();
      return { state: vm.state };
    }
    case "stats":
      return { stats: await named(kernel, request.vm).stats() };
  }
}

function describe({ name, state, icount, recordingFolder }: ControlledVm): unknown {
  return { name, state, icount, recording: recordingFolder ?? null };
}

function named({ vms }: ControlledKernel, name: string): ControlledVm {
  const [vm, another] = vms.filter((candidate) => candidate.name === name);
  if (vm === undefined) throw new ConfigError(`There is no VM "${name}"`);
  if (another !== undefined) throw new ConfigError(`Two VMs have the name "${name}"`);
  return vm;
}
