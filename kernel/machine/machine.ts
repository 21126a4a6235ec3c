/**
 * One virtual machine: harts, memory, board, firmware and clock as one deterministic thing. Its state
 * is hart blocks, machine state, device states and RAM, all in VM memory; it changes only by executing
 * instructions (turns.ts) and by events at its gate (gate.ts), at exact icounts.
 *
 * Invariants: nothing here reads a host clock or a source of chance, but for instructions under an exact
 * clock (nondeterminism.ts); outputs leave only through `takeOutputs`; the same inputs at the same icounts
 * give the same state and outputs on every host.
 */
import { assert } from "../base/assert.ts";
import { ConfigError } from "../base/errors.ts";
import { seededIdentity } from "../base/identity.ts";
import { Prng } from "../base/prng.ts";
import { Core } from "../cpu/core.ts";
import type { Device, DeviceDeclaration, DeviceRegistry, GuestIdentity } from "../driver/mod.ts";
import { DEVICE_STATE_BYTES } from "../limits.ts";
import { GuestMemory } from "../memory/guest_memory.ts";
import { LazyPages } from "../memory/lazy_pages.ts";
import type { WaitForWord } from "../memory/wait_for_word.ts";
import { MemoryWatch, type Watch } from "../memory/watch.ts";
import { PRIVILEGE } from "../memory/hart_layout.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { type BoardEntry, boardOf } from "./board.ts";
import { type BootOptions, type BootPlan, emptyBoot, planBoot } from "./boot.ts";
import { DeviceBus } from "./bus.ts";
import { MachineClock } from "./clock.ts";
import type { Stamp } from "./event.ts";
import { Gate } from "./gate.ts";
import { deviceEnvironment } from "./device_environment.ts";
import { buildDeviceTree, type TreeDevice } from "./device_tree.ts";
import { machineDigest } from "./digest.ts";
import { guestIdentity, IDENTITY_MACHINE_VERSION } from "./identity.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import type { RegionCompiler } from "../translator/translation.ts";
import { Translator } from "../translator/translator.ts";
import type { MachineCode } from "./machine_code.ts";
import {
  type CodeConfig,
  coreMake,
  type LayoutConfig,
  planOptions,
  translatorOptions,
} from "./machine_plan.ts";
import { DISK_REQUESTS_MAXIMUM, MACHINE_STATE, type MachineState, PHASE } from "./machine_state.ts";
import { type HostSource, Nondeterminism } from "./nondeterminism.ts";
import { type MachineOutput, Outputs } from "./outputs.ts";
import { startHarts, useFirmware } from "./start.ts";
import { type PointStop, type StopReason, Turns } from "./turns.ts";

/** A disk as the machine sees it. */
export interface DiskDescription {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  readonly readOnly: boolean;
}

/** What a machine is made of. */
export interface MachineConfig extends Omit<BootOptions, "ramBytes">, LayoutConfig, CodeConfig {
  /** What guests can observe of it: MACHINE_VERSION for a new one, its own for one that was before. */
  readonly machineVersion: number;
  /**
   * Which tiers execute; the translator by default. `check` is the translator with each region run a second
   * time in the interpreter and compared (translator/region_check.ts).
   */
  readonly tier?: CodeConfig["tier"];
  /** Where its generated code comes from. */
  readonly code: MachineCode;
  /** Kernel command line. */
  readonly append: string;
  readonly disks: readonly DiskDescription[];
  /** What an exact clock reads; without it, or with another clock, nothing comes from the host. */
  readonly host?: HostSource;
  /** Seed of everything the guest sees as random. */
  readonly seed: bigint;
  /** Who the VM is, as its guest sees it from version 3 on; without it, what its seed gives. */
  readonly identity?: GuestIdentity;
  /** Wall clock in nanoseconds since 1970 at power-on. */
  readonly wallStart: bigint;
  /** Who makes regions; without it, the machine's own thread does. */
  readonly compiler?: MachineCompiler;
  /**
   * The machine is made from an image: nothing is placed in RAM and no hart starts, until `resumeImage`
   * (machine_image.ts) says what it is. Kernel and initrd are not looked at; of `bios` only whether it is
   * "builtin".
   */
  readonly restored?: RestoredMemory;
}

