/**
 * A VM as the kernel world holds it: its worker, its streams, its disks, its state (issue 2, section 5).
 *
 * Invariants: whatever happens to the VM world - its guest powers off, it throws, its worker dies - ends
 * in exactly one `#finish`, after which nothing of the VM runs or is open; a failure is the VM's alone:
 * the kernel and other VMs go on.
 */
import { Broken } from "../base/assert.ts";
import { closeAll } from "../base/close_all.ts";
import { HostError } from "../base/errors.ts";
import type { VmIdentity } from "../base/identity.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { Host } from "../host/host.ts";
import type { WorldDeath, WorldWorker } from "../host/workers.ts";
import type { DebugTarget } from "../debug/target.ts";
import { ByteOutput } from "./byte_output.ts";
import { noteSaving } from "./savable_vms.ts";
import { DiskService } from "./disk_service.ts";
import { DEVICE_NAMES, type MachineStats } from "./machine_port.ts";
import { KernelMailbox, type Received } from "./mailbox.ts";
import { message, messageText, TO_KERNEL, TO_VM } from "./protocol.ts";
import type { Connection } from "./translation_service.ts";
import type { RecordOptions } from "./recording_session.ts";
import { VmRecordings } from "./vm_recordings.ts";
import type { ReplayedCommand } from "./replay_source.ts";
import {
  deathReport,
  type EndReport,
  failureError,
  type FailureReport,
  failureReport,
  type HartDump,
  NO_STATS,
} from "./reports.ts";
import { VmBacklog } from "./vm_backlog.ts";
import { ConsoleEnd, type VmConsole } from "./vm_console.ts";
import { VmDebug } from "./vm_debug.ts";
import { VmExec } from "./vm_exec.ts";
import type { AgentPlace, ExecOptions, ExecProcess, ExecResult } from "./vm_exec.ts";
import { type AnnouncementOutcome, type IdentityAnnouncement, VmWho } from "./vm_identity.ts";
import { VmLink } from "./vm_link.ts";
import type { PageLoader } from "./page_loader.ts";
import { type RestoreParts, startMessage, type VmParts } from "./vm_parts.ts";
import { VmQueries } from "./vm_queries.ts";
import { VmReplay } from "./vm_replay.ts";
import type { VmExit, VmStats } from "./vm_facts.ts";
import { takePosted } from "./vm_posted.ts";
import { VmSaves } from "./vm_saves.ts";
import { isFinal, VmPhase, type VmState } from "./vm_state.ts";
import type { WorkingSetLearner } from "./working_set_learner.ts";

/** Milliseconds that a VM world gets to answer to `stop` before its worker is ended. */
const STOP_MILLISECONDS = 10_000;

/** A running VM. */
export class VM {
  /** Its name. */
  readonly name: string;
  /** Name of the guest that it was started with, if it was started by one. */
  readonly guest: string | undefined;
  /** Number of its harts. */
  readonly harts: number;
  /** Bytes of its memory. */
  readonly memoryBytes: number;
  readonly #console: ConsoleEnd;
  readonly #host: Host;
  readonly #link: VmLink;
  readonly #worker: WorldWorker;
  readonly #compiler: Connection | undefined;
  readonly #queries: VmQueries;
  readonly #debug: VmDebug;
  readonly #exec: VmExec;
  readonly #identity: VmWho;
  readonly #trace: ByteOutput;
  readonly #backlog: VmBacklog;
  readonly #disks: ReadonlyMap<string, DiskService>;
  readonly #drives: VmParts["drives"];
  readonly #network: VmParts["network"];
  readonly #images: VmParts["images"];
  readonly #recordings: VmRecordings;
  readonly #replay: VmReplay | undefined;
  readonly #restore: RestoreParts | undefined;
  #learner: WorkingSetLearner | undefined;
  readonly #saves: VmSaves;
  readonly #exit: PromiseWithResolvers<VmExit> = Promise.withResolvers();
  readonly #phase = new VmPhase();
  #startedAt = 0;
  #wall = 0;
  #finalStats: MachineStats | undefined;
  #failure: FailureReport | undefined;
  #finishing: Promise<void> | undefined;

