/**
 * A debugger's and observer's hold on one machine, in the machine's own thread and without waiting: what
 * stands below DebugTarget (target.ts), plugins, and replay-only code (S13).
 *
 * Invariants: points, watches and observers change nothing of the machine: its digest at every icount is
 * the one without them; only setRegister and setMemory write. A machine has at most one MachineDebugger.
 * All calls but the observers' are made between two runs.
 */
import { assert } from "../base/assert.ts";
import type { Sought } from "../checkpoint/timeline.ts";
import type { Point } from "../cpu/points.ts";
import type { Machine } from "../machine/machine.ts";
import type { PointStop, StopReason } from "../machine/turns.ts";
import { TRAPS_OBSERVED } from "../memory/control_layout.ts";
import { readMemory, writeMemory } from "./hart_memory.ts";
import { readRegister, writeRegister } from "./hart_registers.ts";
import type { DebugMemoryRange, DebugPoint, DebugRegister } from "./target.ts";
import { Watchpoints, type WatchpointService, type WatchRange } from "./watchpoints.ts";

/** Why a run ended: as the machine says, with watchpoints named. */
export type DebuggerStop =
  | Exclude<StopReason, { readonly kind: "watch" }>
  | {
    readonly kind: "watchpoint";
    readonly hart: number;
    readonly point: DebugPoint;
    /** First virtual address of the point that was accessed. */
    readonly address: bigint;
  };

/** An instruction that is about to be executed. */
export interface Execution {
  /** Hart that is about to execute it. */
  readonly hart: number;
  /** Its virtual address. */
  readonly pc: bigint;
  /** Instructions executed before it. */
  readonly icount: number;
}

/** A trap that is about to be taken; the hart's registers are still those before it. */
export interface TakenTrap {
  /** Hart that takes it. */
  readonly hart: number;
  /** Code of the exception or interrupt, without the top bit. */
  readonly cause: number;
  /** Whether it is an interrupt, not an exception. */
  readonly isInterrupt: boolean;
  /** Address of the instruction that raised it, or before which it interrupts. */
  readonly epc: bigint;
  /** What the trap value register gets. */
  readonly value: bigint;
  /** Mode in which the hart was: 0, 1 or 3. */
  readonly privilege: number;
  /** Instructions executed; the one that raised it included. */
  readonly icount: number;
}

/** An access to watched memory that is about to happen; of one instruction there may be several. */
export interface WatchedAccess {
  /** Hart that executes, or whose turn it is. */
  readonly hart: number;
  readonly kind: "read" | "write";
  /** First virtual address of the range that is accessed. */
  readonly address: bigint;
  readonly gpa: number;
  readonly size: number;
  /** Value about to be written; 0 for reads and devices. */
  readonly value: bigint;
  /** An instruction, the page walker, or a device or the firmware. */
  readonly by: "instruction" | "fetch" | "walk" | "dma";
  /** Instructions executed; the accessing one included. */
  readonly icount: number;
}

/** A range of instructions. */
export interface CodeRange {
  /** First virtual address, even. */
  readonly address: bigint;
  /** Bytes in which the instructions begin; 2 for one. */
  readonly bytes: number;
}

/** Which traps an observer wants. */
export interface TrapFilter {
  /** Whether exceptions are wanted. */
  readonly exceptions: boolean;
  /** Whether interrupts are. */
  readonly interrupts: boolean;
}

/** Ends an observation. */
export type Detach = () => void;

/** Most instructions of all harts while one of them is to execute one, unless told otherwise. */
const STEP_BUDGET = 10_000_000;

function keyOf({ kind, address, size }: DebugPoint): string {
  return `${kind} ${BigInt.asUintN(64, address)} ${kind === "execute" ? "" : size}`;
}

/** What breakpoints and watchpoints do when they are hit: stop the machine, nothing, or note it. */
export type PointMode = "stop" | "pass" | PointNote;

/** The last hit of points that were to be noted. */
export class PointNote {
  /** Hits so far. */
  count = 0;
  hart = 0;
  /** Instructions that were executed before the machine was switched on. */
  before = 0;
  /** Instructions executed: before a breakpoint's; a watchpoint's that accessed included. */
  icount = 0;
  /** A breakpoint or watchpoint that was hit there. */
  point: DebugPoint | undefined;
  address = 0n;
  #isWatchpoint = false;

