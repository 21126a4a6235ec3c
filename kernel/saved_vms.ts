/**
 * The VMs of a kernel that are saved and that go on: checkpoints, suspend and resume, forks (S16, S17, S19).
 * Loaded with the first of these, because most kernels make none.
 *
 * Invariants: a suspended state is run from once; a VM that goes on is who it was, a fork is somebody else,
 * before its guest executes anything; frozen states that only forks share are deleted with the last that
 * waits for them.
 */
import { ConfigError, HostError } from "./base/errors.ts";
import type { VmIdentity } from "./base/identity.ts";
import type { CheckpointHead } from "./checkpoint/checkpoint_format.ts";
import { type ClaimUse, untilEnd, useOf } from "./claim_use.ts";
import type { OpenCheckpoint } from "./checkpoint/open_checkpoint.ts";
import { CheckpointStore } from "./checkpoint/checkpoint_store.ts";
import type { HostLock } from "./host/files.ts";
import { importLate } from "./host/late_import.ts";
import { hostPageCodec } from "./host/page_codec.ts";
import { ParkedVm } from "./parked_vm.ts";
import type {
  CheckpointOptions,
  CheckpointPurpose,
  CheckpointService,
  MadeCheckpoint,
  SavableVm,
} from "./world/checkpoint_service.ts";
import { type CodeOf, coreRecipe } from "./world/core_modules.ts";
import type { BlockDevice } from "./storage/block_device.ts";
import { DEVICE_NAMES, type MachineConfig } from "./world/machine_port.ts";
import type { RecordingSession, RecordOptions } from "./world/recording_session.ts";
import { beginRecording } from "./world/recording_start.ts";
import { LastSuspended } from "./world/last_suspended.ts";
import type { LoadProblems, PageLoader } from "./world/page_loader.ts";
import { imagesOf, type OpenVm, openVm, type RestoredVm, restoreVm } from "./world/restoring.ts";
import type { SavedVm } from "./world/saved_vm.ts";
import type { CloneParent, ForkOptions, GoOnOptions, Role } from "./going_on.ts";
import type { VmMaking } from "./vm_making.ts";
import { savingParts } from "./world/savable_vms.ts";
import { VM } from "./world/vm.ts";
import type { VmDisks } from "./world/vm_disks.ts";
import { type FirstPages, spareMemory, touchFirst } from "./world/spare_memory.ts";
import { WorkingSetLearner } from "./world/working_set_learner.ts";
import type { EarlyWorld } from "./world/early_world.ts";

/** Bytes of entropy that a clone whose course is a function of its seed gets. */
const ENTROPY_BYTES = 64;
/**
 * Milliseconds for which nothing that can wait competes with a guest that goes on: what it does first is what
 * somebody waits for, and many commands are over by then.
 */
const QUIET_MILLISECONDS = 500;
/** Most forks that are made at once. */
const FORKS_MAXIMUM = 10_000;

/** What forks are made of. */
interface Shared extends OpenVm {
  /** The last of them runs, or is dropped. */
  readonly over: () => Promise<void>;
}

/** What a VM that was made begins with. */
interface Begin {
  readonly checkpoint: OpenCheckpoint;
  readonly config: MachineConfig;
  readonly isClone: boolean;
  readonly loader: PageLoader;
  readonly options: GoOnOptions;
  readonly use: ClaimUse;
}

/** Saves VMs, and lets them go on. */
export class SavedVms {
  readonly #parts: VmMaking;
  readonly #store: CheckpointStore | undefined;
  /** What saves, which those that only go on do without. */
  #service: Promise<CheckpointService> | undefined;
  readonly #parked = new Set<ParkedVm>();
  readonly #last: LastSuspended;
  /** What the last VM that loaded some pages first loaded, or the next one will. */
  #first: FirstPages | undefined;

