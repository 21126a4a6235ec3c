/**
 * A replay as one plugin has it (plugin.ts): what it may look at, and its hooks.
 *
 * Invariant: each hook that a plugin gives is called in its guard, so that a failure names the plugin and
 * the hook; what it is called with is frozen or a copy.
 */
import { ConfigError } from "../base/errors.ts";
import type { Stamp } from "../machine/event.ts";
import type {
  CodeRange,
  Detach,
  Execution,
  MachineDebugger,
  TakenTrap,
  TrapFilter,
  WatchedAccess,
} from "./machine_debugger.ts";
import type {
  Replay,
  ReplayAccess,
  ReplayEnding,
  ReplaySymbols,
  ReplaySyscall,
  ReplaySyscallResult,
  ReplayWatch,
} from "./plugin.ts";
import type { Hook, PluginHost, Told } from "./plugin_host.ts";
import { Syscalls } from "./syscalls.ts";

/** Most instructions between two calls of `every`. */
const EVERY_MAXIMUM = Number.MAX_SAFE_INTEGER;

/** A replay in the hands of a plugin. */
export class PluginReplay implements Replay {
  readonly #host: PluginHost;
  readonly #name: string;

  constructor(host: PluginHost, name: string) {
    this.#host = host;
    this.#name = name;
    Object.freeze(this);
  }

  get icount(): number {
    return this.#host.view.icount;
  }

  get ticks(): number {
    return this.#host.view.ticks;
  }

  get wallNanoseconds(): bigint {
    return this.#host.view.wallNanoseconds;
  }

  get harts(): number {
    return this.#host.view.harts;
  }

  get hart(): number {
    return this.#host.view.hart;
  }

  get symbols(): ReplaySymbols {
    return this.#host.view.symbols;
  }

  pc(hart?: number): bigint {
    return this.#host.view.pc(hart);
  }

  x(number: number, hart?: number): bigint {
    return this.#host.view.x(number, hart);
  }

  f(number: number, hart?: number): bigint {
    return this.#host.view.f(number, hart);
  }

  privilege(hart?: number): number {
    return this.#host.view.privilege(hart);
  }

  csr(name: string, hart?: number): bigint {
    return this.#host.view.csr(name, hart);
  }

  memory(address: bigint, length: number, hart?: number): Uint8Array {
    return this.#host.view.memory(address, length, hart);
  }

  physical(address: number, length: number): Uint8Array {
    return this.#host.view.physical(address, length);
  }

  translate(address: bigint, hart?: number): number | undefined {
    return this.#host.view.translate(address, hart);
  }

  integer(address: bigint, bytes: number, hart?: number): bigint | undefined {
    return this.#host.view.integer(address, bytes, hart);
  }

  text(address: bigint, most: number, hart?: number): string | undefined {
    return this.#host.view.text(address, most, hart);
  }

  print(text: string): void {
    this.#host.print(`${text}`);
  }

  stop(reason: string, status = 0): void {
    if (!Number.isInteger(status) || status < 0 || status > 255) {
      throw new ConfigError(`a status is 0 to 255, not ${status}`);
    }
    this.#host.endBy({ kind: "stopped", plugin: this.#name, reason: `${reason}`, status });
  }

  onExecute(range: CodeRange, tell: (execution: Execution) => void): Detach {
    return this.#onCode("onExecute", range, tell);
  }

  onFunction(which: string | bigint, tell: (execution: Execution) => void): Detach {
    const address = typeof which === "bigint" ? which : this.symbols.find(which)?.address;
    if (address === undefined) {
      const why = this.symbols.given ? "no symbol has that name" : "no symbols were given";
      throw new ConfigError(`there is no function "${which}": ${why}`);
    }
    return this.#onCode("onFunction", { address, bytes: 2 }, tell);
  }

  onWatch(range: ReplayWatch, tell: (access: ReplayAccess) => void): Detach {
    const own = Object.freeze({ ...range });
    const told = this.#guarded("onWatch", tell);
    return this.#observing((inspector) => {
      const service = (access: WatchedAccess) => this.#host.accessed(access, own, told);
      return inspector.onWatch(own, service, own.physical ? 0n : undefined);
    });
  }

  onTrap(filter: TrapFilter, tell: (trap: TakenTrap) => void): Detach {
    const own = Object.freeze({ ...filter });
    const told = this.#guarded("onTrap", tell);
    return this.#observing((inspector) =>
      inspector.onTrap(own, (trap) => told(Object.freeze({ ...trap, icount: this.icount })))
    );
  }

  onSyscall(
    tell: (call: ReplaySyscall) => void,
    told?: (result: ReplaySyscallResult) => void,
  ): Detach {
    const host = this.#host;
    const listener = {
      called: this.#guarded("onSyscall", tell),
      returned: told && this.#guarded("onSyscall", told),
    };
    return host.addHook(new Syscalls(host, listener));
  }

  every(instructions: number, tell: () => void): Detach {
    if (!Number.isInteger(instructions) || instructions < 1 || instructions > EVERY_MAXIMUM) {
      throw new ConfigError(`a number of instructions is 1 or more, not ${instructions}`);
    }
    const told = this.#guarded("every", tell);
    return this.#host.addSampler(instructions, () => told(undefined));
  }

  onTurn(tell: (turn: { readonly hart: number }) => void): Detach {
    return this.#onTold("turn", "onTurn", tell);
  }

  onWait(tell: () => void): Detach {
    return this.#onTold("wait", "onWait", tell);
  }

  onEvent(tell: (event: Told["event"]) => void): Detach {
    return this.#onTold("event", "onEvent", tell);
  }

  onEpoch(tell: () => void): Detach {
    return this.#onTold("epoch", "onEpoch", tell);
  }

  onOutput(tell: (output: Told["output"]["output"], stamp: Stamp) => void): Detach {
    return this.#onTold("output", "onOutput", ({ output, stamp }) => tell(output, stamp));
  }

  onReset(tell: () => void): Detach {
    return this.#onTold("reset", "onReset", tell);
  }

  onEnd(tell: (ending: ReplayEnding) => void): Detach {
    return this.#onTold("end", "onEnd", tell);
  }

  #onCode(hook: string, range: CodeRange, tell: (execution: Execution) => void): Detach {
    const own = Object.freeze({ ...range });
    const told = this.#guarded(hook, tell);
    return this.#observing((inspector) =>
      inspector.onExecute(own, (execution) => {
        told(Object.freeze({ ...execution, icount: this.icount }));
        return this.#host.woken;
      })
    );
  }

  #onTold<K extends keyof Told>(kind: K, hook: string, tell: (what: Told[K]) => void): Detach {
    return this.#host.addTold(kind, this.#guarded(hook, tell));
  }

  #guarded<A>(hook: string, tell: (what: A) => void): (what: A) => void {
    return (what) => this.#host.guard(this.#name, hook, tell, what);
  }

  /** A hook that is one observer of each machine. */
  #observing(observe: (inspector: MachineDebugger) => Detach): Detach {
    let detach: Detach | undefined;
    const hook: Hook = {
      attach: (inspector) => detach = observe(inspector),
      detach: () => detach?.(),
    };
    return this.#host.addHook(hook);
  }
}