  /** Notes a hit; of an instruction's accesses the first. */
  hit(point: DebugPoint, address: bigint, { machine }: MachineDebugger): void {
    const icount = this.before + machine.icountNow();
    if (this.icount === icount && this.#isWatchpoint && point.kind !== "execute") return;
    this.#isWatchpoint = point.kind !== "execute";
    this.count++;
    this.hart = machine.hart;
    this.icount = icount;
    this.point = point;
    this.address = address;
  }
}

/** A breakpoint or watchpoint, and the address space that it belongs to. */
export interface PlacedPoint {
  readonly point: DebugPoint;
  readonly space: bigint;
}

/** Looks at one machine and stops it. */
export class MachineDebugger {
  readonly #watchpoints: Watchpoints;
  /** How to take points away, by what they are. */
  readonly #points = new Map<string, PlacedPoint & { readonly remove: Detach }>();
  readonly #observers = new Set<Detach>();
  readonly #traps = new Map<(trap: TakenTrap) => void, TrapFilter>();
  #mode: PointMode = "stop";
  #hit: { readonly point: DebugPoint; readonly address: bigint } | undefined;

  constructor(readonly machine: Machine) {
    this.#watchpoints = new Watchpoints(machine);
    machine.core.trapObserver = (cause, isInterrupt, value) =>
      this.#tellTrap(cause, isInterrupt, value);
  }

  /** Values of registers, in the order asked; undefined for one that does not exist. */
  registers(hart: number, wanted: readonly DebugRegister[]): (bigint | undefined)[] {
    this.#checkHart(hart);
    return wanted.map((register) => readRegister(this.machine, hart, register));
  }

  /** Writes a register. Throws HostError when there is none, or it cannot have the value. */
  setRegister(hart: number, register: DebugRegister, value: bigint): void {
    this.#checkHart(hart);
    writeRegister(this.machine, hart, register, value);
  }

  /** Bytes at a virtual address as a hart sees it, up to the first that is not in mapped RAM. */
  memory(hart: number, address: bigint, length: number): Uint8Array<ArrayBuffer> {
    this.#checkHart(hart);
    return readMemory(this.machine, hart, address, length);
  }

  /** Writes at a virtual address, whole or not at all. Throws HostError where no RAM is mapped. */
  setMemory(hart: number, address: bigint, bytes: Uint8Array): void {
    this.#checkHart(hart);
    writeMemory(this.machine, hart, address, bytes);
  }

  /** The physical memory map, in ascending order. */
  memoryMap(): readonly DebugMemoryRange[] {
    const { devices, core: { plan } } = this.machine;
    const ranges = devices.map(({ base, declaration }): DebugMemoryRange => ({
      kind: "device",
      start: base,
      bytes: declaration.window,
    }));
    ranges.push({ kind: "ram", start: plan.ramStart, bytes: plan.ramBytes });
    return ranges.sort((a, b) => a.start - b.start);
  }

