/**
 * Makes checkpoints of VMs that run, and suspends VMs, in the kernel world (S17.1 to S17.6, S19.1 to S19.5).
 *
 *     checkpoint   prepare ─► freeze ─► (guest goes on) saver reads ─► commit
 *     suspend      prepare, trace ─► freeze ─► (guest goes on) saver reads ─► … ─► freeze, stand still
 *                  ─► saver reads what was written since, and lays together what was used ─► commit ─► off
 *
 * Invariants: one save at a time, later ones wait in order; until a checkpoint is committed the store is what
 * it was, and the VM goes on whatever becomes of the save; a checkpoint is a difference to its VM's last one
 * only if the VM's world knows what was written since.
 */
import type { VmIdentity } from "../base/identity.ts";
import {
  checkAbout,
  type CheckpointHead,
  type CheckpointKind,
} from "../checkpoint/checkpoint_format.ts";
import type { CheckpointSave } from "../checkpoint/checkpoint_save.ts";
import type { CheckpointStore } from "../checkpoint/checkpoint_store.ts";
import { encodeSavedDisk, type SavedDisk } from "../checkpoint/saved_disk.ts";
import { DedupIndex, type DedupState } from "../datastore/dedup_index.ts";
import type { EncodedPages } from "../datastore/page_encoder.ts";
import type { Host } from "../host/host.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { PageLoader } from "./page_loader.ts";
import { decodeSavedVm, encodeSavedVm, type SavedVm } from "./saved_vm.ts";
import { Saver } from "./saver.ts";
import type { SavePass, SaveProgress } from "./saver_protocol.ts";
import type { DiskEnding, DiskSave, LiveDisk, VmDisks } from "./vm_disks.ts";
import type { FrozenMoment, VmSaves } from "./vm_saves.ts";

/** Checkpoints in a row that are differences to each other: the next one has all pages itself. */
const CHAIN_MAXIMUM = 32;
/** Passes of a suspend before the VM has to stand still. */
const PASSES_MAXIMUM = 4;
/** A suspend's VM stands still when a pass has read no more pages than this. */
const FEW_PAGES = 2048;

/** What a checkpoint keeps of a VM that does not change while it runs. */
export type SavedFacts = Omit<SavedVm, "typed" | "agent" | "wallNanoseconds">;

/** A VM that can be saved. */
export interface SavableVm {
  readonly name: string;
  readonly saves: VmSaves;
  /** How it was made. */
  readonly facts: SavedFacts;
  readonly identity: VmIdentity | undefined;
  /** Its disks; undefined when it has none. */
  readonly disks: VmDisks | undefined;
  /** Loads its pages, if it went on from a checkpoint. */
  readonly loader: PageLoader | undefined;
}

/** How to make a checkpoint. */
export interface CheckpointOptions {
  /** What the user calls it. */
  readonly label?: string;
  /**
   * What becomes of the images of its disks: "copy-commit" (default): the checkpoint has copies, and the images
   * stay the VM's; "retain": the images are the checkpoint's, and the VM goes on in overlays beside them.
   */
  readonly disk?: DiskEnding;
  /** Most pages that are saved in a second; as fast as can be by default. */
  readonly rate?: number;
  /** Told how far it is. */
  readonly progress?: (progress: SaveProgress) => void;
}

/** Why a checkpoint is made, by whom it is not asked for. */
export interface CheckpointPurpose {
  readonly kind: CheckpointKind;
  /** What it is found by. */
  readonly key?: string;
  /** Called with its id before anything of it is there, and waited for. */
  readonly begun?: (id: string) => Promise<void>;
  /** Told as soon as its moment is over: what comes to the VM from now on is not in it. */
  readonly taken?: () => void;
}

/** A checkpoint that was made. */
export interface MadeCheckpoint extends CheckpointHead {
  /** Microseconds that the machine stood still; undefined when it was not going to run on. */
  readonly stoodMicroseconds: number | undefined;
  /** Where each of its disks is now, in their order. */
  readonly disks: readonly LiveDisk[];
}

/** A save under way. */
interface Work {
  readonly id: number;
  readonly save: CheckpointSave;
  readonly options: CheckpointOptions;
  /** Pages that were read so far. */
  pages: number;
}

/** Makes the checkpoints of one kernel. */
export class CheckpointService {
  readonly #saver: Saver;
  /** Pages that are stored; kept from save to save. */
  #dedup: DedupState | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** @param store where checkpoints are kept */
  constructor(private readonly host: Host, private readonly store: CheckpointStore) {
    this.#saver = new Saver(host.workers);
  }

