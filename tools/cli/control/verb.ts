/**
 * What a verb of the control protocol is: what its request has to look like, what it does, what it tells
 * meanwhile, and what it results in (docs/control.md, "A new verb").
 *
 * Invariant: a verb's `run` sees requests and messages that its schemas accepted, nothing else.
 */
import type { z } from "zod";
import {
  type CheckpointHead,
  type CheckpointOptions,
  ConfigError,
  type ForkOptions,
  type MadeCheckpoint,
  type ParkedVm,
  type VM,
} from "../../../mod.ts";
import type { Consoles } from "./consoles.ts";

/** A VM as far as it is controlled. */
export type ControlledVm = Pick<
  VM,
  | "name"
  | "guest"
  | "state"
  | "icount"
  | "harts"
  | "memoryBytes"
  | "uptimeMilliseconds"
  | "recordingFolder"
  | "hasAgent"
  | "console"
  | "pause"
  | "resume"
  | "powerOff"
  | "waitForExit"
  | "stats"
  | "registers"
  | "memoryTree"
  | "spawn"
  | "startRecording"
  | "stopRecording"
>;

/** A kernel as far as it is controlled. */
export interface ControlledKernel {
  /** VMs that have not ended. */
  readonly vms: readonly ControlledVm[];
  /** Forks that have not run. */
  readonly parkedForks: readonly ParkedVm[];
  /** Makes a checkpoint of one of its VMs, which runs on. */
  checkpoint(vm: ControlledVm, options: CheckpointOptions): Promise<MadeCheckpoint>;
  /** Suspends one of its VMs, which ends. */
  suspend(vm: ControlledVm, options: CheckpointOptions): Promise<CheckpointHead>;
  /** Parks forks of one of its VMs, or of a checkpoint. */
  fork(from: ControlledVm | string, options: ForkOptions): Promise<ParkedVm[]>;
}

/** A name that is taken, until it is disposed of. */
export interface ClaimedName extends Disposable {
  readonly name: string;
}

/** Names that are taken, until they are disposed of. */
export interface ClaimedNames extends Disposable {
  readonly names: readonly string[];
}

/** What requests are done with. */
export interface ControlSurroundings {
  /** The kernel whose VMs are controlled. */
  readonly kernel: ControlledKernel;
  /** Consoles of its VMs, for any number of readers. */
  readonly consoles: Consoles;
  /** Names that VMs about to be made will have. */
  readonly claims: ReadonlySet<string>;
  /**
   * Takes names for VMs of this kernel that are to be made: the first so many that no VM of this user has. To
   * be disposed of when the VMs are there, or are not to be. Rejects with ConfigError when there are too few.
   */
  claimNames(names: Iterable<string>, count: number): Promise<ClaimedNames>;
  /** File that this process' messages go to, if it has no terminal. */
  readonly log: string | undefined;
}

/** One request under way. */
export interface Call<Fields, Event, Message> extends ControlSurroundings {
  /** The request's own fields. */
  readonly request: Fields;
  /**
   * Aborted when nobody waits for the request any more: the client went away, or broke the rules (the
   * reason says so). A stream ends then; other verbs may go on to their end.
   */
  readonly over: AbortSignal;
  /** Sends an event; resolves when the client's connection took it, rejects when it is gone. */
  emit(event: Event): Promise<void>;
  /** Sends an event unless the client still has an earlier one to take: for progress. Never fails. */
  progress(event: Event): void;
  /**
   * Who gets the messages of a stream. To be called before the first `await`; what the handler throws
   * ends the request.
   */
  receive(handler: (message: Message) => void): void;
}

/** A verb. */
export interface Verb<Fields, Result, Event, Message> {
  /** The request's own fields. */
  readonly fields: z.ZodType<Fields>;
  /** What it results in; clients of an older kernel or program ignore what they do not know. */
  readonly result: z.ZodType<Result>;
  /** What it tells meanwhile, if anything. */
  readonly event?: z.ZodType<Event>;
  /**
   * What a client may say meanwhile. A verb that has it is a stream: it goes on beside other requests of
   * its connection, which are done in turn.
   */
  readonly message?: z.ZodType<Message>;
  /** Does it. Rejects with ConfigError, FormatError or HostError; anything else is a mistake of ours. */
  run(call: Call<Fields, Event, Message>): Result | Promise<Result>;
}

/** Any verb. */
export type AnyVerb = Verb<unknown, unknown, unknown, unknown>;

/** Names the types of a verb by its schemas. */
export function defineVerb<Fields, Result, Event = never, Message = never>(
  verb: Verb<Fields, Result, Event, Message>,
): Verb<Fields, Result, Event, Message> {
  return verb;
}

/** The VM with a name. Throws ConfigError. */
export function namedVm(
  { vms, parkedForks }: Pick<ControlledKernel, "vms" | "parkedForks">,
  name: string,
): ControlledVm {
  const [vm, another] = vms.filter((candidate) => candidate.name === name);
  if (vm === undefined && parkedForks.some((fork) => fork.name === name)) {
    throw new ConfigError(`The VM "${name}" is parked: expected one that runs`);
  }
  if (vm === undefined) throw new ConfigError(`There is no VM "${name}"`);
  if (another !== undefined) throw new ConfigError(`Two VMs have the name "${name}"`);
  return vm;
}
