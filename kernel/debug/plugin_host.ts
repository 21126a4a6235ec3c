/**
 * Runs the plugins of one replay: their hooks as observers of the machine that the replay has now, and runs
 * that end where a plugin wants to look or to stop (plugin.ts).
 *
 * Invariants: plugins change nothing of the machine, and where runs end depends on the recording alone, so
 * that what plugins are told does too; nothing that a plugin throws passes through generated code; once a
 * plugin has stopped the replay or failed, no hook but `onEnd` is called any more.
 */
import { assert } from "../base/assert.ts";
import type { Stamp, VmEvent } from "../machine/event.ts";
import type { MachineOutput } from "../machine/outputs.ts";
import type { StopReason } from "../machine/turns.ts";
import { accessingPc } from "./accessing_pc.ts";
import type { MachineDebugger, WatchedAccess } from "./machine_debugger.ts";
import type { ReplayAccess, ReplayEnding, ReplayPlugin, ReplayWatch } from "./plugin.ts";
import { PluginReplay } from "./plugin_replay.ts";
import { PluginView, type ViewedMachine } from "./plugin_view.ts";
import type { GuestSymbol } from "./symbol_table.ts";

/** A plugin that was loaded, and what it was given. */
export interface LoadedPlugin {
  readonly plugin: ReplayPlugin;
  readonly options: Readonly<Record<string, string>>;
}

/** How plugins ended a replay. */
export type PluginStop =
  | {
    readonly kind: "stopped";
    readonly plugin: string;
    readonly reason: string;
    readonly status: number;
  }
  | {
    readonly kind: "plugin failed";
    readonly plugin: string;
    /** The hook that threw. */
    readonly hook: string;
    readonly what: string;
  };

/** What the owner gives. */
export interface PluginSurroundings {
  readonly symbols: readonly GuestSymbol[] | undefined;
  /** Takes what plugins print. */
  readonly print: (text: string) => void;
}

/** Hooks that are called from elsewhere than the machine's observers. */
export interface Told {
  turn: { readonly hart: number };
  wait: undefined;
  event: VmEvent;
  epoch: undefined;
  /** With its stamp's icount since the recording began. */
  output: { readonly output: MachineOutput; readonly stamp: Stamp };
  reset: undefined;
  end: ReplayEnding;
}

/** What one hook hangs on. */
export interface Hook {
  /** Observes a machine, between two runs. */
  attach(inspector: MachineDebugger): void;
  detach(): void;
}

interface Sampler {
  readonly instructions: number;
  readonly tell: () => void;
  next: number;
}

/** An access whose instruction is not over yet. */
interface Pending {
  readonly access: WatchedAccess;
  readonly icount: number;
  readonly before: Uint8Array;
  readonly range: ReplayWatch;
  readonly tell: (access: ReplayAccess) => void;
}

/** Ends a run for this file's own ends. */
const WAKE = { kind: "step" } as const;

/** The plugins of one replay. */
export class PluginHost {
  readonly view: PluginView;
  readonly #print: (text: string) => void;
  readonly #hooks = new Set<Hook>();
  readonly #told = new Map<keyof Told, Set<(what: never) => void>>();
  readonly #samplers = new Set<Sampler>();
  readonly #between: (() => void)[] = [];
  #pending: Pending[] = [];
  #inspector: MachineDebugger | undefined;
  #viewed: ViewedMachine | undefined;
  #running = false;
  #muted = false;
  /** Whether the run under way is to end. */
  #woken = false;
  #lastTurn = -1;
  #stop: PluginStop | undefined;