/** The memory of a machine that is made from an image. */
export interface RestoredMemory {
  /** Made by `newMemory` for the plan of `planOptions`; RAM holds what the image's RAM held. Without it RAM holds zeros. */
  readonly memory?: WebAssembly.Memory;
  /** Table of the pages that are not in RAM yet (memory/lazy_source.ts). */
  readonly lazy?: SharedArrayBuffer;
  /** How the machine waits for such a page; Atomics.wait by default. */
  readonly wait?: WaitForWord;
}

/** Somebody who makes regions elsewhere. */
export interface MachineCompiler {
  /** Whether regions of earlier runs are to be expected. */
  readonly keeps: boolean;
  /** The compiler for a machine with this layout; `checks` tells whether its regions are for the tier `check`. */
  begin(plan: MemoryPlan, checks: boolean): RegionCompiler;
}

/** A device that is attached: where, and its behaviour. */
export interface AttachedDevice {
  readonly name: string;
  readonly index: number;
  readonly declaration: DeviceDeclaration;
  readonly base: number;
  readonly irq: number;
  /** Disk number, or -1. */
  readonly disk: number;
  readonly stateOffset: number;
  behaviour: Device;
}

/** What stays of a configuration when the machine is loaded. */
function withoutImages(
  { kernel: _, initrd: __, restored: ___, ...config }: MachineConfig,
): MachineConfig {
  return config;
}

/** One virtual machine. */
export class Machine {
  /** What it is made of, but for the images. */
  readonly config: MachineConfig;
  readonly core: Core;
  /** Bytes that the states of the machine and its devices take. */
  readonly stateBytes: number;
  /** The fast tier; undefined when only the interpreter executes. */
  readonly translator?: Translator;
  readonly memory: GuestMemory;
  /** Who is told of accesses to a few bytes. */
  readonly watch: MemoryWatch;
  readonly clock: MachineClock;
  readonly state: MachineState;
  /** Where events come in. */
  readonly gate: Gate = new Gate(this);
  readonly outputs = new Outputs(() => this.stampNow());
  readonly devices: readonly AttachedDevice[];
  readonly random: Prng;
  /** Where results come from that no icount determines, and how they are recorded and replayed. */
  readonly nondeterminism: Nondeterminism;
  readonly plan: BootPlan;
  /** Pages that are loaded later, if the machine was made from an image with such pages. */
  lazy?: LazyPages;
  /** Whether requests are being submitted again that were in flight when an image was made. */
  resubmitting = false;
  #toHost: Watch | undefined;
  readonly #bus = new DeviceBus();
  readonly #turns: Turns;

