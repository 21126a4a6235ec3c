/**
 * The kernel world: makes VMs, knows them all, ends them all (design.md, Worlds).
 *
 * Invariants: a VM that fails takes nothing else with it; after `stop` no worker, file or timer of the
 * kernel's is left.
 */
import { ConfigError, HostError } from "./base/errors.ts";
import { formatSize } from "./base/units.ts";
import { type GuestProvider, parsePowerOn, vmName } from "./config.ts";
import type { PowerOnOptions, ResolvedGuest, VmSpec } from "./config.ts";
import { denoHost } from "./host/deno_host.ts";
import type { Host } from "./host/host.ts";
import { MACHINE_VERSION } from "./machine/version.ts";
import { MetricRegistry } from "./metrics/registry.ts";
import type { BlockDevice } from "./storage/block_device.ts";
import { DEVICE_NAMES, type MachineConfig } from "./world/machine_port.ts";
import { IdentityService } from "./world/identity_service.ts";
import type { RecordingSession, RecordOptions } from "./world/recording_session.ts";
import { beginRecording } from "./world/recording_start.ts";
import { CoreModules, coreRecipe, coreSourcesDigest } from "./world/core_modules.ts";
import type { EarlyWorld } from "./world/early_world.ts";
import { KeptWorlds, type KeptWorldsOptions } from "./world/kept_worlds.ts";
import { TranslationService, translationsName } from "./world/translation_service.ts";
import type { CheckpointHead } from "./checkpoint/checkpoint_format.ts";
import type { Checkpoints } from "./checkpoint/checkpoint_store.ts";
import type { ParkedVm } from "./parked_vm.ts";
import { type ReplayOptions, replayVm } from "./replayed_vm.ts";
import { buffersOf, imagePaths, type Images, readImages } from "./vm_images.ts";
import type { VmMaking } from "./vm_making.ts";
import type { ReadyOptions, ReadyVms } from "./ready_vms.ts";
import type { ForkOptions, GoOnOptions } from "./going_on.ts";
import type { SavedVms } from "./saved_vms.ts";
import type { CheckpointOptions, MadeCheckpoint, SavedFacts } from "./world/checkpoint_service.ts";
import { VM } from "./world/vm.ts";
import type { VmDisks } from "./world/vm_disks.ts";
import { isFinal } from "./world/vm_state.ts";
import { WorldPool } from "./world/world_pool.ts";
import { importLate } from "./host/late_import.ts";

/** 2026-01-01 00:00 UTC: the wall clock of a VM with the virtual clock when it starts. */
const VIRTUAL_WALL_NANOSECONDS = 1_767_225_600_000_000_000n;

/** What a kernel is made of. */
export interface KernelOptions {
  /** Module of the VM world: knows the drivers, which the kernel does not. */
  readonly world: URL;
  /** Knows guests by name. */
  readonly guests: GuestProvider;
  /** The host; Deno's by default. */
  readonly host?: Host;
  /** Called with a line about long work in progress. */
  readonly progress?: (line: string) => void;
  /** Called with a line about a failure that guests survive. */
  readonly warn?: (line: string) => void;
  /** Folder where generated code is kept for later runs; none is by default. */
  readonly translations?: string;
  /** Folder where checkpoints are kept; without it there are none. */
  readonly checkpoints?: string;
  /** Where bundled modules of worlds are kept; nowhere by default. */
  readonly keptWorlds?: KeptWorldsOptions;
}

/** The options that decide how a machine's memory and code are laid out. */
export type MachineMake = Pick<
  PowerOnOptions,
  "memory" | "harts" | "clock" | "tier" | "tlbEntries" | "cacheElements"
>;

