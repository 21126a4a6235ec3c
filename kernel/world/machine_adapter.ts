/**
 * The machine as its VM world drives it: Machine (kernel/machine) behind MachinePort. It translates
 * names and shapes, decides nothing.
 */
import { unreachable } from "../base/assert.ts";
import { REPORTED_CSRS } from "../cpu/csr_names.ts";
import type { DeviceRegistry } from "../driver/mod.ts";
import { touchedBytes } from "../machine/digest.ts";
import type { VmEvent } from "../machine/event.ts";
import { guestIdentity } from "../machine/identity.ts";
import { readImage } from "../machine/image.ts";
import { Machine } from "../machine/machine.ts";
import type { MachineCode } from "../machine/machine_code.ts";
import type { RemoteCompiler } from "./remote_compiler.ts";
import { PRIVILEGE } from "../memory/hart_layout.ts";
import type { Recorder } from "../replay/recorder.ts";
import {
  type HartReport,
  type MachineConfig,
  type MachineOutput,
  type MachinePort,
  type MachineStats,
  type MachineSurroundings,
  type StopReason,
  tierOf,
} from "./machine_port.ts";

/** Makes a machine with a registry's devices. Rejects with FormatError or ConfigError. */
export async function createMachine(
  config: MachineConfig,
  registry: DeviceRegistry,
  { core, compiler: port, host, restored }: MachineSurroundings = {},
): Promise<MachinePort> {
  let compiler: RemoteCompiler | undefined;
  const tier = tierOf(config);
  const makesRegions = tier !== "interpreter" && port === undefined;
  const code = core === undefined || makesRegions ? await ownCode(core) : coreOnly(core);
  const { bios, kernel, initrd } = config;
  const machine = new Machine({
    machineVersion: config.machineVersion,
    memoryBytes: config.memoryBytes,
    harts: config.harts,
    append: config.append,
    disks: config.disks,
    clock: config.clock,
    ...(host === undefined ? {} : { host }),
    ...(restored === undefined ? {} : { restored }),
    seed: BigInt(config.seed),
    ...(config.tlbEntries === undefined ? {} : { tlbEntries: config.tlbEntries }),
    ...(config.cacheElements === undefined ? {} : { cacheElements: config.cacheElements }),
    ...config.marksExecution && { marksExecution: true },
    tier,
    code,
    ...config.identity && { identity: guestIdentity(config.identity) },
    wallStart: config.startWallNanoseconds,
    bios: typeof bios === "string" ? bios : await readImage(bios),
    ...(kernel ? { kernel: await readImage(kernel) } : {}),
    ...(initrd ? { initrd } : {}),
    ...(port === undefined ? {} : {
      compiler: {
        keeps: port.keeps,
        begin: (plan) => compiler = port.begin(plan),
      },
    }),
  }, registry);
  const trace = config.trace ? (await import("../machine/trace.ts")).traceLine : undefined;
  return new MachineAdapter(machine, trace, compiler);
}

/** Code for a machine that only needs its core. */
function coreOnly(core: WebAssembly.Module): MachineCode {
  const needless = () => unreachable("this machine's regions are made elsewhere");
  return { core: () => core, regions: needless, checker: needless };
}

/** Loads what makes code; a core that is there already is not made again. */
async function ownCode(core: WebAssembly.Module | undefined): Promise<MachineCode> {
  const { OWN_CODE } = await import("../machine/own_code.ts");
  return core === undefined ? OWN_CODE : { ...OWN_CODE, core: () => core };
}

const PRIVILEGE_NAMES: Readonly<Record<number, string>> = {
  [PRIVILEGE.user]: "U",
  [PRIVILEGE.supervisor]: "S",
  [PRIVILEGE.machine]: "M",
};
/** Names of the counters of fills by level: no translation, then the sizes of pages. */
const FILL_LEVELS = ["bare", "4KiB", "2MiB", "1GiB", "512GiB", "256TiB"];

class MachineAdapter implements MachinePort {
  #wakeTicks = 0;
  drive: MachinePort["drive"];
  #trace: Uint8Array[] = [];
  #recorder: Recorder | undefined;

  constructor(
    readonly machine: Machine,
    private readonly traceLine: ((machine: Machine) => string) | undefined,
    private readonly compiler: RemoteCompiler | undefined,
  ) {}

  get harts(): number {
    return this.machine.config.harts;
  }

  get icount(): number {
    return this.machine.icount;
  }

  get ticks(): number {
    return this.machine.ticks();
  }

  run(budget: number): StopReason {
    if (this.traceLine) this.#runTraced(budget, this.traceLine);
    const granted = this.traceLine ? 0 : budget;
    const stop = this.drive === undefined ? this.machine.run(granted) : this.drive(granted);
    switch (stop.kind) {
      case "output":
        return { kind: "budget" };
      case "await":
        return { kind: "await", what: "disk" };
      case "off":
        return { kind: "halted", code: stop.code, why: "power-off" };
      case "reset":
        return { kind: "halted", code: 0, why: "reset" };
      case "idle":
        this.#wakeTicks = stop.wakeTicks;
        return stop.wakeTicks === Infinity
          ? { kind: "idle" }
          : { kind: "idle", wakeTicks: stop.wakeTicks };
      case "budget":
        return stop;
      case "breakpoint":
      case "watch":
      case "marker":
      case "step":
        return unreachable(`nobody set what stopped at a ${stop.kind}`);
    }
  }

  offer(event: VmEvent): number {
    return this.machine.gate.deliver(event);
  }

