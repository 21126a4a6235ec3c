/**
 * The kernel world's side of the translator tier: starts the compile world, connects VMs with it, and
 * keeps regions in files for later runs (issue 3 section 1, "Persistent profiles").
 *
 * Invariants: a file that cannot be read or written costs time, never a VM; files are replaced whole.
 */
import { Digest } from "../base/checksum.ts";
import { HostError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import type { WorldDeath, WorldWorker } from "../host/workers.ts";
import type { MachineConfig } from "./machine_port.ts";
import {
  type HandedRegions,
  type KernelToCompileWorld,
  READY,
  type ToKeep,
} from "./translation_protocol.ts";

/** Bytes at the start of a kernel image that tell it from others, with its length. */
const IMAGE_HEAD_BYTES = 65536;
/** Milliseconds between looks for new regions while a VM runs. */
const KEEP_MILLISECONDS = 20_000;
/** Milliseconds that keeping may take at the end of a VM. */
const LAST_KEEP_MILLISECONDS = 2_000;

/** Most files whose regions the compile world remembers for VMs to come. */
const HANDED_MAXIMUM = 4;

/** What a VM world needs for its machine's regions. */
export interface Connection {
  readonly port: MessagePort;
  /** Whether there are regions of earlier runs. */
  readonly keeps: boolean;
  /** Keeps what is new, a last time, and ends the connection. */
  close(): Promise<void>;
}

interface Connected {
  readonly path: string | undefined;
  answered: PromiseWithResolvers<void> | undefined;
}

/** Connects VMs with the compile world. */
export class TranslationService {
  readonly #connected = new Map<number, Connected>();
  /** What is to be said to a compile world that has not been started. */
  readonly #unsaid: (() => void)[] = [];
  /** Kept regions that the compile world remembers, by the names of their files. */
  readonly #handed = new Set<string>();
  #worker: WorldWorker | undefined;
  #ready = false;
  #died: WorldDeath | undefined;
  readonly #stopping = new AbortController();
  #count = 0;

  /**
   * @param directory where regions are kept; undefined when none are
   * @param warn called with a line when the compile world has failed
   */
  constructor(
    private readonly host: Host,
    private readonly directory: string | undefined,
    private readonly warn: (line: string) => void,
  ) {}

  /**
   * Starts the compile world, if it does not run. Starting a worker takes this thread 10 ms and the new one
   * 30, and what was kept takes it 200 more, so whoever starts a VM lets that go first: its code is not hot
   * at once.
   *
   * @param after milliseconds to wait; nothing is started when the service stops, or nobody is connected, then
   */
  start(after = 0): void {
    if (this.#worker !== undefined) return;
    if (after > 0) return void this.#startLater(after);
    this.#worker = this.host.workers.start(
      new URL("./compile_world.ts", import.meta.url),
      "compiler",
      (death) => this.#dies(death),
      (message) => {
        if (message === READY) this.#ready = true;
        else this.#keep(message as ToKeep);
      },
    );
    for (const say of this.#unsaid.splice(0)) say();
  }

  async #startLater(after: number): Promise<void> {
    const passed = await this.host.timers.delay(after, this.#stopping.signal);
    if (passed && this.#connected.size > 0) this.start();
  }

  /**
   * Connects a VM; nobody answers it before `start`.
   * @param name of the file that its regions are kept in
   * @param after milliseconds until it gets what was kept, which takes the compile world 200 to make
   */
  async connect(name: string, after = 0): Promise<Connection> {
    const path = this.directory && `${this.directory}/${name}`;
    const keeps = path !== undefined && this.#isThere(path);
    const id = this.#count++;
    const { port1, port2 } = new MessageChannel();
    this.#connected.set(id, { path, answered: undefined });
    const cancel = new AbortController();
    const introduce = async () => {
      // Not before: a VM that goes on does not wait for the 5 ms that the first timer of a process takes.
      void this.#keepNowAndThen(id, cancel.signal);
      const kept = keeps ? await this.#keptAt(path) : undefined;
      if (!this.#connected.has(id)) return;
      if (kept?.bytes !== undefined) this.#hand(kept.name);
      const transfer = kept?.bytes === undefined ? [port1] : [port1, kept.bytes.buffer];
      const remembered = [...this.#handed];
      const vm = { id, port: port1, keep: path !== undefined, kept, remembered };
      this.#say({ kind: "introduce", vm }, transfer);
    };
    // What is kept is read when there is somebody to use it.
    if (this.#worker === undefined) this.#unsaid.push(() => void introduce());
    else if (after === 0) await introduce();
    else void this.host.timers.delay(after, this.#stopping.signal).then(introduce);
    const close = async () => {
      cancel.abort();
      await this.#askToKeep(id, true);
      this.#connected.delete(id);
    };
    return { port: port2, keeps, close };
  }

  /** Ends the compile world. */
  stop(): void {
    this.#stopping.abort();
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#unsaid.length = 0;
  }

  async #keepNowAndThen(id: number, signal: AbortSignal): Promise<void> {
    while (await this.host.timers.delay(KEEP_MILLISECONDS, signal)) {
      await this.#askToKeep(id, false);
    }
  }

  async #askToKeep(id: number, last: boolean): Promise<void> {
    const connected = this.#connected.get(id);
    if (connected === undefined || this.#died !== undefined) return;
    if (!this.#ready) {
      // A world that has not even loaded has made nothing: a VM that ends already does not wait for it.
      if (last && this.#worker !== undefined) this.#say({ kind: "keep", id, last });
      return;
    }
    const answered = connected.answered = Promise.withResolvers<void>();
    this.#say({ kind: "keep", id, last });
    const timeout = new AbortController();
    void answered.promise.then(() => timeout.abort());
    await this.host.timers.delay(LAST_KEEP_MILLISECONDS, timeout.signal);
  }

  #keep({ id, bytes }: ToKeep): void {
    const connected = this.#connected.get(id);
    if (connected === undefined) return;
    if (bytes !== undefined && connected.path !== undefined) this.#write(connected.path, bytes);
    connected.answered?.resolve();
  }

  #isThere(path: string): boolean {
    try {
      return this.host.files.exists(path);
    } catch (error) {
      if (error instanceof HostError) return false;
      throw error;
    }
  }

  async #keptAt(path: string): Promise<HandedRegions | undefined> {
    if (this.#handed.has(path)) return { name: path, bytes: undefined };
    const bytes = await this.#read(path);
    return bytes && { name: path, bytes };
  }

  #hand(name: string): void {
    this.#handed.delete(name);
    this.#handed.add(name);
    if (this.#handed.size > HANDED_MAXIMUM) this.#handed.delete(this.#handed.keys().next().value!);
  }

  async #read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return await this.host.files.readAll(path);
    } catch (error) {
      if (error instanceof HostError) return undefined;
      throw error;
    }
  }

  #write(path: string, bytes: Uint8Array): void {
    try {
      this.host.files.replace(path, bytes);
      // Who comes next is handed what is new.
      this.#handed.delete(path);
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
    }
  }

  #dies(death: WorldDeath): void {
    this.#died = death;
    this.warn(
      `The translator has failed; guests go on, but slowly: ${death.message} ${death.place}`,
    );
    for (const { answered } of this.#connected.values()) answered?.resolve();
  }

  #say(what: KernelToCompileWorld, transfer: Transferable[] = []): void {
    this.#worker?.post(what, transfer);
  }
}

/** The name of the file for a machine: the same for the same kernel image on the same board. */
export function translationsName(config: MachineConfig): string {
  const { kernel, memoryBytes, harts, disks, tlbEntries = 0, cacheElements = 0 } = config;
  const digest = new Digest();
  const marks = config.marksExecution ? 1 : 0;
  const exact = config.clock === "exact" ? 1 : 0;
  for (
    const number of [memoryBytes, harts, disks.length, tlbEntries, cacheElements, marks, exact]
  ) {
    digest.number(number);
  }
  if (kernel !== undefined) {
    digest.number(kernel.length);
    const words = Math.min(IMAGE_HEAD_BYTES, kernel.length) >> 2;
    digest.words(new Uint32Array(kernel.slice(0, words * 4).buffer));
  }
  return `${digest.hex()}.regions`;
}
