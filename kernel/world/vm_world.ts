/**
 * A VM world from its first message to its end: what a worker module calls (drivers/vm_world.ts, which
 * adds the drivers). Uses no Deno API, so it also runs in a browser's worker.
 *
 * Invariant: whatever is thrown here ends as a `failed` message with a state dump, not as silence.
 */
import { assert, unreachable } from "../base/assert.ts";
import { hostClock } from "../host/clock.ts";
import { hostEntropy } from "../host/entropy.ts";
import type { MachineImage } from "../machine/machine_image.ts";
import type { Decompress } from "../replay/log_reader.ts";
import type { RecordSync } from "../replay/recording_writer.ts";
import { hostSource, HostTime } from "./host_time.ts";
import type { MachineConfig, MachineFactory, MachinePort } from "./machine_port.ts";
import { VmMailbox } from "./mailbox.ts";
import { jsonMessage, message, TO_KERNEL } from "./protocol.ts";
import { CompilePort } from "./remote_compiler.ts";
import { type Rehearsal, rehearse } from "./rehearsal.ts";
import type { SpareMachine } from "./spare_machine.ts";
import { type EndReport, reportFailure } from "./reports.ts";
import type { ReplayedMachine, ReplayStart } from "./replay_side.ts";
import { VmExtras } from "./vm_extras.ts";
import { VmSide } from "./vm_side.ts";

/** Nanoseconds of a tick of guest time. */
const NANOSECONDS_PER_TICK = 100n;

/** The large images of a guest; a VM world frees them once they lie in guest memory. */
export interface ImagesMessage {
  readonly kernel: Uint8Array<ArrayBuffer> | undefined;
  readonly initrd: Uint8Array<ArrayBuffer> | undefined;
}

/** What a machine that goes on from a checkpoint is made from. */
export interface RestoreStart {
  /** All its state but RAM. */
  readonly image: MachineImage;
  /** Guest time of the image, in ticks of 100 ns. */
  readonly ticks: number;
  /** Its memory, with what was loaded already; the rest is asked for by way of the table. */
  readonly memory: WebAssembly.Memory;
  /** Table of the pages that are not loaded (memory/lazy_table.ts). */
  readonly lazy: SharedArrayBuffer;
  /** Whether the memory is that of the machine that this world has made ahead. */
  readonly isSpare: boolean;
}

/** The first message that a VM world gets through its worker's port; most go by the mailbox. */
export interface StartMessage {
  /** Memory of the mailbox. */
  readonly mailbox: SharedArrayBuffer;
  /** What to build. */
  readonly config: MachineConfig;
  /** Whether a guest that resets itself starts again, or ends. */
  readonly onReset: "restart" | "end";
  /** Whether to stand still until a debugger comes. */
  readonly waitsForDebugger: boolean;
  /** When what is recorded must be on stable storage; undefined: nothing is recorded. */
  readonly record: RecordSync | undefined;
  /** What is to be replayed; undefined: the machine runs by itself. */
  readonly replay: ReplayStart | undefined;
  /** What the machine goes on from; undefined: power-on. */
  readonly restore?: RestoreStart | undefined;
  /** The compiled core of machines like this one; undefined: the world makes its own. */
  readonly core?: WebAssembly.Module | undefined;
  /** The way to the compile world, if there is one. */
  readonly compiler: { readonly port: MessagePort; readonly keeps: boolean } | undefined;
}

/**
 * Makes this worker a VM world: waits for its start message, then makes and runs the machine.
 *
 * @param create makes machines
 * @param unpack unpacks zstd, for a world that may replay
 */
export function serveVmWorld(create: MachineFactory, unpack: Decompress = cannotUnpack): void {
  const inbox = new Inbox();
  void begin(inbox, create, unpack);
}