  /** Makes a checkpoint of a VM, which runs on. Rejects with HostError and ConfigError. */
  async checkpoint(
    vm: SavableVm,
    options: CheckpointOptions,
    purpose: CheckpointPurpose = { kind: "checkpoint" },
  ): Promise<MadeCheckpoint> {
    let disks: DiskSave | undefined;
    let isWhole = false;
    let live: LiveDisk[] = [];
    const made = await this.#inTurn(() =>
      this.#saving(vm, options, async (work, all) => {
        await purpose.begun?.(work.save.id);
        disks = await vm.disks?.begin({
          id: work.save.id,
          ending: options.disk ?? "copy-commit",
          store: this.store.disks,
        });
        const moment = await vm.saves.freeze({ all, atMoment: () => disks?.switch() });
        purpose.taken?.();
        const pages = await this.#pass(work, vm, moment, true);
        const saved = await disks?.states() ?? [];
        const head = await this.#commit(work, vm, moment, { pages: pages!, disks: saved }, purpose);
        isWhole = true;
        vm.saves.over(true);
        const stoodMicroseconds = await moment.stood.catch(() => undefined);
        return { ...head, stoodMicroseconds };
      })
    ).finally(async () => live = await disks?.end(isWhole) ?? []);
    return { ...made, disks: live };
  }

  /**
   * Keeps all of a VM, which stands still from the last moment on: the caller ends it. Rejects like
   * `checkpoint`; the VM then goes on.
   */
  suspend(vm: SavableVm, options: CheckpointOptions): Promise<CheckpointHead> {
    return this.#inTurn(() =>
      this.#saving(vm, options, async (work, all) => {
        vm.saves.prepare(true);
        try {
          await this.#readRunning(work, vm, all);
          const moment = await vm.saves.freeze({ all: false, holds: true });
          const pages = await this.#pass(work, vm, moment, true);
          const disks = await vm.disks?.standing(this.store.disks) ?? [];
          const purpose = { kind: "suspended" } as const;
          const head = await this.#commit(work, vm, moment, { pages: pages!, disks }, purpose);
          vm.disks?.keep();
          return head;
        } catch (error) {
          vm.saves.go();
          throw error;
        }
      })
    );
  }

  /** Ends the saver: a save under way fails. */
  stop(): void {
    this.#saver.stop();
  }

  /** Passes over the pages of a VM that runs, until little is left to do. */
  async #readRunning(work: Work, vm: SavableVm, all: boolean): Promise<void> {
    let before = Infinity;
    for (let pass = 1; pass <= PASSES_MAXIMUM; pass++) {
      const moment = await vm.saves.freeze({ all: all && pass === 1 });
      const done = work.pages;
      await this.#pass(work, vm, moment, false);
      const read = work.pages - done;
      vm.saves.over(true);
      if (read <= FEW_PAGES || read > before / 2) return;
      before = read;
    }
  }

  /** Runs an action with a save, which is given up when the action fails. */
  async #saving<T>(
    vm: SavableVm,
    options: CheckpointOptions,
    act: (work: Work, all: boolean) => Promise<T>,
  ): Promise<T> {
    checkAbout({ vm: vm.name, label: options.label ?? "" });
    vm.saves.prepare();
    const save = await this.#begin(vm);
    let id: number | undefined;
    try {
      id = this.#saver.begin(save.packId, this.#dedupFor(save));
      const all = save.parent === undefined;
      // Pages that it never loaded are in the checkpoint that it came from, and in no other.
      if (all) await vm.loader?.loadAll();
      return await act({ id, save, options, pages: 0 }, all);
    } catch (error) {
      if (id !== undefined) this.#saver.abort(id);
      save.abort();
      vm.saves.over(false);
      throw error;
    }
  }

  /** Begins a save: a difference to the VM's last checkpoint, if that is there and its chain is not long. */
  async #begin(vm: SavableVm): Promise<CheckpointSave> {
    const { store } = this;
    const memoryPages = vm.facts.machine.memoryBytes / PAGE_BYTES;
    const parent = vm.saves.base;
    try {
      if (parent !== undefined && store.has(parent) && store.depth(parent) < CHAIN_MAXIMUM) {
        return await store.beginSave({ parent, memoryPages });
      }
    } catch {
      // Deleted just now, or damaged: no reason not to make one that stands by itself.
    }
    return await store.beginSave({ memoryPages });
  }

  async #pass(
    work: Work,
    { saves }: SavableVm,
    { vm }: FrozenMoment,
    isLast: boolean,
  ): Promise<EncodedPages | undefined> {
    const { id, save, options } = work;
    const { area, memory, ram, active } = vm;
    const { rate = Infinity, progress } = options;
    const pass: SavePass = { id, area, memory, ram, active, isLast, rate };
    saves.whenEnded(() => this.#saver.hurry(id));
    const saved = await this.#saver.pass(pass, {
      clusters: (clusters) => save.append(clusters),
      progress: (done) => {
        work.pages = done.pages;
        progress?.(done);
      },
    });
    if (saved === undefined) return undefined;
    const { pages, dedup } = saved;
    // A pack without pages is never made, and nobody will find it in the store.
    const packs = dedup.packs.filter(({ id }) => pages.counts.stored > 0 || id !== save.packId);
    this.#dedup = { ...dedup, packs };
    return pages;
  }

  async #commit(
    { save, options }: Work,
    { name, saves, facts, identity }: SavableVm,
    { vm, typed, agent, wallNanoseconds }: FrozenMoment,
    { pages, disks }: { readonly pages: EncodedPages; readonly disks: readonly SavedDisk[] },
    { kind, key = "" }: CheckpointPurpose,
  ): Promise<CheckpointHead> {
    const about = {
      vm: name,
      label: options.label ?? "",
      created: Number(wallNanoseconds / 1_000_000n),
      kind,
      machineVersion: facts.machine.machineVersion,
      icount: vm.icount,
      key,
    };
    const config = encodeSavedVm({ ...facts, typed, agent, wallNanoseconds });
    // What could not be read back is not kept: its VM goes on.
    decodeSavedVm(config, `Cannot save "${name}": its description`);
    const state = {
      image: vm.image,
      config: { ...config, ticks: vm.ticks },
      identity: identity === undefined ? null : { ...identity },
      disks: disks.map(encodeSavedDisk),
    };
    const head = await save.commit(about, state, pages);
    saves.base = head.id;
    return head;
  }

  /** The index of stored pages, as the save may refer to them. */
  #dedupFor(save: CheckpointSave): DedupState {
    const packs = save.packs();
    let index = new DedupIndex(this.#dedup ?? {});
    this.#dedup = undefined;
    if (index.isStale(packs)) index = new DedupIndex();
    for (const { id } of index.missing(packs)) {
      const hashes = save.hashes(id);
      if (hashes !== undefined) index.addPack(hashes);
    }
    return index.take();
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => {});
    return done;
  }
}