  /** @param folder of the checkpoints; without one there are none */
  constructor(parts: VmMaking, folder: string | undefined) {
    this.#parts = parts;
    const { files, entropy } = parts.host;
    this.#store = folder === undefined
      ? undefined
      : new CheckpointStore({ files, entropy, codec: hostPageCodec }, folder);
    this.#last = new LastSuspended(parts.host.timers);
    parts.worlds.prepareBy(({ spare }) => {
      if (spare !== undefined && this.#first !== undefined) touchFirst(spare, this.#first);
    });
  }

  /** The checkpoints. Throws ConfigError when the kernel keeps none. */
  get store(): CheckpointStore {
    if (this.#store !== undefined) return this.#store;
    throw new ConfigError("This kernel has no folder for checkpoints: start it with `checkpoints`");
  }

  /** Forks that have not run. */
  get parked(): ParkedVm[] {
    return [...this.#parked];
  }

  /** Makes a checkpoint. */
  async checkpoint(
    vm: VM,
    options: CheckpointOptions,
    purpose?: CheckpointPurpose,
  ): Promise<MadeCheckpoint> {
    const service = await this.#saving();
    return await service.checkpoint(savable(vm), options, purpose);
  }

  #saving(): Promise<CheckpointService> {
    const { store } = this;
    return this.#service ??= importLate<typeof import("./world/checkpoint_service.ts")>(
      "./world/checkpoint_service.ts",
      import.meta.url,
    ).then(({ CheckpointService }) => new CheckpointService(this.#parts.host, store));
  }

  /** Suspends a VM. */
  async suspend(vm: VM, options: CheckpointOptions): Promise<CheckpointHead> {
    const service = await this.#saving();
    const head = await service.suspend(savable(vm), options);
    await vm.powerOff();
    if (!this.#parts.isStopped()) {
      void this.#last.open(this.store, head.id, (checkpoint) => {
        const { active, map } = checkpoint;
        checkpoint.prepareActive();
        this.#prepareFor({ ramPages: map.packOf.length, runs: active });
      });
    }
    return head;
  }

  /** Lets a suspended VM go on. @param world a world that was started for it */
  async resume(id: string, options: GoOnOptions, world: EarlyWorld): Promise<VM> {
    const open = this.#last.take(id) ?? await openVm(this.store, id);
    const claim = await this.#right(open, (head) => this.store.claim(id, head));
    return await untilEnd(claim, () => {
      return this.#goOn(open, options, { world, claim, ownsDisks: true });
    });
  }

  /** Makes the VM of a checkpoint once more. @param world a world that was started for it */
  async restore(id: string, options: GoOnOptions, world: EarlyWorld): Promise<VM> {
    const open = await openVm(this.store, id);
    const hold = await this.#right(open, (head) => this.store.borrow(id, head));
    return await untilEnd(hold, () => this.#goOn(open, options, { world }));
  }

  /** Takes a right to a state that is open; it is closed where there is none to have. */
  async #right<T>({ checkpoint }: OpenVm, take: (head: CheckpointHead) => Promise<T>): Promise<T> {
    try {
      return await take(checkpoint.head);
    } catch (error) {
      checkpoint.close();
      throw error;
    }
  }

  /** Makes a VM of its own of a checkpoint, and runs it. Rejects like `restore`. */
  async clone(id: string, options: GoOnOptions, role: Role): Promise<VM> {
    const { identities } = this.#parts;
    const clone = (parent: CloneParent) => identities.newIdentity(parent);
    return await this.#goOn(await openVm(this.store, id), options, { ...role, clone });
  }

  /** Makes forks of a VM that runs, or of the VM of a checkpoint. */
  async fork(from: VM | string, options: ForkOptions): Promise<ParkedVm[]> {
    const { count = 1, names, ...how } = options;
    if (!Number.isSafeInteger(count) || count < 1 || count > FORKS_MAXIMUM) {
      throw new ConfigError(`Cannot make ${count} forks: expected 1 to ${FORKS_MAXIMUM}`);
    }
    if (names !== undefined && names.length !== count) {
      throw new ConfigError(`Cannot make ${count} forks with ${names.length} names`);
    }
    const { checkpoint, described, over } = await this.#shared(from);
    const parent = parentOf(described);
    const siblings = { left: count };
    const gone = (fork: ParkedVm, started: boolean) => {
      this.#parked.delete(fork);
      if (!started) this.#parts.identities.release(fork.identity);
      if (--siblings.left === 0) void over();
    };
    return Array.from({ length: count }, (_, i) => {
      const numbered = () => `${how.name ?? parent.name}-${i + 1}`;
      const name = names?.[i] ?? (how.name !== undefined && count === 1 ? how.name : numbered());
      const identity = this.#parts.identities.newIdentity({ ...parent, name });
      const run = () =>
        this.#goOn(
          { checkpoint: checkpoint.share(), described },
          { inBackground: false, ...how, name },
          { clone: () => identity },
        ).catch((error) => {
          this.#parts.identities.release(identity);
          throw error;
        });
      const fork: ParkedVm = new ParkedVm(name, identity, run, (started) => gone(fork, started));
      this.#parked.add(fork);
      return fork;
    });
  }

