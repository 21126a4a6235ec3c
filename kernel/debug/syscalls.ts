/**
 * System calls of a replay: ecalls from user mode, and the results with which they come back (plugin.ts).
 *
 * A call has returned when the instruction behind its ecall is executed in the address space, and with the
 * stack pointer, with which it was made. A call that the kernel begins again (a signal came) is told again,
 * as another call; one that never returns (exit, a successful execve) has no result.
 *
 * Invariant: what is kept of calls that have not returned is bounded.
 */
import { CAUSE } from "../memory/hart_layout.ts";
import type { Detach, Execution, MachineDebugger, TakenTrap } from "./machine_debugger.ts";
import type { ReplaySyscall, ReplaySyscallResult, ReplayView } from "./plugin.ts";

/** satp without the address space's number, which the guest's kernel may change. */
const SPACE_MASK = ~(0xffffn << 44n);
const [SP, A0, A7] = [2, 10, 17];
const ARGUMENTS = 6;
/** Most calls that are waited for: those that never return are forgotten, the oldest first. */
const WAITING_MAXIMUM = 65_536;
/** Most addresses of ecalls whose results are told. */
const POINTS_MAXIMUM = 65_536;

/** Who is told. */
export interface SyscallListener {
  readonly called: (call: ReplaySyscall) => void;
  readonly returned: ((result: ReplaySyscallResult) => void) | undefined;
}

/** What the plugins' host does for it. */
export interface SyscallHost {
  readonly view: ReplayView;
  /** Whether the run under way is to end as soon as it can. */
  readonly woken: boolean;
  /** Does something between two runs: now, or behind the instruction under way. */
  between(body: () => void): void;
}

/** Sees the system calls of one machine after the other. */
export class Syscalls {
  #nextId = 0;
  /** Calls that have not returned, by address behind them, address space and stack. */
  readonly #waiting = new Map<string, ReplaySyscall>();
  /** Addresses behind ecalls, with what takes their points away. */
  readonly #points = new Map<bigint, Detach>();
  #traps: Detach | undefined;
  #inspector: MachineDebugger | undefined;

  constructor(
    private readonly host: SyscallHost,
    private readonly listener: SyscallListener,
  ) {}

  /** Observes a machine, between two runs. */
  attach(inspector: MachineDebugger): void {
    this.detach();
    this.#inspector = inspector;
    this.#waiting.clear();
    this.#traps = inspector.onTrap(
      { exceptions: true, interrupts: false },
      (trap) => this.#trapped(trap),
    );
  }

  /** Observes no more, between two runs. */
  detach(): void {
    this.#traps?.();
    for (const remove of this.#points.values()) remove();
    this.#points.clear();
    this.#inspector = undefined;
  }

  #trapped({ cause, hart, epc }: TakenTrap): void {
    if (cause !== CAUSE.ecallUser) return;
    const { view } = this.host;
    const call: ReplaySyscall = Object.freeze({
      id: this.#nextId++,
      hart,
      pc: epc,
      icount: view.icount,
      number: view.x(A7, hart),
      arguments: Object.freeze(Array.from({ length: ARGUMENTS }, (_, i) => view.x(A0 + i, hart))),
    });
    const behind = epc + 4n;
    const isAwaited = this.#points.has(behind) || this.#points.size < POINTS_MAXIMUM;
    if (this.listener.returned !== undefined && isAwaited) this.#await(call, behind);
    this.listener.called(call);
  }

  #await(call: ReplaySyscall, behind: bigint): void {
    const key = this.#key(behind, call.hart);
    this.#waiting.delete(key);
    this.#waiting.set(key, call);
    if (this.#waiting.size > WAITING_MAXIMUM) {
      for (const oldest of this.#waiting.keys()) {
        this.#waiting.delete(oldest);
        break;
      }
    }
    if (this.#points.has(behind)) return;
    // Known from now on, so that it is added once.
    this.#points.set(behind, () => {});
    const inspector = this.#inspector!;
    this.host.between(() => {
      if (this.#inspector !== inspector) return;
      const range = { address: behind, bytes: 2 };
      this.#points.set(
        behind,
        inspector.onExecute(range, (at) => {
          this.#behind(at);
          return this.host.woken;
        }),
      );
    });
  }

  #behind({ hart, pc }: Execution): void {
    const key = this.#key(pc, hart);
    const call = this.#waiting.get(key);
    if (call === undefined) return;
    this.#waiting.delete(key);
    const { view } = this.host;
    const result = { call, hart, icount: view.icount, value: view.x(A0, hart) };
    this.listener.returned?.(Object.freeze(result));
  }

  #key(behind: bigint, hart: number): string {
    const space = this.host.view.csr("satp", hart) & SPACE_MASK;
    return `${behind} ${space} ${this.host.view.x(SP, hart)}`;
  }
}
