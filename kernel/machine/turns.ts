/**
 * The only interleaving: which hart runs next and for how many instructions. Harts of one machine take
 * turns of a fixed number of instructions; a run is cut wherever something is due, so that every event
 * happens at an exact icount (design.md, "Worlds"; X4).
 *
 * Invariant: where turns begin and end depends on machine state alone, never on the budgets that the
 * caller grants.
 */
import { assert } from "../base/assert.ts";
import { INTERRUPT, MENVCFG_STCE } from "../memory/hart_layout.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { RUN_END } from "../cpu/run_end.ts";
import type { Marker } from "../cpu/isa/marker.ts";
import type { TracedAccess } from "../memory/page_flags.ts";
import type { Machine } from "./machine.ts";
import { PHASE } from "./machine_state.ts";
import { sbiCall } from "./sbi.ts";
import { HART_STATE } from "./sbi.ts";
import { firmwareHost } from "./firmware_host.ts";

/** Why `run` came back. */
export type StopReason =
  /** The budget is used. */
  | { readonly kind: "budget" }
  /** Every hart waits. `wakeTicks` is the guest time of the next timer, Infinity when only input helps. */
  | { readonly kind: "idle"; readonly wakeTicks: number }
  /** A disk request is due whose result the host has not delivered. */
  | { readonly kind: "await" }
  /** There is output that should leave soon: a disk request. */
  | { readonly kind: "output" }
  | { readonly kind: "off"; readonly code: number }
  | { readonly kind: "reset" }
  | PointStop;

/** Why `run` came back to one that has set points, watches or markers; nobody else sees these. */
export type PointStop =
  /** Before an instruction at which a point wants to stop. */
  | { readonly kind: "breakpoint"; readonly hart: number; readonly pc: bigint }
  /** Behind an instruction, or an event, that accessed watched memory; `stopAfter` says how. */
  | { readonly kind: "watch"; readonly hart: number; readonly access: TracedAccess }
  /** Before a marker of replay-only code, with the control word `markers` not zero. */
  | { readonly kind: "marker"; readonly hart: number; readonly pc: bigint; readonly marker: Marker }
  /** The one instruction of `step` was executed. */
  | { readonly kind: "step" };

/** Instructions of one turn. */
const TURN_INSTRUCTIONS = 20_000;
const STI_BIT = INTERRUPT.STI;

/** Runs the harts of one machine. */
export class Turns {
  /** Whether generated code is running right now. */
  running = false;
  readonly #firmware;
  /** Whether the last run ended before an instruction that it had come to: the next instruction's hart and interrupt are chosen. */
  #midway = false;
  /** A stop that is wanted behind the instruction under way. */
  #wanted: PointStop | undefined;
  /** Told when another hart is chosen; -1: all wait. */
  observer: ((hart: number) => void) | undefined;
  #chosen = -1;

  constructor(private readonly machine: Machine) {
    this.#firmware = firmwareHost(machine);
  }

