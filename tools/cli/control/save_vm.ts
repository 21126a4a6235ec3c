/**
 * The verbs that save VMs and make forks of them: `checkpoint`, `suspend`, `fork`, and `start` for a fork that
 * is parked (issue 5, section 6; docs/control.md).
 *
 * Invariants: a request that fails leaves its VM running; what was begun is done to its end though the client
 * goes away; forks get names that no VM of this user has.
 */
import {
  type CheckpointHead,
  type CheckpointOptions,
  ConfigError,
  HostError,
  type ParkedVm,
  type SaveProgress,
} from "../../../mod.ts";
import { forkNames } from "../fork_names.ts";
import { noteSuspending } from "./suspending.ts";
import { type Call, type ControlledKernel, namedVm } from "./verb.ts";

/** What a client may say of a save. */
interface SaveFields {
  vm: string;
  label?: string | undefined;
  rate?: number | undefined;
  disk?: "retain" | "copy-commit" | undefined;
}

type SaveCall = Call<SaveFields, SaveProgress, never>;

/** A checkpoint as a client is told of it. */
export interface SavedReply {
  id: string;
  vm: string;
  label: string;
  parent: string | null;
  icount: number;
  memoryPages: number;
  counts: CheckpointHead["counts"];
}

/** Makes a checkpoint of a VM, which runs on. */
export async function makeCheckpoint(
  call: SaveCall,
): Promise<
  SavedReply & {
    stoodMicroseconds: number | null;
    disks: { path: string; problem: string | null }[];
  }
> {
  const { kernel, request } = call;
  const made = await kernel.checkpoint(namedVm(kernel, request.vm), optionsOf(call));
  const disks = made.disks.map(({ path, problem }) => ({ path, problem: problem ?? null }));
  return { ...replyOf(made), stoodMicroseconds: made.stoodMicroseconds ?? null, disks };
}

/** Suspends a VM, which ends. */
export async function suspendVm(call: SaveCall): Promise<SavedReply> {
  const { kernel, request } = call;
  const vm = namedVm(kernel, request.vm);
  return replyOf(await noteSuspending(vm, kernel.suspend(vm, optionsOf(call))));
}

function optionsOf({ request, progress }: SaveCall): CheckpointOptions {
  const { label, rate, disk } = request;
  const options = {
    ...label !== undefined && { label },
    ...rate !== undefined && { rate },
    ...disk !== undefined && { disk },
    progress,
  };
  return options;
}

function replyOf(head: CheckpointHead): SavedReply {
  const { id, vm, label, parent, icount, memoryPages, counts } = head;
  const { added, zero, known, stored, storedBytes } = counts;
  const copied = { added, zero, known, stored, storedBytes };
  return { id, vm, label, parent, icount, memoryPages, counts: copied };
}

/** Parks forks of a VM in this process; gives their names. */
export async function forkVm(
  call: Call<{ vm: string; count?: number | undefined; name?: string | undefined }, never, never>,
): Promise<{ names: string[] }> {
  const { kernel, claimNames, request: { vm: parent, count = 1, name } } = call;
  const vm = namedVm(kernel, parent);
  using claimed = await claimNames(forkNames(parent, count, name), count);
  const forks = await kernel.fork(vm, { count, names: claimed.names });
  return { names: forks.map((fork) => fork.name) };
}

/** The fork with a name, if it is no VM yet. */
export function forkNamed(
  { parkedForks }: Pick<ControlledKernel, "parkedForks">,
  name: string,
): ParkedVm | undefined {
  return parkedForks.find((fork) => fork.name === name);
}

/** Lets a parked fork run; one that runs already is left alone. */
export async function startFork(
  { kernel, request: { vm: name } }: Call<{ vm: string }, never, never>,
): Promise<{ state: string }> {
  const fork = forkNamed(kernel, name);
  if (fork === undefined) return { state: namedVm(kernel, name).state };
  try {
    return { state: (await fork.start()).state };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new HostError(`The fork "${name}" cannot run: ${error.message}`, { cause: error });
  }
}
