/**
 * The compile world as a machine sees it: takes batches over a message port, gives them back as modules.
 *
 * Invariant: what an earlier machine of this VM world ordered never reaches a later one.
 */
import { assert } from "../base/assert.ts";
import { hostTimers } from "../host/timers.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import type { Batch, MadeBatch, RegionCompiler } from "../translator/translation.ts";
import { type FromCompileWorld, KEPT_SLOTS, type ToCompileWorld } from "./translation_protocol.ts";

/** A message that was counted arrives at once, unless its sender died. */
const ARRIVAL_MILLISECONDS = 1000;

/** A VM world's end of the port to the compile world. */
export class CompilePort {
  #port: MessagePort | undefined;
  /** What was said before there was anybody to say it to. */
  readonly #unsaid: ToCompileWorld[] = [];
  #life = 0;
  #compiler: RemoteCompiler | undefined;

  /**
   * Connects at once where there is a port.
   * @param keeps whether there are regions of earlier runs
   */
  constructor(port: MessagePort | undefined, readonly keeps: boolean) {
    if (port !== undefined) this.connect(port);
  }

  /** Connects a machine that was made ahead, and has ordered nothing yet. */
  connect(port: MessagePort): void {
    assert(this.#port === undefined, "the way to the compile world is one");
    this.#port = port;
    for (const what of this.#unsaid.splice(0)) port.postMessage(what);
    port.onmessage = ({ data }: MessageEvent<FromCompileWorld>) => {
      if (data.life === this.#life) this.#compiler?.arrived(data.made);
    };
  }

  /** The compiler for a machine with this layout; the one of an earlier machine ends. */
  begin(plan: MemoryPlan): RemoteCompiler {
    const sent = new SharedArrayBuffer(4);
    this.#life++;
    this.#say({ kind: "begin", plan, life: this.#life, sent });
    this.#compiler = new RemoteCompiler(sent, this.keeps, (batch) => {
      // Its code is a copy that nobody else has.
      const code = [...batch.code.values()].flatMap(({ halves, near }) => [halves, near]);
      this.#say({ kind: "batch", batch }, code.map(({ buffer }) => buffer));
    });
    return this.#compiler;
  }

  #say(what: ToCompileWorld, transfer: Transferable[] = []): void {
    if (this.#port !== undefined) return this.#port.postMessage(what, transfer);
    assert(transfer.length === 0, "a machine that does not run orders nothing");
    this.#unsaid.push(what);
  }
}

/** Makes regions in the compile world. */
export class RemoteCompiler implements RegionCompiler {
  readonly firstSlot: number;
  readonly #sent: Int32Array;
  readonly #ready: MadeBatch[] = [];
  #received = 0;
  #ordered = false;
  #arrival: PromiseWithResolvers<void> | undefined;

  /** @param keeps whether regions of earlier runs may come, also behind the first order */
  constructor(
    sent: SharedArrayBuffer,
    keeps: boolean,
    private readonly send: (batch: Batch) => void,
  ) {
    this.#sent = new Int32Array(sent);
    this.firstSlot = keeps ? KEPT_SLOTS + 1 : 1;
  }

  get busy(): boolean {
    return this.#ordered;
  }

  submit(batch: Batch): void {
    this.#ordered = true;
    this.send(batch);
  }

  take(): MadeBatch | undefined {
    const made = this.#ready.shift();
    if (made !== undefined && !made.kept) this.#ordered = false;
    return made;
  }

  /** A promise to wait for when a batch was sent that has not arrived: the thread must become idle for it. */
  get arrival(): Promise<void> | undefined {
    if (Atomics.load(this.#sent, 0) <= this.#received) return undefined;
    this.#arrival ??= Promise.withResolvers();
    return this.#arrivalOrNot(this.#arrival.promise);
  }

  /** What does not come in time has been lost with the compile world, and is not waited for again. */
  async #arrivalOrNot(arrival: Promise<void>): Promise<void> {
    const arrived = new AbortController();
    void arrival.then(() => arrived.abort());
    const late = await hostTimers.delay(ARRIVAL_MILLISECONDS, arrived.signal);
    if (late) this.#received = Atomics.load(this.#sent, 0);
  }

  /** A batch arrived. */
  arrived(made: MadeBatch): void {
    this.#received++;
    this.#ready.push(made);
    this.#arrival?.resolve();
    this.#arrival = undefined;
  }
}