  /**
   * Adds a breakpoint or watchpoint; one that is there already is no error. Throws ConfigError for an
   * address or a size that cannot be.
   * @param space what a watchpoint's address is translated by; the current hart's satp unless given
   */
  addPoint(point: DebugPoint, space: bigint = this.#watchpoints.space): void {
    const key = keyOf(point);
    if (this.#points.has(key)) return;
    const { kind, address, size } = point;
    if (kind === "execute") {
      const remove = this.#addCode({ address, bytes: 2 }, () => {
        const mode = this.#mode;
        if (mode instanceof PointNote) mode.hit(point, point.address, this);
        return mode === "stop";
      });
      this.#points.set(key, { point, space, remove });
      return;
    }
    const remove = this.#watchpoints.add({ kind, address, size }, (access, at) => {
      const mode = this.#mode;
      if (mode instanceof PointNote) mode.hit(point, at, this);
      if (mode !== "stop") return;
      this.#hit ??= { point, address: at };
      this.machine.stopAfter({ kind: "watch", hart: this.machine.hart, access });
    }, space);
    this.#points.set(key, { point, space, remove });
  }

  /** The breakpoints and watchpoints. */
  get points(): PlacedPoint[] {
    return [...this.#points.values()].map(({ point, space }) => ({ point, space }));
  }

  /** Takes a breakpoint or watchpoint away; one that is not there is no error. */
  removePoint(point: DebugPoint): void {
    const key = keyOf(point);
    this.#points.get(key)?.remove();
    this.#points.delete(key);
  }

  /**
   * Runs at most `budget` instructions. A stop at a breakpoint or a marker comes before its instruction,
   * which a run or step that follows executes without stopping there again; a watchpoint's comes behind
   * the instruction that accessed.
   */
  run(budget: number): DebuggerStop {
    this.#watchpoints.look();
    return this.#named(this.machine.run(budget));
  }

  /**
   * Lets a hart execute one instruction, whatever is set on it; other harts run before it as turns have it.
   * Gives "step" when it did; "budget" when it had no turn in so many instructions.
   */
  step(hart: number, budget = STEP_BUDGET): DebuggerStop {
    this.#checkHart(hart);
    this.#watchpoints.look();
    return this.#named(this.machine.step(hart, budget));
  }

  /** What breakpoints and watchpoints wait for, for who looks for it in the past of now. */
  sought(): Sought {
    this.#watchpoints.look();
    const points = [...this.#points.values()].map(({ point }) => point);
    const code = points.filter(({ kind }) => kind === "execute").map(({ address }) => address);
    const reads = points.some(({ kind }) => kind === "read" || kind === "access");
    return { code, pages: reads ? undefined : this.#watchpoints.pages };
  }

  /** Says what breakpoints and watchpoints do when they are hit; observers are told all the same. */
  pointsDo(mode: PointMode): void {
    this.#mode = mode;
  }

  /** Whether markers of replay-only code stop the machine. */
  stopAtMarkers(stops: boolean): void {
    this.machine.core.setControlWord("markers", stops ? 1 : 0);
  }

  /** Whether interrupts are held back; harts that wait for one wake all the same. */
  holdInterrupts(held: boolean): void {
    this.machine.core.setControlWord("holdInterrupts", held ? 1 : 0);
  }

  /**
   * Tells of each instruction that is executed in a range, before it is; `true` ends the run there, as a
   * breakpoint does. Throws ConfigError.
   */
  onExecute(range: CodeRange, tell: (execution: Execution) => unknown): Detach {
    const { machine } = this;
    return this.#observer(this.#addCode(range, (low, high) => {
      const pc = BigInt(high >>> 0) << 32n | BigInt(low >>> 0);
      return tell({ hart: machine.core.current, pc, icount: machine.icountNow() }) === true;
    }));
  }

  /** Tells of traps. Calls of the built-in firmware are none. */
  onTrap(filter: TrapFilter, tell: (trap: TakenTrap) => void): Detach {
    const own = (trap: TakenTrap) => tell(trap);
    this.#traps.set(own, filter);
    this.#setTrapsObserved();
    return this.#observer(() => {
      this.#traps.delete(own);
      this.#setTrapsObserved();
    });
  }

  /**
   * Tells of accesses to a range, without stopping. Throws ConfigError.
   * @param space as addressSpace gives it; 0: addresses are physical; the current one if not given
   */
  onWatch(range: WatchRange, tell: (access: WatchedAccess) => void, space?: bigint): Detach {
    const { machine } = this;
    const service: WatchpointService = ({ kind, gpa, size, value, by }, address) => {
      const icount = machine.icountNow();
      tell({ hart: machine.hart, kind, address, gpa, size, value, by, icount });
    };
    return this.#observer(this.#watchpoints.add(range, service, space));
  }

  /** The machine's state was replaced, by a checkpoint for example: where it stopped before is void. */
  restored(): void {
    this.#hit = undefined;
    this.machine.forgetStops();
  }

  /** Takes all points and observers away, and lets markers and interrupts be as usual. */
  detach(): void {
    for (const { remove } of this.#points.values()) remove();
    this.#points.clear();
    for (const detach of [...this.#observers]) detach();
    this.stopAtMarkers(false);
    this.holdInterrupts(false);
    this.restored();
  }

  #addCode({ address, bytes }: CodeRange, service: Point["service"]): Detach {
    const { points } = this.machine.core;
    const point = points.add(address, bytes, service);
    return () => points.remove(point);
  }

  #observer(detach: Detach): Detach {
    const once = () => {
      if (this.#observers.delete(once)) detach();
    };
    this.#observers.add(once);
    return once;
  }

  #tellTrap(cause: number, isInterrupt: boolean, value: bigint): void {
    const { machine } = this;
    const { core } = machine;
    const hart = core.current;
    const trap: TakenTrap = {
      hart,
      cause,
      isInterrupt,
      epc: core.register(hart, "pc"),
      value,
      privilege: core.word(hart, "privilege"),
      icount: machine.icountNow(),
    };
    for (const [tell, { exceptions, interrupts }] of this.#traps) {
      if (isInterrupt ? interrupts : exceptions) tell(trap);
    }
  }

  #setTrapsObserved(): void {
    const filters = [...this.#traps.values()];
    const exceptions = filters.some((filter) => filter.exceptions) ? TRAPS_OBSERVED.exceptions : 0;
    const interrupts = filters.some((filter) => filter.interrupts) ? TRAPS_OBSERVED.interrupts : 0;
    this.machine.core.setControlWord("observedTraps", exceptions | interrupts);
  }

  #named(stop: StopReason): DebuggerStop {
    if (stop.kind !== "watch") return stop;
    return this.#watchpointStop(stop);
  }

  #watchpointStop({ hart }: PointStop & { readonly kind: "watch" }): DebuggerStop {
    const hit = this.#hit;
    assert(hit !== undefined, "only watchpoints of this debugger stop the machine");
    this.#hit = undefined;
    return { kind: "watchpoint", hart, ...hit };
  }

  #checkHart(hart: number): void {
    const { harts } = this.machine.config;
    assert(Number.isInteger(hart) && hart >= 0 && hart < harts, `there is no hart ${hart}`);
  }
}