  /** Builds a machine at its power-on state. Throws ConfigError and FormatError for bad input. */
  constructor(config: MachineConfig, registry: DeviceRegistry) {
    this.config = withoutImages(config);
    const { code, compiler, restored } = config;
    const make = coreMake(config, compiler?.keeps ?? false);
    const board = boardOf(config.machineVersion, config.disks.length);
    const declarations = board.map((entry) => registry.get(entry.driver));
    let stateBytes = MACHINE_STATE.byteLength;
    const offsets = declarations.map((declaration) => {
      const offset = stateBytes;
      stateBytes += Math.ceil(declaration.state.byteLength / 64) * 64;
      return offset;
    });
    assert(stateBytes <= DEVICE_STATE_BYTES, "there is room for the states of all devices");
    this.stateBytes = stateBytes;
    const core = this.core = new Core(
      planOptions(config),
      this.#bus,
      (plan) => code.core(plan, make),
      restored?.memory,
    );
    if (restored?.lazy !== undefined) {
      this.loadLazily(restored.lazy, restored.wait);
    }
    if (config.tier !== "interpreter") {
      const { heat, checks } = make;
      const made = compiler?.begin(core.plan, checks) ?? code.regions(core.plan, checks);
      const service = this.translator = new Translator(
        core,
        made,
        translatorOptions(config),
        heat,
      );
      if (checks) core.check = code.checker(core, (slot) => service.translationIn(slot));
    }
    this.memory = new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
      core.exports.dmaWrote(BigInt(gpa), length);
    });
    this.watch = new MemoryWatch(core.flags, core.plan);
    this.state = MACHINE_STATE.view(core.buffer, core.plan.deviceState);
    this.state.deviceTimer.fill(Infinity);
    this.state.wallStart = config.wallStart;
    this.random = new Prng(config.seed, this.state.entropy);
    this.nondeterminism = new Nondeterminism(
      core,
      this.random,
      config.host,
      () => this.icountNow(),
    );
    this.clock = new MachineClock(core);
    this.#turns = new Turns(this);
    this.devices = board.map((entry, index) =>
      this.#attach(entry, index, declarations[index]!, offsets[index]!)
    );
    // The images are in RAM now, and are not kept twice.
    this.plan = { ...restored ? emptyBoot(config) : this.#load(config), placements: [] };
    if (restored) useFirmware(this);
    else startHarts(this);
  }

  /** Instructions executed so far by all harts. */
  get icount(): number {
    return this.state.icount;
  }

  /** Guest time in ticks as devices tell it: never behind what a hart has read. */
  ticks(): number {
    const ticks = this.clock.ticksAt(this.icountNow());
    return this.config.clock === "exact"
      ? Math.max(ticks, Number(this.core.control("timeFloor")))
      : ticks;
  }

  /** icount of the instruction under way: exact also while a device is being accessed. */
  icountNow(): number {
    if (!this.#turns.running) return this.state.icount;
    const { core } = this;
    return Number(core.control("runEnd") - core.control("budget") - core.control("budgetAside"));
  }

  /** When the instruction under way is. */
  stampNow(): Stamp {
    const icount = this.icountNow();
    return { icount, ticks: this.clock.ticksAt(icount), hart: this.core.current };
  }

  /** From now on pages are loaded that a table names (`RestoredMemory.lazy`). Before the machine runs, once. */
  loadLazily(table: SharedArrayBuffer, wait?: WaitForWord): void {
    assert(this.lazy === undefined, "a machine's pages have one source");
    const { flags, plan } = this.core;
    this.lazy = new LazyPages(flags, plan, table, wait);
  }

  /** Skips idle time: guest time becomes `ticks` at once. For the virtual clock. */
  skipTo(ticks: number): void {
    this.#turns.skipTo(ticks);
  }

  /**
   * Runs at most `budget` instructions. Throws Divergence, LogExhausted, or what else the port of
   * `nondeterminism` throws; the machine then stands before the instruction, and may go on.
   */
  run(budget: number): StopReason {
    if (this.lazy?.ended === false) this.lazy.settle();
    return this.#turns.run(budget);
  }

  /**
   * Runs until a hart has executed one instruction, which gives the stop "step"; other harts run before it
   * as turns have it, at most `budget` instructions in all. Points and markers do not stop this instruction.
   */
  step(hart: number, budget: number): StopReason {
    this.core.points.pass(hart);
    return this.#turns.run(budget, hart);
  }

  /** Ends the run under way behind its instruction with a stop; the next run at once when none is. */
  stopAfter(stop: PointStop): void {
    this.#turns.stopAfter(stop);
  }

  /** Forgets where a point or a marker stopped and what is to stop: after the state was replaced. */
  forgetStops(): void {
    this.#turns.forgetStop();
    this.core.points.forget();
  }

  /** Tells of each hart that is chosen to run, and of -1 when all begin to wait. */
  observeTurns(tell: (hart: number) => void): void {
    this.#turns.observer = tell;
  }

  /** Hart whose turn it is, or that is executing. */
  get hart(): number {
    return this.#turns.running ? this.core.current : this.state.turn;
  }

  /**
   * Lets all that is due now happen; false when it waits for a disk result that is not there yet, or stands
   * before an instruction at which a point or a marker stopped it.
   */
  settle(): boolean {
    return this.#turns.settle();
  }

  /** Earliest guest time at which a disk request completes; Infinity when none is under way. */
  nextDiskDue(): number {
    let next = Infinity;
    for (let slot = 0; slot < this.config.disks.length * DISK_REQUESTS_MAXIMUM; slot++) {
      const due = this.state.diskDue[slot]!;
      if (due !== 0 && due < next) next = due;
    }
    return next;
  }

  /** Takes all output. */
  takeOutputs(): MachineOutput[] {
    return this.outputs.take();
  }

  /** Ends or resets the machine; the run under way stops after this instruction. */
  power(kind: "off" | "reset", code: number): void {
    if (this.state.phase !== PHASE.running) return;
    this.state.phase = kind === "off" ? PHASE.off : PHASE.reset;
    this.state.exitCode = code;
    this.core.raiseAttention(ATTENTION.stop);
  }

  /** A deadline changed: the turn-taker looks again after the instruction under way. */
  wantsLook(): void {
    this.core.raiseAttention(ATTENTION.stop);
  }

  /** Where `tohost` is watched (HTIF), if it is. */
  get toHost(): number | undefined {
    return this.#toHost?.gpa;
  }

  /** HTIF: a store of an odd value to `tohost` ends the machine from now on; 1 is success. */
  watchToHost(gpa: number): void {
    const { ramStart, ramBytes } = this.core.plan;
    if (gpa < ramStart || gpa >= ramStart + ramBytes) return;
    if (this.#toHost !== undefined) this.watch.remove(this.#toHost);
    this.#toHost = {
      kind: "write",
      gpa,
      size: 1,
      service: ({ value }) => {
        if ((value & 1n) === 1n) this.power("off", Number(value >> 1n & 0xffff_ffffn));
      },
    };
    this.watch.add(this.#toHost);
  }

  /** Drives an interrupt-pending line of a hart. */
  hartLine(hart: number, line: number, level: boolean): void {
    const { core } = this;
    const before = core.register(hart, "mipLines");
    const bit = 1n << BigInt(line);
    const after = level ? before | bit : before & ~bit;
    if (after === before) return;
    core.setRegister(hart, "mipLines", after);
    // Another hart's line may wake it: the turn-taker looks again after this turn.
    if (hart === core.current) core.raiseAttention(ATTENTION.refetch);
  }

  /** Drives a device's interrupt line. */
  deviceLine(irq: number, level: boolean): void {
    if (irq !== 0) this.devices[0]!.behaviour.source!(irq, level);
  }

  /** A device by instance name. Throws ConfigError when there is none. */
  device(name: string): AttachedDevice {
    const found = this.devices.find((device) => device.name === name);
    if (found === undefined) throw new ConfigError(`the machine has no device ${name}`);
    return found;
  }

  /** Writes a CSR of the current hart, between two runs: its read-only bits and rules hold. */
  setCsr(number: number, value: bigint): void {
    const { core } = this;
    core.setControl("runEnd", BigInt(this.icountNow()));
    core.setControl("budget", 0n);
    core.exports.csrWrite(number, value);
  }

  /** Value of a CSR of the current hart, as machine mode reads it; 0 when it cannot be read now. */
  csr(number: number): bigint {
    const { core } = this;
    const privilege = core.word(core.current, "privilege");
    core.setWord(core.current, "privilege", PRIVILEGE.machine);
    core.setControl("runEnd", BigInt(this.icountNow()));
    core.setControl("budget", 0n);
    const value = this.nondeterminism.looking(() => core.exports.csrRead(number, 0));
    core.setControlWord("faultCause", 0);
    core.setWord(core.current, "privilege", privilege);
    return BigInt.asUintN(64, value);
  }

  /** A digest of the whole state: equal digests at equal icounts mean equal machines. */
  digest(): string {
    return machineDigest(this);
  }

  #attach(
    entry: BoardEntry,
    index: number,
    declaration: DeviceDeclaration,
    offset: number,
  ): AttachedDevice {
    const { core } = this;
    const state = declaration.state.view(core.buffer, core.plan.deviceState + offset);
    const env = deviceEnvironment(this, declaration, { ...entry, index });
    const behaviour = declaration.attach(state, env, undefined);
    this.#bus.attach(entry.base, declaration.window, behaviour);
    return { ...entry, index, declaration, stateOffset: offset, behaviour };
  }

  /** Places images and the device tree; watches `tohost`. */
  #load(config: MachineConfig): BootPlan {
    const { core } = this;
    const plan = planBoot({ ...config, ramBytes: config.memoryBytes });
    for (const { gpa, bytes } of plan.placements) {
      assert(this.memory.write(gpa, bytes), "a placement lies in RAM");
    }
    const devices: TreeDevice[] = this.devices.map(({ declaration, base, irq }) => ({
      driver: declaration.name,
      compatible: declaration.compatible,
      window: declaration.window,
      base,
      irq,
    }));
    const tree = buildDeviceTree({
      harts: config.harts,
      ramBytes: config.memoryBytes,
      append: config.append,
      devices,
      rngSeed: this.random.bytes(32),
      ...(plan.initrd ? { initrd: plan.initrd } : {}),
    });
    assert(this.memory.write(plan.deviceTree, tree), "the device tree lies in RAM");
    for (const device of this.devices) device.behaviour.reset?.();
    const { machineVersion, seed } = config;
    if (machineVersion >= IDENTITY_MACHINE_VERSION) {
      this.gate.begin(config.identity ?? guestIdentity(seededIdentity(seed, "")));
    }
    if (plan.tohost !== undefined) this.watchToHost(plan.tohost);
    core.decodedPages.clear();
    this.translator?.clear();
    return plan;
  }
}
