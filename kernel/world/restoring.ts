/**
 * How an open checkpoint becomes what a VM is made of (S17, S19.6): its description is read and checked, its
 * memory made, and the loader of its pages.
 *
 * Invariant: whatever is wrong with a checkpoint is found before its guest executes anything, and named.
 */
import { ConfigError, HostError } from "../base/errors.ts";
import { parseIdentity, type VmIdentity } from "../base/identity.ts";
import { Shape } from "../base/shape.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import type { OpenCheckpoint } from "../checkpoint/open_checkpoint.ts";
import type { Host } from "../host/host.ts";
import type { MachineImage } from "../machine/machine_image.ts";
import { planOptions } from "../machine/machine_plan.ts";
import { type MemoryPlan, newMemory, planMemory } from "../memory/memory_plan.ts";
import type { MachineConfig } from "./machine_port.ts";
import { type LoadOptions, type LoadProblems, PageLoader } from "./page_loader.ts";
import { checkAgainstHead, decodeSavedVm, type SavedVm } from "./saved_vm.ts";
import type { RestoreParts } from "./vm_parts.ts";
import type { ImagesMessage } from "./vm_world.ts";

/** A VM that can go on. */
export interface RestoredVm {
  readonly saved: SavedVm;
  /** Who it was; undefined when it was what its seed gives. */
  readonly identity: VmIdentity | undefined;
  readonly config: MachineConfig;
  /** What the checkpoint says of its disks. */
  readonly disks: unknown;
  readonly restore: RestoreParts;
}

/** A VM as its checkpoint describes it. */
export interface DescribedVm {
  readonly saved: SavedVm;
  /** Who it was; undefined when it was what its seed gives. */
  readonly identity: VmIdentity | undefined;
  /** Guest time in ticks of 100 ns. */
  readonly ticks: number;
  readonly image: MachineImage;
  /** What the checkpoint says of its disks. */
  readonly disks: unknown;
}

/** What a checkpoint says of its VM. Throws FormatError. */
function describeSaved(checkpoint: OpenCheckpoint): DescribedVm {
  const { head, state } = checkpoint;
  const where = `checkpoint ${head.id}`;
  const saved = decodeSavedVm(state.config, where);
  checkAgainstHead(saved, head, where);
  return {
    saved,
    identity: state.identity === null ? undefined : parseIdentity(state.identity, where),
    ticks: new Shape(state.config, where).field("ticks").whole(0),
    image: state.image,
    disks: state.disks,
  };
}

/** A checkpoint that is open, with what it says. */
export interface OpenVm {
  readonly checkpoint: OpenCheckpoint;
  readonly described: DescribedVm;
}

/** Opens a checkpoint, and reads what it says of its VM. Rejects with ConfigError, FormatError and HostError. */
export async function openVm(store: CheckpointStore, id: string): Promise<OpenVm> {
  const checkpoint = await store.open(id);
  try {
    return { checkpoint, described: describeSaved(checkpoint) };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

/** How a VM is to go on. */
export interface RestoreOptions {
  readonly loading: LoadOptions;
  readonly told: LoadProblems;
  /** Memory of a machine of this make that was made ahead, if there is one. */
  readonly spareFor: (config: MachineConfig) => WebAssembly.Memory | undefined;
}

/**
 * Makes what a VM goes on from. Rejects with FormatError, ConfigError and HostError. The checkpoint is the
 * loader's to close.
 */
export async function restoreVm(
  host: Host,
  checkpoint: OpenCheckpoint,
  { saved, identity, ticks, image, disks }: DescribedVm,
  { loading, told, spareFor }: RestoreOptions,
): Promise<RestoredVm> {
  const { head } = checkpoint;
  const { machine, sources } = saved;
  const config = {
    ...machine,
    bios: machine.bios === "image" ? await readSource(host, sources, "bios") : machine.bios,
    ...identity && { identity },
  };
  const plan = planMemory(planOptions(machine));
  const spare = spareFor(config);
  const memory = spare ?? memoryFor(plan, saved.name);
  const ram = new Uint8Array(memory.buffer, plan.ram, plan.ramBytes);
  const loader = new PageLoader(checkpoint, ram, host.timers, told, loading);
  const start = { image, ticks, memory, lazy: loader.table, isSpare: spare !== undefined };
  const restore = { start, base: head.id, typed: saved.typed, loader };
  return { saved, identity, config, disks, restore };
}

function memoryFor(plan: MemoryPlan, name: string): WebAssembly.Memory {
  try {
    return newMemory(plan);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new HostError(`Cannot give the VM "${name}" its memory: ${error.message}`, {
      cause: error,
    });
  }
}

/** The images of a restored VM, whose guest resets itself. Rejects with ConfigError and HostError. */
export async function imagesOf(
  host: Host,
  { machine, sources }: SavedVm,
): Promise<{ readonly images: ImagesMessage; readonly moved: readonly ArrayBuffer[] }> {
  const read = (role: "kernel" | "initrd") =>
    sources.some((source) => source.role === role) ? readSource(host, sources, role) : undefined;
  const [kernel, initrd] = [await read("kernel"), await read("initrd")];
  if (kernel === undefined && machine.bios !== "image") {
    throw new ConfigError("The guest reset itself, and its kernel was never in a file");
  }
  const moved = [kernel, initrd].flatMap((image) => image === undefined ? [] : [image.buffer]);
  return { images: { kernel, initrd }, moved };
}

async function readSource(
  host: Host,
  sources: SavedVm["sources"],
  role: "kernel" | "initrd" | "bios",
): Promise<Uint8Array<ArrayBuffer>> {
  const source = sources.find((each) => each.role === role);
  if (source === undefined) throw new ConfigError(`The VM's ${role} image was never in a file`);
  return await host.files.readAll(source.path);
}
