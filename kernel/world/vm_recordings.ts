/**
 * The recording of one VM, in the kernel world: from its power-on, or begun and ended while it runs
 * (issue 4, "Record").
 *
 *     recordStart ──► VM world waits for its disks ── recordReady ──► folder, kept disks
 *     recordGo    ──► VM world sends its state, then goes on and sends records
 *     recordStop  ──► VM world sends the rest ── recordEnd ──► folder closed
 *
 * Invariant: a recording's disks are kept from the very moment that its state is of: no request is under
 * way then.
 */
import { Broken } from "../base/assert.ts";
import { HostError } from "../base/errors.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import type { DiskService } from "./disk_service.ts";
import type { Received } from "./mailbox.ts";
import { message, TO_VM } from "./protocol.ts";
import type { RecordingSession, RecordOptions } from "./recording_session.ts";
import { SYNC_KINDS } from "./vm_recording.ts";
import type { VmLink } from "./vm_link.ts";

/** Begins a recording of the VM as it is now; replaces writable disks by ones that are kept. */
export type NewRecording = (options: RecordOptions, disks: BlockDevice[]) => RecordingSession;

/** A wish that the VM world has not fulfilled yet. */
interface Pending extends PromiseWithResolvers<void> {
  readonly options: RecordOptions | undefined;
}

/** The recordings of one VM, one at a time. */
export class VmRecordings {
  #session: RecordingSession | undefined;
  #pending: Pending | undefined;

  /** @param session the one that began with the VM */
  constructor(
    private readonly link: VmLink,
    private readonly disks: readonly DiskService[],
    session: RecordingSession | undefined,
    private readonly begin: NewRecording | undefined,
  ) {
    this.#session = session;
  }

  /** The one that is being made. */
  get session(): RecordingSession | undefined {
    return this.#session;
  }

  /** Begins one. Rejects with HostError. */
  start(options: RecordOptions): Promise<void> {
    if (this.#session !== undefined) {
      return refuse(`The VM is being recorded in "${this.#session.folder}" already`);
    }
    if (this.begin === undefined) return refuse("A replay cannot be recorded");
    return this.#ask(TO_VM.recordStart, options);
  }

  /** Ends the one that is being made. Rejects with HostError. */
  stop(): Promise<void> {
    if (this.#session === undefined) return refuse("The VM is not being recorded");
    return this.#ask(TO_VM.recordStop, undefined);
  }

  /** The VM world stands still, and waits for nothing. */
  ready(): void {
    const options = this.#pending?.options;
    if (options === undefined) throw new Broken("a VM is ready for a recording that nobody wants");
    const disks = this.disks.map(({ disk }) => disk);
    try {
      this.#session = this.begin!(options, disks);
    } catch (error) {
      void this.link.send(TO_VM.recordStop, message());
      this.#pending!.reject(error);
      this.#pending = undefined;
      return;
    }
    this.disks.forEach((service, i) => service.disk = disks[i]!);
    const sync = SYNC_KINDS.indexOf(this.#session.sync);
    void this.link.send(TO_VM.recordGo, message("", [sync]));
  }

  /** A part of what is recorded arrived. */
  arrived(got: Received): void {
    if (this.#session === undefined) throw new Broken("a record of a VM that is not recorded");
    this.#session.arrived(got);
    if (this.#pending?.options === undefined) return;
    this.#pending.resolve();
    this.#pending = undefined;
  }

  /** The VM world has sent all of the recording. */
  async ended(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
    this.#pending?.resolve();
    this.#pending = undefined;
  }

  /** The VM ended. */
  async close(): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending?.options === undefined) pending?.resolve();
    else pending.reject(new HostError("The VM ended before its recording began"));
    await this.ended();
  }

  async #ask(kind: number, options: RecordOptions | undefined): Promise<void> {
    if (this.#pending !== undefined) {
      return await refuse("The VM is about to begin or to end a recording");
    }
    this.#pending = { ...Promise.withResolvers<void>(), options };
    const { promise } = this.#pending;
    void this.link.send(kind, message());
    await promise;
  }
}

function refuse(why: string): Promise<never> {
  return Promise.reject(new HostError(why));
}