  /** Drops forks that have not run, and ends the saver. */
  async stop(): Promise<void> {
    (await this.#service)?.stop();
    this.#last.close();
    const forgetting = this.#forgetting;
    for (const fork of this.#parked) fork.discard();
    await Promise.all(forgetting);
  }

  /** What forks are made of, open until the last of them runs: they share its files, map, and what was unpacked. */
  async #shared(from: VM | string): Promise<Shared> {
    let hold: HostLock | undefined;
    const begun = async (id: string) => void (hold = await this.store.holdForks(id));
    let checkpoint: OpenCheckpoint | undefined;
    // What runs has its files open.
    const over = async () => {
      checkpoint?.close();
      hold?.release();
      if (hold !== undefined) await this.#forget();
    };
    try {
      const id = typeof from === "string"
        ? from
        : (await this.checkpoint(from, {}, { kind: "fork", begun })).id;
      const open = await openVm(this.store, id);
      checkpoint = open.checkpoint;
      return { ...open, over };
    } catch (error) {
      void over();
      throw error;
    }
  }

  readonly #forgetting = new Set<Promise<void>>();

  /** Collects states of forks that nobody holds any more. */
  #forget(): Promise<void> {
    const failed = (reason: string) =>
      this.#parts.warn(`Cannot delete the state of forks that are gone: ${reason}`);
    const done = this.store.collect().then(
      ({ problems }) => problems.forEach(failed),
      (error) => failed(error.message),
    );
    this.#forgetting.add(done);
    return done.finally(() => this.#forgetting.delete(done));
  }

  /** @param open the VM's to close */
  async #goOn({ checkpoint, described }: OpenVm, options: GoOnOptions, role: Role): Promise<VM> {
    const { host, worlds, identities, admit, isStopped } = this.#parts;
    using world = role.world ?? worlds.take(options.name ?? "vm");
    // What a VM takes with it once there is one: its end gives that back.
    await using undo = new AsyncDisposableStack();
    undo.defer(() => checkpoint.close());
    // Its mark takes the disk some milliseconds.
    const use = useOf(role.claim, this.#parts.warn);
    undo.defer(use.takeBack);
    const name = options.name ?? described.saved.name;
    admit({ name, memoryBytes: described.saved.machine.memoryBytes });
    const tier = options.tier ?? described.saved.machine.tier;
    const { machine, translations } = described.saved;
    const { compiler, core, translates } = await this.#codeFor({ ...machine, tier }, translations);
    if (compiler !== undefined) undo.defer(() => compiler.close());
    const restored = await restoreVm(host, checkpoint, described, {
      loading: { backgroundAfter: QUIET_MILLISECONDS, ...options },
      told: this.#told(role),
      spareFor: (config) => spareMemory(world.spare, { ...config, tier }, compiler?.keeps),
    });
    const { restore: { loader } } = restored;
    const saved = role.clone === undefined ? restored.saved : this.#reseeded(restored.saved);
    const identity = role.clone?.({ ...parentOf(restored), name }) ?? restored.identity;
    if (identity !== undefined) {
      if (role.clone === undefined) identities.keep(identity);
      undo.defer(() => identities.release(identity));
    }
    const config: MachineConfig = {
      ...restored.config,
      seed: saved.machine.seed,
      tier,
      ...identity && { identity },
    };
    const { id } = checkpoint.head;
    await using drives = await this.#openDisks(id, restored, role.ownsDisks ?? false);
    const made = await core;
    if (isStopped()) throw new ConfigError(`Cannot make the VM "${name}": the kernel was stopped`);
    const vm = new VM({
      host,
      world,
      name,
      guest: role.guest,
      config,
      moved: [],
      images: () => imagesOf(host, saved),
      disks: drives?.served ?? [],
      drives,
      consoleDevice: saved.console,
      network: saved.network,
      onReset: saved.onReset,
      compiler,
      core: made,
      agent: saved.agent,
      facts: { ...saved, name },
      restore: restored.restore,
      newRecording: (wanted, disks) => this.#record(saved, { name, config }, wanted, disks),
    });
    undo.move();
    void vm.waitForExit().catch(() => {}).then(() => {
      if (identity !== undefined) identities.release(identity);
      if (drives !== undefined) collectDisks(this.store);
    });
    this.#parts.follow(vm);
    const isClone = role.clone !== undefined;
    await this.#begin(vm, { checkpoint, config, isClone, loader, options, use });
    if (translates) this.#parts.translations.start(QUIET_MILLISECONDS);
    return vm;
  }

  /** The next VM is likely to load these pages first: the host finds their memory now. */
  #prepareFor(first: FirstPages): void {
    this.#first = first;
    this.#parts.worlds.prepareAll();
  }