/** Rehearses as often as it is asked to before the start. */
async function begin(inbox: Inbox, create: MachineFactory, unpack: Decompress): Promise<void> {
  let spare: SpareMachine | undefined;
  for (;;) {
    const first = await inbox.next<StartMessage | { readonly rehearsal: Rehearsal }>();
    if (!("rehearsal" in first)) {
      return await new Life(first, inbox, create, unpack, spare).live();
    }
    spare = await rehearse(first.rehearsal, create);
    const rehearsed: Rehearsed = { kind: "rehearsed", memory: spare?.memory };
    (globalThis as unknown as Pick<Worker, "postMessage">).postMessage(rehearsed);
  }
}

/** What a world posts when it has rehearsed. */
export interface Rehearsed {
  readonly kind: "rehearsed";
  /** Memory of the machine that it has made ahead. */
  readonly memory: WebAssembly.Memory | undefined;
}

const cannotUnpack: Decompress = () => unreachable("this VM world does not replay");

/** What is posted to this worker, in order. */
class Inbox {
  readonly #came: unknown[] = [];
  #wants: ((message: unknown) => void) | undefined;

  constructor() {
    globalThis.addEventListener("message", (event) => {
      const { data } = event as MessageEvent<unknown>;
      if (this.#wants === undefined) this.#came.push(data);
      else this.#wants(data);
      this.#wants = undefined;
    });
  }

  /** The next message; one at a time. */
  next<T>(): Promise<T> {
    if (this.#came.length > 0) return Promise.resolve(this.#came.shift() as T);
    return new Promise((resolve) => this.#wants = resolve as (message: unknown) => void);
  }
}

/** Gives the memory of the images back at once, which garbage collection would do late. */
function freeImages({ kernel, initrd }: ImagesMessage): void {
  for (const image of [kernel, initrd]) {
    if (image !== undefined && !image.buffer.detached) image.buffer.transfer(0);
  }
}

/** The images once more, for a guest that starts again. */
function imagesAgain(inbox: Inbox, mailbox: VmMailbox): Promise<ImagesMessage> {
  const answer = inbox.next<ImagesMessage>();
  mailbox.send(TO_KERNEL.imagesWanted, message());
  return answer;
}

function withImages(config: MachineConfig, { kernel, initrd }: ImagesMessage): MachineConfig {
  return { ...config, ...(kernel && { kernel }), ...(initrd && { initrd }) };
}

/** The life of a VM world. */
class Life {
  readonly #start: StartMessage;
  readonly #mailbox: VmMailbox;
  readonly #port: CompilePort | undefined;
  #spare: SpareMachine | undefined;
  readonly #core: WebAssembly.Module | undefined;
  #images: ImagesMessage;
  #machine: MachinePort | undefined;

  constructor(
    start: StartMessage,
    private readonly inbox: Inbox,
    private readonly create: MachineFactory,
    private readonly unpack: Decompress,
    spare: SpareMachine | undefined,
  ) {
    const { compiler, config, restore } = start;
    this.#spare = restore?.isSpare ? spare : undefined;
    this.#core = start.core ?? this.#spare?.core;
    this.#start = start;
    this.#mailbox = new VmMailbox(start.mailbox);
    this.#port = compiler && this.#connect(compiler);
    this.#images = { kernel: config.kernel, initrd: config.initrd };
  }

  /** The way to the compile world, by which a machine that was made ahead is to go. */
  #connect({ port, keeps }: NonNullable<StartMessage["compiler"]>): CompilePort {
    const { compiler } = this.#spare ?? {};
    if (compiler === undefined) return new CompilePort(port, keeps);
    assert(compiler.keeps === keeps, "the machine was made for this code");
    compiler.connect(port);
    return compiler;
  }

  async live(): Promise<void> {
    const mailbox = this.#mailbox;
    try {
      const end = await (this.#start.replay ? this.#replay(this.#start.replay) : this.#run());
      mailbox.send(TO_KERNEL.halted, jsonMessage([end.code], end));
    } catch (error) {
      const phase = this.#machine === undefined ? "start" : "run";
      mailbox.send(TO_KERNEL.failed, jsonMessage([], reportFailure(phase, error, this.#machine)));
    }
  }

  async #run(): Promise<EndReport> {
    const { config, onReset, record, restore } = this.#start;
    let wallStart = config.startWallNanoseconds;
    let time = this.#hostTime(restore?.ticks);
    let machine = await this.#make(wallStart, time, restore);
    const extras = new VmExtras();
    const saves = restore &&
      (await extras.loadSaving()).restoreMachine(machine, this.#mailbox, restore.image);
    const recording = record &&
      (await extras.loadRecording())
        .beginRecording(machine, this.#mailbox, hostClock, record, "power-on");
    const { waitsForDebugger } = this.#start;
    let side = new VmSide(machine, this.#mailbox, {
      time,
      hostClock,
      extras,
      recording,
      waitsForDebugger,
      saves,
    });
    machine.machine?.lazy?.waitUntilReady();
    for (;;) {
      this.#mailbox.send(TO_KERNEL.running, message("", [hostClock.commonMilliseconds()]));
      const end = await side.run();
      if (end.why !== "reset" || onReset !== "restart") {
        side.recording?.end(end.why === "replayed" ? "stopped" : end.why, end.code);
        return end;
      }
      // The wall clock goes on, which may have been moved, though guest time begins anew.
      wallStart = machine.machine?.state.wallStart ?? wallStart;
      wallStart += BigInt(machine.ticks) * NANOSECONDS_PER_TICK;
      time = this.#hostTime();
      machine = await this.#makeAgain(wallStart, time);
      if (side.recording) machine.recordAgain?.(side.recording.recorder, wallStart);
      if (side.debug) extras.debugging!.moveDebugger(side.debug, machine);
      side = new VmSide(machine, this.#mailbox, { time, hostClock, extras, before: side });
    }
  }

  async #replay(replay: ReplayStart): Promise<EndReport> {
    const { startWallNanoseconds } = this.#start.config;
    const { loadPlugins, ReplaySide } = await import("./replay_parts.ts");
    const plugins = await loadPlugins(replay.plugins);
    const machine = replayable(await this.#make(startWallNanoseconds));
    this.#mailbox.send(TO_KERNEL.running, message("", [hostClock.commonMilliseconds()]));
    return await new ReplaySide(machine, replay, {
      plugins,
      waitsForDebugger: this.#start.waitsForDebugger,
      mailbox: this.#mailbox,
      clock: hostClock,
      unpack: this.unpack,
      again: async (wallStart = startWallNanoseconds) =>
        replayable(await this.#makeAgain(wallStart)),
    }).run();
  }

  /** What the guest's time follows; it stands still until the machine runs. */
  #hostTime(ticks = 0): HostTime | undefined {
    return this.#start.config.clock === "virtual" ? undefined : new HostTime(hostClock, ticks);
  }

  /** @param time what an exact clock reads; nothing does on replay */
  async #make(
    startWallNanoseconds: bigint,
    time?: HostTime,
    restored?: RestoreStart,
  ): Promise<MachinePort> {
    this.#machine = undefined;
    if (restored !== undefined && this.#spare !== undefined) {
      const { machine } = this.#spare;
      this.#spare = undefined;
      machine.machine!.loadLazily(restored.lazy);
      return this.#machine = machine;
    }
    const config = { ...withImages(this.#start.config, this.#images), startWallNanoseconds };
    const machine = await this.create(config, {
      core: this.#core,
      compiler: this.#port,
      host: time && hostSource(time, hostEntropy),
      restored,
    });
    freeImages(this.#images);
    this.#machine = machine;
    return machine;
  }

  async #makeAgain(startWallNanoseconds: bigint, time?: HostTime): Promise<MachinePort> {
    this.#images = await imagesAgain(this.inbox, this.#mailbox);
    return await this.#make(startWallNanoseconds, time);
  }
}

function replayable(machine: MachinePort): ReplayedMachine {
  assert(machine.machine !== undefined, "this machine cannot be replayed");
  return machine as ReplayedMachine;
}