  constructor({ symbols, print }: PluginSurroundings) {
    this.#print = print;
    this.view = new PluginView(() => {
      assert(this.#viewed !== undefined, "plugins start when there is a machine");
      return this.#viewed;
    }, symbols);
  }

  /** Whether the run under way is to end as soon as it can. */
  get woken(): boolean {
    return this.#woken;
  }

  /** How a plugin ended the replay, if one did. */
  get stop(): PluginStop | undefined {
    return this.#stop;
  }

  /** The machine that the replay has from now on, after so many instructions of others; between two runs. */
  moveTo(inspector: MachineDebugger, before: number): void {
    const { machine } = inspector;
    const isFirst = this.#viewed === undefined;
    this.#tellAccesses();
    this.#inspector = inspector;
    this.#viewed = { machine, before };
    this.#lastTurn = -1;
    for (const hook of this.#hooks) hook.attach(inspector);
    machine.observeTurns((hart) => this.#turned(hart));
    machine.gate.observer = (event) => this.#copied("event", event);
    if (!isFirst) this.tell("reset", undefined);
  }

  /** Starts plugins, in order, on the first machine. */
  start(plugins: readonly LoadedPlugin[]): void {
    for (const { plugin, options } of plugins) {
      const replay = new PluginReplay(this, plugin.name);
      this.guard(plugin.name, "start", () => plugin.start(replay, options), undefined);
    }
  }

  /** Runs the machine, at most so many instructions; undefined: a plugin ended the replay. */
  run(budget: number): StopReason | undefined {
    const inspector = this.#inspector!;
    const { machine } = inspector;
    const end = machine.icount + budget;
    for (;;) {
      this.#betweenRuns();
      if (this.#stop !== undefined) return undefined;
      const left = Math.min(end - machine.icount, this.#untilSample());
      const stop = this.#run(inspector, left);
      this.#tellAccesses();
      if (this.#stop !== undefined) return undefined;
      if (stop.kind !== "step" && stop.kind !== "budget" && stop.kind !== "breakpoint") return stop;
      if (machine.icount >= end) {
        this.#betweenRuns();
        return this.#stop === undefined ? { kind: "budget" } : undefined;
      }
    }
  }

  /** Something left the machine, after so many instructions of the recording. */
  sent(output: MachineOutput, icount: number): void {
    const stamp = Object.freeze({ ...output.stamp, icount });
    this.#copied("output", { output, stamp });
  }

  /** Lets the machine do something that plugins are not told of: replay-only code. */
  aside<T>(body: () => T): T {
    this.#muted = true;
    try {
      return body();
    } finally {
      this.#muted = false;
    }
  }

  /** Something of the replay's own happened. */
  tell<K extends keyof Told>(kind: K, what: Told[K]): void {
    if (this.#muted || (this.#stop !== undefined && kind !== "end")) return;
    for (const tell of this.#told.get(kind) ?? []) (tell as (what: Told[K]) => void)(what);
  }

  /** The replay is over. */
  ended(ending: ReplayEnding): void {
    this.#tellAccesses();
    this.tell("end", ending);
  }

  /** Calls what a plugin gave; what it throws ends the replay. */
  guard<A>(plugin: string, hook: string, call: (what: A) => void, what: A): void {
    if (this.#muted) return;
    if (this.#stop !== undefined && hook !== "onEnd") return;
    try {
      call(what);
    } catch (error) {
      this.endBy({ kind: "plugin failed", plugin, hook, what: textOf(error) });
    }
  }

  /** Ends the replay behind the instruction under way. */
  endBy(stop: PluginStop): void {
    if (this.#stop !== undefined) return;
    this.#stop = stop;
    this.#wake();
  }

  print(text: string): void {
    this.#print(text);
  }

  /** Does something between two runs: now, or behind the instruction under way. */
  between(body: () => void): void {
    if (!this.#running) return body();
    this.#between.push(body);
    this.#wake();
  }

  /** Adds a hook on the machine's observers. */
  addHook(hook: Hook): () => void {
    this.#hooks.add(hook);
    this.between(() => {
      if (this.#hooks.has(hook)) hook.attach(this.#inspector!);
    });
    return () => {
      if (this.#hooks.delete(hook)) this.between(() => hook.detach());
    };
  }

  /** Adds a hook on what `tell` is called with. */
  addTold<K extends keyof Told>(kind: K, tell: (what: Told[K]) => void): () => void {
    const listeners = this.#told.get(kind) ?? new Set();
    this.#told.set(kind, listeners.add(tell));
    return () => void listeners.delete(tell);
  }

  /** Adds a hook that is called each so many instructions. */
  addSampler(instructions: number, tell: () => void): () => void {
    const { icount } = this.view;
    const next = (Math.floor(icount / instructions) + 1) * instructions;
    const sampler = { instructions, tell, next };
    this.#samplers.add(sampler);
    // The run under way may be longer than until then.
    this.between(() => {});
    return () => void this.#samplers.delete(sampler);
  }

  /** A watched range is about to be accessed: told behind the instruction. */
  accessed(
    access: WatchedAccess,
    range: Pending["range"],
    tell: (access: ReplayAccess) => void,
  ): void {
    if (this.#muted || this.#stop !== undefined) return;
    const { view } = this;
    const before = this.#held(range, access.hart);
    this.#pending.push({ access, icount: view.icount, before, range, tell });
    this.#wake();
  }

  /** Tells of what somebody else goes on using. */
  #copied<K extends "event" | "output">(kind: K, what: Told[K]): void {
    if ((this.#told.get(kind)?.size ?? 0) > 0) this.tell(kind, structuredClone(what));
  }

  #run(inspector: MachineDebugger, budget: number): StopReason {
    this.#running = true;
    try {
      const stop = inspector.run(budget);
      assert(stop.kind !== "watchpoint", "nobody set one");
      return stop;
    } finally {
      this.#running = this.#woken = false;
    }
  }

  #betweenRuns(): void {
    for (const body of this.#between.splice(0)) body();
    const { icount } = this.view;
    for (const sampler of this.#samplers) {
      if (icount < sampler.next) continue;
      sampler.next = (Math.floor(icount / sampler.instructions) + 1) * sampler.instructions;
      sampler.tell();
    }
  }

  #untilSample(): number {
    const { icount } = this.view;
    let next = Infinity;
    for (const sampler of this.#samplers) next = Math.min(next, sampler.next);
    return next - icount;
  }

  #tellAccesses(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    const { machine } = this.#viewed!;
    for (const { access, icount, before, range, tell } of pending) {
      const { kind, address, hart, by } = access;
      const after = this.#held(range, hart);
      const isSettled = by === "instruction" && machine.icount === access.icount;
      const pc = isSettled ? accessingPc(machine, hart, address) : undefined;
      assert(by !== "fetch", "fetches are not accesses");
      tell(Object.freeze({ kind, address, hart, icount, by, pc, before, after }));
    }
  }

  /** What a watched range holds now. */
  #held({ address, size, physical = false }: ReplayWatch, hart: number): Uint8Array {
    return physical
      ? this.view.physical(Number(address), size)
      : this.view.memory(address, size, hart);
  }

  #turned(hart: number): void {
    if (this.#muted || hart === this.#lastTurn) return;
    this.#lastTurn = hart;
    if (hart < 0) this.tell("wait", undefined);
    else this.tell("turn", Object.freeze({ hart }));
  }

  #wake(): void {
    this.#woken = this.#running;
    this.#viewed?.machine.stopAfter(WAKE);
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