  /** Lets a VM execute. It is ended when that cannot be. */
  async #begin(vm: VM, begin: Begin): Promise<void> {
    const { checkpoint, config, isClone, loader, options, use } = begin;
    let goesOn = false;
    try {
      // Before the world looks at what comes: no instruction is executed before.
      const pausing = options.paused ? vm.pause() : undefined;
      this.#announce(vm, config, isClone);
      // Its world makes the machine meanwhile.
      loader.loadFirst();
      await use.consumed;
      if (vm.state !== "starting") {
        throw new HostError(`The VM "${vm.name}" ended before it could go on`);
      }
      goesOn = true;
      savingParts(vm)!.goOn(this.#learner(checkpoint, options, loader));
      await vm.started();
      // Those that are ready already stay as they are: somebody waits for this VM.
      const { firstPages } = loader;
      if (firstPages.runs.length > 0) this.#first = firstPages;
      await pausing;
    } catch (error) {
      await loader.close();
      await vm.powerOff();
      if (!goesOn) await use.takeBack();
      throw error;
    }
  }

  /** Who is told of pages that cannot be read. */
  #told({ damaged }: Role): LoadProblems {
    const { warn } = this.#parts;
    return {
      ignored: (error) => warn(error.message),
      failed: (error) => {
        warn(error.message);
        damaged?.();
      },
    };
  }

  #learner(
    checkpoint: OpenCheckpoint,
    { learn }: GoOnOptions,
    { hadWorkingSet }: PageLoader,
  ): WorkingSetLearner | undefined {
    const { host, warn } = this.#parts;
    return learn === true || (learn === "once" && !hadWorkingSet)
      ? new WorkingSetLearner(this.store, checkpoint, host.timers, warn)
      : undefined;
  }

  /** A clone that starts again is not to meet the chances of its siblings, but where its course is its seed's. */
  #reseeded(saved: SavedVm): SavedVm {
    if (saved.machine.clock === "virtual") return saved;
    return { ...saved, machine: { ...saved.machine, seed: this.#parts.host.entropy.seed() } };
  }

  /** The disks of a VM that goes on. What opens them is loaded only for one that has some. */
  async #openDisks(
    id: string,
    { disks, config: { disks: shapes } }: RestoredVm,
    inPlace: boolean,
  ): Promise<VmDisks | undefined> {
    if (shapes.length === 0) return undefined;
    const { openSaved } = await importLate<typeof import("./world/open_disks.ts")>(
      "./world/open_disks.ts",
      import.meta.url,
    );
    return await openSaved(this.#parts.host, { store: this.store, id, disks, shapes, inPlace });
  }

  /** Tells machine and guest who they are and what time it is, before the guest executes anything. */
  #announce(vm: VM, { identity, clock, seed }: MachineConfig, isClone: boolean): void {
    if (identity === undefined) return;
    const isVirtual = clock === "virtual";
    const { host, identities, warn } = this.#parts;
    const told = vm.announceIdentity({
      identity,
      isClone,
      wallNanoseconds: isVirtual ? undefined : host.clock.wallNanoseconds(),
      entropy: isClone && isVirtual
        ? identities.entropyFor(identity, ENTROPY_BYTES, seed)
        : undefined,
    });
    told.catch((error) => warn(`Cannot tell "${vm.name}" who it is: ${error.message}`));
  }

  /** Records a VM that went on from a checkpoint, from where it is. Throws ConfigError and HostError. */
  #record(
    { console, sources }: SavedVm,
    { name, config }: { readonly name: string; readonly config: MachineConfig },
    options: RecordOptions,
    disks: BlockDevice[],
  ): RecordingSession {
    if (disks.length > 0) {
      throw new ConfigError(
        `Cannot record "${name}": its disks lie over a checkpoint's, where no replay would find them`,
      );
    }
    const paths = Object.fromEntries(sources.map(({ role, path }) => [role, path]));
    // The files are read for the recording; that there are any is what counts.
    const images = Object.fromEntries(
      sources.filter(({ role }) => role !== "bios").map(({ role }) => [role, new Uint8Array(0)]),
    );
    const vm = {
      name,
      config: { ...config, ...images },
      console: console === "virtio" ? DEVICE_NAMES.console : DEVICE_NAMES.uart,
      start: "state",
      shows: "console",
      paths,
      disks,
    } as const;
    const { host, warn } = this.#parts;
    return beginRecording(host, vm, options, warn);
  }

  /** What its code comes from: the core is a promise, because it is made beside what else there is to do. */
  async #codeFor(config: CodeOf, name: string) {
    const { translations, cores } = this.#parts;
    const { tier, trace } = config;
    const translates = (tier === "auto" || tier === "translator") && !trace;
    const compiler = translates ? await translations.connect(name, QUIET_MILLISECONDS) : undefined;
    const core = cores.getIfPossible(coreRecipe(config, compiler?.keeps ?? false));
    core.catch(() => {});
    return { compiler, core, translates };
  }
}

/** Removes disks of VMs that have ended, if nobody uses the store just now. */
function collectDisks({ disks }: CheckpointStore): void {
  try {
    disks.tryCollect();
  } catch (error) {
    // A later collection removes them.
    if (!(error instanceof HostError)) throw error;
  }
}

function parentOf(
  { saved, identity }: { readonly saved: SavedVm; readonly identity: VmIdentity | undefined },
): CloneParent {
  const { machine: { clock, seed }, name } = saved;
  return { name, seed: clock === "virtual" ? seed : undefined, parent: identity };
}

/** A VM that can be saved. Throws ConfigError or HostError for one that cannot. */
function savable(vm: VM): SavableVm {
  const { name, identity, state } = vm;
  const { saves, facts, disks, loader } = savingParts(vm) ?? {};
  if (saves === undefined || facts === undefined) {
    throw new ConfigError(`The VM "${name}" is a replay, which is not saved`);
  }
  if (state === "stopped" || state === "failed") {
    throw new HostError(`The VM "${name}" is not running`);
  }
  return { name, saves, facts, identity, disks, loader };
}