/** A running kernel. */
export class Kernel {
  /** Counters of the kernel. */
  readonly metrics: MetricRegistry = new MetricRegistry();
  /** Who its VMs are. */
  readonly identities: IdentityService;
  readonly #options: KernelOptions;
  readonly #host: Host;
  readonly #translations: TranslationService;
  readonly #keptWorlds: KeptWorlds | undefined;
  #saved: SavedVms | undefined;
  #ready: ReadyVms | undefined;
  readonly #cores: CoreModules;
  readonly #worlds: WorldPool;
  readonly #vms = new Set<VM>();
  readonly #poweredOn = this.metrics.counter("vms_powered_on_total", "VMs that were started");
  readonly #warm = this.metrics.counter(
    "vms_warm_total",
    "VMs that were made ready from a checkpoint",
  );
  readonly #failed = this.metrics.counter("vms_failed_total", "VMs that ended by a failure");
  #stopped = false;

  /** Makes a kernel; it starts nothing by itself. */
  constructor(options: KernelOptions) {
    this.#options = options;
    const { host = denoHost, keptWorlds } = options;
    this.#keptWorlds = keptWorlds && new KeptWorlds(host, keptWorlds);
    this.#host = this.#keptWorlds === undefined ? host : { ...host, workers: this.#keptWorlds };
    this.identities = new IdentityService(this.#host.entropy);
    this.#translations = new TranslationService(
      this.#host,
      options.translations,
      (line) => options.warn?.(line),
    );
    this.#worlds = new WorldPool(this.#host, options.world);
    const digest = () => {
      const kept = this.#keptWorlds?.coreDigest;
      return kept === undefined ? coreSourcesDigest() : Promise.resolve(kept);
    };
    this.#cores = new CoreModules(this.#host, options.translations, digest);
  }

  /** VMs that have not ended. */
  get vms(): VM[] {
    return [...this.#vms].filter((vm) => !isFinal(vm.state));
  }

  /** Forks that have not run. */
  get parkedForks(): ParkedVm[] {
    return this.#saved?.parked ?? [];
  }

  /**
   * Makes a VM and resolves when it runs. Rejects with `ConfigError`, `HostError` or `FormatError` when
   * the VM cannot be made as asked.
   */
  async powerOn(options: PowerOnOptions): Promise<VM> {
    if (this.#stopped) throw new ConfigError("Cannot power on a VM: the kernel is stopped");
    // Regions that are checked are made by the VM world itself, and none of them is kept.
    const translates = options.tier !== "interpreter" && options.tier !== "check" &&
      options.trace !== true;
    // Its worker loads its modules while the images are read.
    const called = options.name ?? options.guest ?? "vm";
    using world: EarlyWorld = this.#worlds.take(called);
    if (options.record !== undefined) void world.rehearse({ records: true });
    const guest = await this.#resolveGuest(options);
    const spec = parsePowerOn(options, guest, `vm${this.#poweredOn.value}`);
    this.#checkMemory(spec);
    const images = await readImages(this.#host.files, spec);
    await using drives = await openDrives(this.#host, spec, (line) => this.#options.warn?.(line));
    const disks = drives?.served ?? [];
    const seed = spec.seed ?? (spec.clock === "virtual" ? 0 : undefined);
    using who = this.identities.draft({ name: spec.name, seed });
    const config = { ...this.#machineConfig(spec, images, disks), identity: who.identity };
    const recording = spec.record && this.#record(spec, spec.record, config, disks, options.shows);
    const compiler = translates
      ? await this.#translations.connect(translationsName(config))
      : undefined;
    const vm = new VM({
      host: this.#host,
      world,
      name: spec.name,
      guest: options.guest,
      config,
      moved: buffersOf(images),
      images: async () => {
        const again = await readImages(this.#host.files, spec);
        return { images: { kernel: again.kernel, initrd: again.initrd }, moved: buffersOf(again) };
      },
      disks,
      drives,
      consoleDevice: spec.console,
      network: spec.network,
      onReset: spec.onReset,
      compiler,
      core: await this.#cores.getIfPossible(coreRecipe(config, compiler?.keeps ?? false)),
      recording,
      newRecording: (options, own) => this.#record(spec, options, config, own, "console", "state"),
      waitsForDebugger: options.waitsForDebugger ?? false,
      facts: factsOf(spec, config),
    });
    who.keep(vm.waitForExit());
    this.#follow(vm);
    if (translates) this.#translations.start();
    await vm.started();
    return vm;
  }

  /**
   * Makes a VM whose guest is ready to run commands (`VM.exec`), as fast as can be: the first one of its kind
   * boots, and is kept as a checkpoint of kind "ready"; later ones, of this and other processes, are clones of
   * that with identities of their own. Which kind it is, its images and all options but `name` and `tier` say.
   * Without a folder for checkpoints, and with drives, a recording, a trace or a debugger, it boots, and nothing
   * is kept. A VM that ends before it is ready is given all the same. Rejects like `powerOn`.
   *
   * ```ts
   * const vm = await kernel.ready({ guest: "debian" });
   * const { text } = await vm.exec("uname -a");
   * ```
   */
  async ready({ cold = false, ...options }: ReadyOptions): Promise<VM> {
    const { drives = [], record, trace, waitsForDebugger } = options;
    const isPlain = !drives.length && !record && !trace && !waitsForDebugger;
    if (cold || !isPlain || this.#options.checkpoints === undefined || this.#stopped) {
      return await this.powerOn(options);
    }
    using world: EarlyWorld = this.#worlds.take(options.name ?? options.guest ?? "vm");
    return await (await this.#readyVms()).make(options, world);
  }

  /**
   * Replays a recording; the VM's exit says how that ended. Rejects with `HostError`, `FormatError` and
   * `ConfigError` when the recording, or something that it needs, is missing, damaged or has changed.
   */
  async replay(folder: string, options: ReplayOptions = {}): Promise<VM> {
    if (this.#stopped) throw new ConfigError("Cannot replay: the kernel is stopped");
    return await replayVm(this.#making(), folder, options);
  }

  /** The checkpoints that this kernel keeps. Rejects with `ConfigError` when it keeps none. */
  async checkpoints(): Promise<Checkpoints> {
    return (await this.#savedVms()).store;
  }

  /**
   * Makes a checkpoint of a VM, which runs on meanwhile. Rejects with `ConfigError` for a VM that has none, and
   * with `HostError`; the VM goes on then, too, and the store is what it was.
   */
  async checkpoint(vm: VM, options: CheckpointOptions = {}): Promise<MadeCheckpoint> {
    return await (await this.#savedVms()).checkpoint(vm, options);
  }

  /** Suspends a VM: all of it is kept, and it ends. Rejects like `checkpoint`; the VM goes on then. */
  async suspend(vm: VM, options: CheckpointOptions = {}): Promise<CheckpointHead> {
    return await (await this.#savedVms()).suspend(vm, options);
  }

  /**
   * Lets a suspended VM go on, once, by the id of its checkpoint. Rejects with `ConfigError` when it goes on
   * already, or went on before, and with `FormatError` and `HostError` when it cannot be read.
   */
  async resume(id: string, options: GoOnOptions = {}): Promise<VM> {
    // Its worker loads its modules while what reads checkpoints is loaded.
    using world = this.#worldFor(options);
    return await (await this.#savedVms()).resume(id, options, world);
  }

  /** Makes the VM of a checkpoint once more, as it was then and who it was. Rejects like `resume`. */
  async restore(id: string, options: GoOnOptions = {}): Promise<VM> {
    using world = this.#worldFor(options);
    return await (await this.#savedVms()).restore(id, options, world);
  }

  /**
   * Makes forks of a VM, which runs on, or of a checkpoint's: VMs with identities of their own that share its
   * state until they run. Rejects like `checkpoint` and `resume`.
   */
  async fork(from: VM | string, options: ForkOptions = {}): Promise<ParkedVm[]> {
    return await (await this.#savedVms()).fork(from, options);
  }

  /**
   * Learns which pages the VM of a checkpoint uses first, exactly, from a recording in which the checkpoint was
   * taken, or which began when a VM went on from it; goers-on have them at once (`LoadOptions.first`). Gives
   * how many pages those are. Rejects with `ConfigError` when the recording does not fit: its machine is not the
   * checkpoint's at the checkpoint's instruction, or it begins later; and like `replay`.
   *
   * @param folder of the recording
   * @param milliseconds of the guest's time that count; 1000 by default
   */
  async learnWorkingSet(id: string, folder: string, milliseconds?: number): Promise<number> {
    const { store } = await this.#savedVms();
    const { workingSetOfRecording } = await importLate<typeof import("./recorded_working_set.ts")>(
      "./recorded_working_set.ts",
      import.meta.url,
    );
    return await workingSetOfRecording(this.#making(), store, id, folder, milliseconds);
  }

  /**
   * Keeps so many spare worlds from now on, so that VMs start in milliseconds; 0 ends them. Resolves when
   * they are ready. Rejects with `ConfigError` when `like` is no machine that could be made.
   *
   * @param like the make of the machines that will be started
   */
  async keepSpareWorlds(count: number, like: MachineMake = {}): Promise<void> {
    if (this.#stopped) throw new ConfigError("Cannot keep spare worlds: the kernel is stopped");
    if (count === 0) return await this.#worlds.warm(0);
    const spec = parsePowerOn({ ...like, kernel: new Uint8Array(0) }, {}, "spare");
    const bios = spec.bios === "none" ? "none" : "builtin";
    const images: Images = { kernel: undefined, initrd: undefined, bios, read: new Set() };
    const config = this.#machineConfig(spec, images, []);
    // The code of a machine whose regions are kept, as most are where any are.
    const keeps = this.#options.translations !== undefined;
    const core = await this.#cores.getIfPossible(coreRecipe(config, keeps));
    const goesOn = this.#options.checkpoints === undefined ? undefined : { keeps };
    await this.#worlds.warm(count, { config, core, goesOn });
  }

  /** Ends all VMs. What `ready` is keeping is waited for, for some seconds; not `now`. */
  async stop({ now = false }: { readonly now?: boolean } = {}): Promise<void> {
    this.#stopped = true;
    this.#keptWorlds?.stop();
    await Promise.all([...this.#vms].map((vm) => vm.powerOff()));
    if (!now) await this.#ready?.stop();
    await this.#saved?.stop();
    this.#translations.stop();
    await this.#worlds.stop();
    await this.#host.memory.trimmed();
  }

  /** Same as `stop`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #follow(vm: VM): void {
    this.#poweredOn.add();
    this.#vms.add(vm);
    const gone = () => this.#vms.delete(vm);
    vm.waitForExit().then(gone, () => {
      gone();
      this.#failed.add();
    });
  }

  #worldFor({ name = "vm" }: GoOnOptions): EarlyWorld {
    this.#checkGoesOn();
    return this.#worlds.take(name);
  }

  #checkGoesOn(): void {
    if (this.#stopped) throw new ConfigError("Cannot save VMs or go on: the kernel is stopped");
  }

  /** What saves VMs is loaded when it is wanted. */
  async #savedVms(): Promise<SavedVms> {
    this.#checkGoesOn();
    const { SavedVms } = await importLate<typeof import("./saved_vms.ts")>(
      "./saved_vms.ts",
      import.meta.url,
    );
    return this.#saved ??= new SavedVms(this.#making(), this.#options.checkpoints);
  }

  /** What makes VMs elsewhere. */
  #making(): VmMaking {
    return {
      host: this.#host,
      translations: this.#translations,
      cores: this.#cores,
      worlds: this.#worlds,
      identities: this.identities,
      warn: (line) => this.#options.warn?.(line),
      admit: (vm) => {
        if (this.#stopped) throw new ConfigError("Cannot make a VM: the kernel is stopped");
        vmName(vm.name);
        this.#checkMemory(vm);
      },
      isStopped: () => this.#stopped,
      follow: (vm) => this.#follow(vm),
    };
  }

  async #readyVms(): Promise<ReadyVms> {
    const saved = await this.#savedVms();
    const { ReadyVms } = await importLate<typeof import("./ready_vms.ts")>(
      "./ready_vms.ts",
      import.meta.url,
    );
    return this.#ready ??= new ReadyVms({
      host: this.#host,
      saved,
      powerOn: (options) => this.powerOn(options),
      specOf: async (options) =>
        parsePowerOn(options, await this.#resolveGuest(options), `vm${this.#poweredOn.value}`),
      warn: (line) => this.#options.warn?.(line),
      progress: (line) => this.#options.progress?.(line),
      warm: this.#warm,
    });
  }

  async #resolveGuest({ guest, packages = [] }: PowerOnOptions): Promise<ResolvedGuest> {
    if (guest === undefined) {
      if (packages.length === 0) return {};
      throw new ConfigError("Packages can only be added to a named guest");
    }
    const { guests, progress } = this.#options;
    return await guests.resolve(guest, progress ? { packages, progress } : { packages });
  }

  #record(
    spec: VmSpec,
    options: RecordOptions,
    config: MachineConfig,
    disks: BlockDevice[],
    shows: PowerOnOptions["shows"] = "console",
    start: "power-on" | "state" = "power-on",
  ): RecordingSession {
    const images = imagePaths(spec).map(({ role, path }) => [role, path]);
    const drives = spec.drives.map(({ path }, i) => [`disk${i}`, path]);
    const paths: Record<string, string> = Object.fromEntries([...images, ...drives]);
    const console = spec.console === "virtio" ? DEVICE_NAMES.console : DEVICE_NAMES.uart;
    const vm = { name: spec.name, config, console, shows, start, paths, disks };
    return beginRecording(this.#host, vm, options, (line) => this.#options.warn?.(line));
  }

  #checkMemory(spec: Pick<VmSpec, "name" | "memoryBytes">): void {
    const available = this.#host.memory.available();
    if (spec.memoryBytes <= available) return;
    throw new HostError(
      `Cannot give the VM "${spec.name}" ${formatSize(spec.memoryBytes)} of memory: the host has ` +
        `${formatSize(available)} available`,
    );
  }

  #machineConfig(spec: VmSpec, images: Images, disks: readonly BlockDevice[]): MachineConfig {
    const { clock, harts, memoryBytes, append, tier, trace, tlbEntries, cacheElements } = spec;
    const virtual = clock === "virtual";
    return {
      ...(images.kernel && { kernel: images.kernel }),
      ...(images.initrd && { initrd: images.initrd }),
      bios: images.bios,
      machineVersion: MACHINE_VERSION,
      disks: disks.map(({ sectors, readOnly }) => ({ sectors, readOnly })),
      seed: spec.seed ?? (virtual ? 0 : this.#host.entropy.seed()),
      startWallNanoseconds: virtual ? VIRTUAL_WALL_NANOSECONDS : this.#host.clock.wallNanoseconds(),
      clock,
      harts,
      memoryBytes,
      append,
      tier,
      tlbEntries,
      cacheElements,
      trace,
    };
  }
}

/** What a checkpoint keeps of how a VM was made. */
function factsOf(spec: VmSpec, config: MachineConfig): SavedFacts {
  const { kernel: _, initrd: __, bios, identity: ___, ...machine } = config;
  return {
    name: spec.name,
    machine: { ...machine, bios: typeof bios === "string" ? bios : "image" },
    sources: imagePaths(spec),
    console: spec.console,
    network: spec.network,
    onReset: spec.onReset,
    translations: translationsName(config),
  };
}

/** Opens all disks of a VM, or none. Formats of images are loaded only where there are some. */
async function openDrives(
  host: Host,
  { drives }: VmSpec,
  warn: (line: string) => void,
): Promise<VmDisks | undefined> {
  if (drives.length === 0) return undefined;
  const { openImages } = await importLate<typeof import("./world/open_disks.ts")>(
    "./world/open_disks.ts",
    import.meta.url,
  );
  return await openImages(host, drives, warn);
}