  /**
   * Runs at most `budget` instructions. Throws what the port of the nondeterminism buffer throws.
   * @param stepped a hart: the run ends behind the first instruction that it executes
   */
  run(budget: number, stepped = -1): StopReason {
    assert(Number.isSafeInteger(budget) && budget >= 0);
    const { machine } = this;
    const { state } = machine;
    const end = state.icount + budget;
    for (;;) {
      if (this.#wanted !== undefined) return this.#takeWanted();
      if (state.phase === PHASE.off) return { kind: "off", code: state.exitCode };
      if (state.phase === PHASE.reset) return { kind: "reset" };
      const due = this.#deliverDue();
      if (this.#wanted !== undefined) return this.#takeWanted();
      if (due === undefined) return { kind: "await" };
      if (state.icount >= end) return { kind: "budget" };
      const hart = this.#choose();
      if (hart !== this.#chosen) {
        this.#chosen = hart;
        this.observer?.(hart);
        if (this.#wanted !== undefined) return this.#takeWanted();
      }
      if (hart < 0) {
        return machine.outputs.waiting ? { kind: "output" } : { kind: "idle", wakeTicks: due };
      }
      const deadline = Math.min(machine.clock.icountAt(due), machine.clock.nextAnchor);
      const most = Math.min(end, deadline) - state.icount;
      const before = state.icount;
      const granted = hart === stepped ? 1 : Math.max(1, this.#withinTurn(most));
      const ended = this.#execute(hart, granted);
      if (ended === RUN_END.point || ended === RUN_END.marker) return this.#pointStop(hart, ended);
      if (hart === stepped && state.icount > before && this.#wanted === undefined) {
        return { kind: "step" };
      }
      if (ended === RUN_END.attention && machine.outputs.waiting) return { kind: "output" };
    }
  }

  /** Ends the run under way behind its instruction, or the next one at once; the first wish counts. */
  stopAfter(stop: PointStop): void {
    this.#wanted ??= stop;
    this.machine.core.raiseAttention(ATTENTION.stop | ATTENTION.behind);
  }

  /** Forgets where a run ended, and a stop that is wanted: after the machine's state was replaced. */
  forgetStop(): void {
    this.#wanted = undefined;
    this.#midway = false;
  }

  #takeWanted(): PointStop {
    const stop = this.#wanted!;
    this.#wanted = undefined;
    return stop;
  }

  #pointStop(hart: number, ended: number): PointStop {
    const { core } = this.machine;
    const pc = core.register(hart, "pc");
    if (ended === RUN_END.point) return { kind: "breakpoint", hart, pc };
    return { kind: "marker", hart, pc, marker: core.points.marker };
  }

  /**
   * Lets all that is due now happen; false when it waits for a disk result that is not there yet, and where
   * a point or a marker ended the run: an event there would have no place that its stamp tells.
   */
  settle(): boolean {
    return !this.#midway && this.#deliverDue() !== undefined;
  }

  /** Skips idle time: guest time becomes `ticks` at once. For the virtual clock. */
  skipTo(ticks: number): void {
    const { machine } = this;
    if (ticks > machine.ticks()) machine.clock.anchor(machine.state.icount, ticks);
  }

  /** Delivers what is due now and gives the guest time of the next deadline; undefined: wait. */
  #deliverDue(): number | undefined {
    const { machine } = this;
    const { state, clock, core } = machine;
    // Of icount alone: what a hart has read under an exact clock may be ahead, but makes nothing due.
    const now = clock.ticksAt(state.icount);
    if (state.icount >= clock.nextAnchor) clock.anchor(state.icount, now);
    let next = Infinity;
    if (machine.config.clock === "virtual" && machine.config.disks.length > 0) {
      if (!machine.gate.deliverDueDisks(now)) return undefined;
      next = machine.nextDiskDue();
    }
    for (const device of machine.devices) {
      if (state.deviceTimer[device.index]! <= now) {
        state.deviceTimer[device.index] = Infinity;
        device.behaviour.tick?.();
      }
      next = Math.min(next, state.deviceTimer[device.index]!);
    }
    for (let hart = 0; hart < machine.config.harts; hart++) {
      if ((core.register(hart, "menvcfg") & MENVCFG_STCE) === 0n) continue;
      const compare = Number(core.register(hart, "stimecmp"));
      machine.hartLine(hart, STI_BIT, compare <= now);
      if (compare > now) next = Math.min(next, compare);
    }
    return next;
  }

  /** The hart whose turn it is, or the next one that can run; -1 when all wait. */
  #choose(): number {
    const { machine } = this;
    const { state } = machine;
    const harts = machine.config.harts;
    if (state.turnLeft > 0 && this.#canRun(state.turn)) return state.turn;
    for (let i = 1; i <= harts; i++) {
      const hart = (state.turn + i) % harts;
      if (!this.#canRun(hart)) continue;
      state.turn = hart;
      state.turnLeft = TURN_INSTRUCTIONS;
      return hart;
    }
    return -1;
  }

  /** A lone hart has all turns. */
  #withinTurn(instructions: number): number {
    const { config, state } = this.machine;
    return config.harts > 1 ? Math.min(instructions, state.turnLeft) : instructions;
  }

  #canRun(hart: number): boolean {
    const { core, state } = this.machine;
    if (state.hartState[hart] === HART_STATE.stopped) return false;
    if (core.word(hart, "waiting") === 0) return true;
    const pending = core.register(hart, "mipLines") | core.register(hart, "mipSoftware");
    if ((pending & core.register(hart, "mie")) === 0n) return false;
    core.setWord(hart, "waiting", 0);
    state.hartState[hart] = HART_STATE.started;
    return true;
  }

  /** Runs one hart; gives one of RUN_END. */
  #execute(hart: number, budget: number): number {
    const { core, state } = this.machine;
    core.switchTo(hart);
    core.setControl("runEnd", BigInt(state.icount + budget));
    core.setControl("budget", BigInt(budget));
    core.setRegister(hart, "executed", core.register(hart, "executed") + BigInt(budget));
    // All that it asks for was looked at just now: a run that is left at once would depend on budgets.
    core.dropAttention(ATTENTION.stop);
    this.running = true;
    let end: number;
    try {
      end = core.exports.run();
    } finally {
      this.running = false;
    }
    this.machine.translator?.work();
    const left = Number(core.control("budget"));
    core.setRegister(hart, "executed", core.register(hart, "executed") - BigInt(left));
    state.icount += budget - left;
    if (this.machine.config.harts > 1) {
      state.turnLeft = Math.max(0, state.turnLeft - (budget - left));
    }
    if (end === RUN_END.firmware) this.#callFirmware(hart);
    const { point, marker, abandoned } = RUN_END;
    this.#midway = end === point || end === marker || end === abandoned;
    if (end === abandoned) this.machine.nondeterminism.throwFailure();
    return end;
  }

  #callFirmware(hart: number): void {
    const { core } = this.machine;
    const { error, value, legacy, resumesElsewhere } = sbiCall(this.#firmware);
    if (resumesElsewhere === true) return;
    core.setRegister(hart, "x", BigInt.asUintN(64, BigInt(error)), 10);
    if (legacy !== true) core.setRegister(hart, "x", value, 11);
    core.setRegister(hart, "pc", core.register(hart, "pc") + 4n);
  }
}