  takeOutputs(): MachineOutput[] {
    const trace = this.#trace.map((bytes) => ({ kind: "trace" as const, bytes }));
    this.#trace = [];
    const taken = this.machine.takeOutputs();
    this.#recorder?.sent(taken);
    const outputs = taken.map((output): MachineOutput => {
      switch (output.kind) {
        case "bytes":
          return { ...output, kind: "console" };
        case "disk":
          return { kind: "disk", device: `disk${output.disk}`, request: output.request };
        case "frame":
          return output;
      }
    });
    return [...trace, ...outputs];
  }

  record(recorder: Recorder): void {
    this.#recorder = recorder;
  }

  recordAgain(recorder: Recorder, wallStart: bigint): void {
    recorder.reset(this.machine, wallStart);
    this.#recorder = recorder;
  }

  stopRecording(): void {
    this.#recorder = undefined;
  }

  skipIdle(): void {
    this.machine.skipTo(this.#wakeTicks);
  }

  anchor(ticks: number): void {
    this.machine.gate.follow(ticks);
  }

  hart(index: number): HartReport {
    const { core } = this.machine;
    const current = core.current;
    core.switchTo(index);
    const csrs: Record<string, bigint> = {};
    for (const [number, name] of REPORTED_CSRS) csrs[name] = this.machine.csr(number);
    core.switchTo(current);
    const registers = (file: "x" | "f") =>
      Array.from({ length: 32 }, (_, i) => core.register(index, file, i));
    return {
      hart: index,
      pc: core.register(index, "pc"),
      privilege: PRIVILEGE_NAMES[core.word(index, "privilege")] ?? "?",
      waiting: core.word(index, "waiting") !== 0,
      x: registers("x"),
      f: registers("f"),
      csrs,
    };
  }

  stats(): MachineStats {
    const { core, devices, icount } = this.machine;
    const number = (field: Parameters<typeof core.control>[0], index = 0) =>
      Number(core.control(field, index));
    const byCause = (field: "statExceptions" | "statInterrupts") =>
      Object.fromEntries(
        Array.from({ length: 64 }, (_, cause) => [cause, number(field, cause)] as const)
          .filter(([, count]) => count > 0),
      );
    const inRegions = number("statRegionInstructions");
    return {
      instructions: icount,
      tiers: { interpreter: icount - inRegions, translator: inRegions },
      translator: { ...this.machine.translator?.statistics, entries: number("statRegionEntries") },
      tlbFills: {
        read: number("statFillsRead"),
        write: number("statFillsWrite"),
        fetch: number("statFillsFetch"),
        ...Object.fromEntries(
          FILL_LEVELS.map((level, index) => [level, number("statFillsByLevel", index)]),
        ),
      },
      memory: {
        elementSwitches: number("statElementSwitches"),
        elementHits: number("statElementHits"),
        elementEvictions: number("statElementEvictions"),
        walks: number("statWalks"),
        flushes: number("statFlushes"),
        trackedPages: core.controlWord("tablePages"),
        pagesTracked: number("statTablesTracked"),
        pagesEnded: number("statTablesEnded"),
        usedEdits: number("statEntryDrops"),
        unusedEdits: number("statUnusedEdits"),
        falseDrops: number("statFalseDrops"),
        dependentsDropped: number("statDependentsDropped"),
        rangeDrops: number("statRangeDrops"),
        jumpDrops: number("statJumpDrops"),
      },
      traces: {
        ...this.machine.core.flags.hits(),
        table: number("statTableWrites"),
        code: number("statCodeWrites"),
      },
      traps: byCause("statExceptions"),
      interrupts: byCause("statInterrupts"),
      nondeterminism: {
        entries: number("statNondetEntries"),
        full: number("statNondetFull"),
        refills: number("statNondetRefills"),
        flushes: number("statNondetFlushes"),
      },
      devices: Object.fromEntries(
        devices.map((device) => [device.name, device.behaviour.counters?.() ?? {}]),
      ),
    };
  }

  arrival(): Promise<void> | undefined {
    return this.compiler?.arrival;
  }

  digest(): string {
    return this.machine.digest();
  }

  touchedBytes(): number {
    return touchedBytes(this.machine);
  }

  memoryTree(): string {
    const { devices, core } = this.machine;
    const line = (base: number, bytes: number, name: string) =>
      `${base.toString(16).padStart(10, "0")}-${
        (base + bytes - 1).toString(16).padStart(10, "0")
      }  ${name}`;
    const lines = devices.map(({ base, name, declaration, irq }) => ({
      base,
      text: line(
        base,
        declaration.window,
        `${name} (${declaration.name}${irq === 0 ? "" : `, irq ${irq}`})`,
      ),
    }));
    lines.push({
      base: core.plan.ramStart,
      text: line(core.plan.ramStart, core.plan.ramBytes, "ram"),
    });
    return lines.sort((a, b) => a.base - b.base).map(({ text }) => text).join("\n");
  }

  /** One instruction at a time, each with a line of text. Slow, and changes nothing else. */
  #runTraced(budget: number, traceLine: (machine: Machine) => string): void {
    const lines: string[] = [];
    for (let i = 0; i < budget; i++) {
      const line = traceLine(this.machine);
      const before = this.machine.icount;
      const stop = this.machine.run(1);
      if (this.machine.icount !== before) lines.push(line);
      if (stop.kind !== "budget") break;
    }
    if (lines.length > 0) this.#trace.push(new TextEncoder().encode(`${lines.join("\n")}\n`));
  }
}