  /** Starts the VM world. Use `VMKernel.powerOn`. */
  constructor(parts: VmParts) {
    const { host, name, config } = parts;
    this.name = name;
    this.guest = parts.guest;
    this.harts = config.harts;
    this.memoryBytes = config.memoryBytes;
    this.#host = host;
    this.#network = parts.network;
    this.#images = parts.images;
    // Waiting for the exit is a choice; a failure that nobody waits for is not an unhandled error.
    this.#exit.promise.catch(() => {});
    const { mailbox } = parts.world;
    const fault = (error: unknown) => this.#fail(failureReport("run", error, this.icount));
    const message = (got: Received) => this.#received(got);
    this.#link = new VmLink(new KernelMailbox(mailbox), host.timers, { message, fault });
    const backlog = this.#backlog = new VmBacklog(this.#link);
    const balance = () => backlog.changed();
    this.#trace = new ByteOutput(balance);
    // A trace that was asked for is kept for its reader from the first line on.
    if (config.trace) void this.#trace.readable;
    this.#queries = new VmQueries(this.#link);
    this.#debug = new VmDebug(this.#link);
    const exec = this.#exec = new VmExec(this.#link, balance, parts.agent);
    const started = () => this.started();
    this.#identity = new VmWho(config.identity, { link: this.#link, exec, host, started });
    this.#console = new ConsoleEnd(this.#link, parts.consoleDevice, balance, (columns, rows) => {
      return exec.resize(columns, rows);
    });
    this.#disks = new Map(parts.disks.map((disk, i) => {
      const device = DEVICE_NAMES.disk(i);
      return [device, new DiskService(device, disk, this.#link, balance)];
    }));
    const { recording, newRecording } = parts;
    const services = [...this.#disks.values()];
    (this.#drives = parts.drives)?.attach(services);
    this.#recordings = new VmRecordings(this.#link, services, recording, newRecording);
    this.#replay = parts.replay &&
      new VmReplay(parts.replay, config.memoryBytes / PAGE_BYTES, this.#link, balance);
    backlog.consistsOf([this.#console, this.#trace, exec, this.#replay, ...services]);
    this.#saves = new VmSaves(this.#link, () => ({
      typed: this.#console.untaken,
      agent: exec.agent,
      wallNanoseconds: host.clock.wallNanoseconds(),
    }));
    this.#worker = parts.world.claim(
      (death) => this.#died(death),
      (posted) => takePosted(posted, this.#saves, host, fault),
    );
    const restore = this.#restore = parts.restore;
    const { facts, drives } = parts;
    const loader = restore?.loader;
    const goOn = (learner?: WorkingSetLearner) => this.#goOn(loader!, learner);
    noteSaving(this, { saves: this.#saves, facts, disks: drives, loader, goOn });
    this.#compiler = parts.compiler;
    this.#worker.post(startMessage(parts), [
      ...parts.compiler ? [parts.compiler.port] : [],
      ...parts.moved,
    ]);
    this.#saves.base = restore?.base;
    // The VM may end before its guest takes it, as it might have without the checkpoint.
    if (restore && restore.typed.length > 0) this.#console.write(restore.typed).catch(() => {});
  }

  /** Its terminal. */
  get console(): VmConsole {
    return this.#console;
  }

  /** What it is doing. */
  get state(): VmState {
    return this.#phase.state;
  }

  /** Why it failed, if it did. */
  get failure(): FailureReport | undefined {
    return this.#failure;
  }

  /** Instructions it has retired, as of its last slice. */
  get icount(): number {
    return this.#link.icount;
  }

  /** When its machine began to execute, in milliseconds since 1970 with fractions; 0 before that. */
  get startedAt(): number {
    return this.#startedAt;
  }

  /** Milliseconds since it began to run; 0 before that. */
  get uptimeMilliseconds(): number {
    return isFinal(this.#phase.state) ? this.#wall : this.#sinceStart();
  }

  /** Whether its guest can run commands (`exec`, `spawn`) now. */
  get hasAgent(): boolean {
    return this.#exec.hasAgent && !isFinal(this.#phase.state);
  }

  /** Folder of the recording that is made of it, if one is. */
  get recordingFolder(): string | undefined {
    return this.#recordings.session?.folder;
  }

  /** Begins to record it as it is now; the VM stands still while its state is saved. */
  startRecording(options: RecordOptions): Promise<void> {
    return this.#recordings.start(options);
  }

  /** Ends its recording; the VM goes on. */
  stopRecording(): Promise<void> {
    return this.#recordings.stop();
  }

  /** Of a replayed VM: what the commands printed that were run in it when it was recorded. */
  get replayedCommand(): ReplayedCommand | undefined {
    return this.#replay?.command;
  }

  /** Of a replayed VM: what its plugins print; the VM waits for its reader. */
  get pluginOutput(): ReadableStream<Uint8Array> | undefined {
    return this.#replay?.pluginOutput;
  }

  /** Text lines of the instruction trace, if asked for at power-on; the VM waits for its reader. */
  get trace(): ReadableStream<Uint8Array> {
    return this.#trace.readable;
  }

  /** Resolves when the machine runs; rejects when it cannot be made. */
  async started(): Promise<void> {
    await this.#phase.until("running", "paused");
    if (this.#failure) throw failureError(this.name, this.#failure);
  }

  /** Stops executing until `resume`; guest time stands still. */
  async pause(): Promise<void> {
    await this.#change(TO_VM.pause, "paused");
  }

  /** Goes on after `pause`. */
  async resume(): Promise<void> {
    await this.#change(TO_VM.resume, "running");
  }

  /** Switches it off, as pulling the plug would. Resolves when it is gone. */
  async powerOff(): Promise<void> {
    if (!isFinal(this.#phase.state)) {
      void this.#link.send(TO_VM.stop, message());
      const inTime = new AbortController();
      const ended = this.#phase.until().then(() => inTime.abort());
      if (await this.#host.timers.delay(STOP_MILLISECONDS, inTime.signal)) {
        this.#finish("ends", { code: 0, why: "stopped" }, true);
      }
      await ended;
    }
    await this.#finishing;
  }

  /** Resolves when it has ended, and all its resources are free; rejects when it failed. */
  waitForExit(): Promise<VmExit> {
    return this.#exit.promise;
  }

  /** Its counters, also after its end. */
  async stats(): Promise<VmStats> {
    const asked = isFinal(this.#phase.state)
      ? this.#finalStats
      : await this.#ask<MachineStats>("stats");
    const stats = asked ?? NO_STATS;
    const wallMilliseconds = isFinal(this.#phase.state) ? this.#wall : this.#sinceStart();
    const mips = wallMilliseconds > 0 ? stats.instructions / wallMilliseconds / 1000 : 0;
    return { ...stats, wallMilliseconds, mips };
  }

  /** Registers of a hart. */
  registers(hart = 0): Promise<HartDump> {
    return this.#ask("registers", hart);
  }

  /** A hash over the whole state and the retired instructions it belongs to. */
  digest(): Promise<{ icount: number; digest: string }> {
    return this.#ask("digest");
  }

  /** The board's address map as text. */
  memoryTree(): Promise<string> {
    return this.#ask("memory-tree");
  }

  /** Bytes of the pages of guest memory that are not all zero. */
  touchedBytes(): Promise<number> {
    return this.#ask("touched-bytes");
  }

  /**
   * Runs a command in the guest to its end. A string is given to the guest's shell, a list is a
   * program and its arguments. Rejects with `HostError` when the guest has no exec agent.
   */
  exec(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.#exec.run(command, options);
  }

  /**
   * Resolves when its guest's agent is there, so that a command runs at once. Rejects with `HostError` when the
   * VM ends before; a guest without an agent goes on without ever resolving it.
   */
  untilReady(): Promise<void> {
    return this.#exec.ready;
  }

  /** Starts a command in the guest, with its streams at hand. */
  spawn(command: string | readonly string[], options: ExecOptions = {}): Promise<ExecProcess> {
    return this.#exec.spawn(command, options);
  }

  /** Who it is, as last announced; undefined when nobody said, and it is what its seed gives. */
  get identity(): VmIdentity | undefined {
    return this.#identity.identity;
  }

  /** The connection to the agent in its guest: what a VM that goes on from here has to know. */
  get agent(): AgentPlace {
    return this.#exec.agent;
  }

  /**
   * Tells a VM that goes on from a saved state who it is and what time it is. Called right after it was made,
   * the machine learns it before its guest's next instruction. Resolves when the guest's agent has told the
   * guest too, or there is none, or it does not answer in time.
   */
  announceIdentity(announcement: IdentityAnnouncement): Promise<AnnouncementOutcome> {
    return this.#identity.announce(announcement);
  }

  /** Takes hold of the VM for a debugger; it stands still until the debugger lets it go on. */
  debug(): Promise<DebugTarget> {
    if (this.#replay?.hasPlugins) {
      const why = "its replay has plugins, which cannot go back";
      return Promise.reject(new HostError(`Cannot debug the VM "${this.name}": ${why}`));
    }
    return this.#debug.attach(this.harts);
  }

  /** Same as `powerOff`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.powerOff();
  }

  #received(got: Received): void {
    switch (got.kind) {
      case TO_KERNEL.running:
        if (this.#phase.state === "starting") this.#startedAt = got.numbers[0] ?? this.#now();
        // Whoever waits for the start can take hold of the output before there is any.
        this.#link.yieldSoon();
        return this.#phase.happened("runs");
      case TO_KERNEL.paused:
        return this.#phase.happened("pauses");
      case TO_KERNEL.console:
        this.#portOutput(got);
        return this.#backlog.changed();
      case TO_KERNEL.consoleTaken:
        return this.#portTaken(got);
      case TO_KERNEL.diskData:
        this.#disk(got.device).addData(got);
        return this.#backlog.changed();
      case TO_KERNEL.diskRequest:
        return this.#disk(got.device).addRequest(got);
      case TO_KERNEL.frame:
        if (this.#network === "loopback") void this.#link.send(TO_VM.frame, got);
        return;
      case TO_KERNEL.trace:
        this.#trace.push(got.bytes);
        return this.#backlog.changed();
      case TO_KERNEL.answer:
        return this.#queries.answered(got);
      case TO_KERNEL.halted: {
        const end = JSON.parse(messageText(got.bytes)) as EndReport;
        this.#finalStats = end.stats;
        const { code, why, replay } = end;
        return this.#finish("ends", { code, why, ...replay && { replay } });
      }
      case TO_KERNEL.record:
        return this.#recordings.arrived(got);
      case TO_KERNEL.frozen:
        return this.#saves.marked(got);
      case TO_KERNEL.thawed:
        return this.#saves.thawed(got);
      case TO_KERNEL.touched:
        return (this.#learner ?? this.#replay)?.received(got);
      case TO_KERNEL.recordReady:
        return this.#recordings.ready();
      case TO_KERNEL.debugAnswer:
        return this.#debug.answered(got);
      case TO_KERNEL.recordEnd:
        return void this.#recordings.ended();
      case TO_KERNEL.baseWanted:
      case TO_KERNEL.replayOnly:
      case TO_KERNEL.pluginOutput:
        if (this.#replay === undefined) {
          throw new Broken(`message ${got.kind} of a VM that is not replayed`);
        }
        this.#replay.received(got);
        return this.#backlog.changed();
      case TO_KERNEL.imagesWanted:
        return void this.#sendImages();
      case TO_KERNEL.failed:
        return this.#fail(JSON.parse(messageText(got.bytes)) as FailureReport);
      default:
        throw new Broken(`message ${got.kind} is unknown to the kernel world`);
    }
  }

  /** Executes, having gone on from a checkpoint. */
  #goOn(loader: PageLoader, learner: WorkingSetLearner | undefined): void {
    this.#learner = learner;
    if (learner) void this.#link.send(TO_VM.learn, message("", [learner.milliseconds]));
    loader.start();
  }

  /** The guest starts again: its images are read again, because nobody kept them. */
  async #sendImages(): Promise<void> {
    try {
      const { images, moved } = await this.#images();
      this.#worker.post(images, moved);
    } catch (error) {
      this.#fail(failureReport("start", error, this.icount));
    }
  }

  #portOutput({ device, numbers: [port = 0], bytes }: Received): void {
    if (device === this.#console.device && port === 0) this.#console.arrived(bytes);
    else if (device === DEVICE_NAMES.console && port === 1) {
      (this.#replay?.command ?? this.#exec).arrived(bytes);
      this.#backlog.changed();
    }
    // A second terminal that nobody asked for is shown to nobody.
  }

  #portTaken({ device, numbers: [port = 0, count = 0] }: Received): void {
    if (device === this.#console.device && port === 0) this.#console.taken(count);
    else if (device === DEVICE_NAMES.console && port === 1) this.#exec.taken(count);
  }

  #disk(device: string): DiskService {
    const disk = this.#disks.get(device);
    if (disk === undefined) throw new Broken(`a request for "${device}", which is no disk`);
    return disk;
  }

  async #change(kind: number, wanted: VmState): Promise<void> {
    if (isFinal(this.#phase.state)) throw new HostError(`VM "${this.name}" is not running`);
    void this.#link.send(kind, message());
    await this.#phase.until(wanted);
  }

  async #ask<T>(question: string, argument = 0): Promise<T> {
    return await this.#queries.ask(question, argument) as T;
  }

  #died(death: WorldDeath): void {
    this.#fail(deathReport(this.#phase.state === "starting" ? "load" : "run", death, this.icount));
  }

  #fail(report: FailureReport): void {
    if (isFinal(this.#phase.state)) return;
    this.#failure = report;
    this.#finish("fails", failureError(this.name, report), true);
  }

  /** @param died whether its world may have been in the middle of something */
  #finish(happening: "ends" | "fails", outcome: VmExit | Error, died = false): void {
    if (isFinal(this.#phase.state)) return;
    this.#wall = this.#startedAt === 0 ? 0 : this.#sinceStart();
    this.#worker.terminate();
    const error = outcome instanceof Error ? outcome : undefined;
    this.#console.end(error);
    this.#trace.end();
    this.#exec.end();
    this.#replay?.end();
    this.#queries.close();
    this.#saves.close(died);
    this.#debug.end(error === undefined ? (outcome as VmExit).code : 1, this.icount);
    this.#finishing = this.#release().then((problems) => {
      const failure = error ?? problems[0];
      if (failure !== undefined) this.#exit.reject(failure);
      else this.#exit.resolve(outcome as VmExit);
    });
    this.#phase.happened(happening);
  }

  /** Closes all that it has, in this order. Gives what went wrong. */
  #release(): Promise<unknown[]> {
    return closeAll([
      ...[this.#link, this.#compiler, ...this.#disks.values(), this.#drives],
      ...[this.#recordings, this.#replay, this.#learner, this.#restore?.loader],
    ]);
  }

  #now(): number {
    return this.#host.clock.commonMilliseconds();
  }

  #sinceStart(): number {
    return this.#startedAt === 0 ? 0 : this.#now() - this.#startedAt;
  }
}
