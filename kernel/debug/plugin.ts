/**
 * Plugins of replays: modules that observe a replay and cannot disturb it (issue 4, "Replay-time-only
 * functionality"; docs/replay.md, "Plugins"). This file is what they are written against; plugin_host.ts
 * carries them out.
 *
 * Invariant: nothing that a plugin is given leads back to the machine: bytes are copies, objects are frozen.
 */
import type { EndCause } from "../replay/record_table.ts";
import type { Stamp, VmEvent } from "../machine/event.ts";
import type { MachineOutput } from "../machine/outputs.ts";
import type { CodeRange, Detach, Execution, TakenTrap, TrapFilter } from "./machine_debugger.ts";
import type { GuestSymbol, SymbolPlace } from "./symbol_table.ts";
import type { WatchRange } from "./watchpoints.ts";

/** Memory that a plugin watches. */
export interface ReplayWatch extends WatchRange {
  /** Whether the address is guest-physical; it is virtual, in the address space of the moment, if not. */
  readonly physical?: boolean;
}

/** An access to watched memory, told behind the instruction that made it. */
export interface ReplayAccess {
  /** Whether it reads or writes. */
  readonly kind: "read" | "write";
  /** First address of the watched range that was accessed. */
  readonly address: bigint;
  /** Hart that executed, or whose turn it was. */
  readonly hart: number;
  /** Instructions executed since the recording began; the accessing one included. */
  readonly icount: number;
  /** An instruction, the page walker, or a device or the firmware. */
  readonly by: "instruction" | "walk" | "dma";
  /** Address of the instruction that accessed, where that is known. */
  readonly pc: bigint | undefined;
  /** What the watched range held before the access. */
  readonly before: Uint8Array;
  /** What it holds behind the access's instruction. */
  readonly after: Uint8Array;
}

/** A system call: an ecall from user mode. */
export interface ReplaySyscall {
  /** Number of the call in this replay, from 0: its result has the same. */
  readonly id: number;
  /** Hart that calls. */
  readonly hart: number;
  /** Address of the ecall. */
  readonly pc: bigint;
  /** Instructions executed since the recording began; the ecall included. */
  readonly icount: number;
  /** a7. */
  readonly number: bigint;
  /** a0 to a5. */
  readonly arguments: readonly bigint[];
}

/** A system call that returned to behind its ecall, in the address space and on the stack that made it. */
export interface ReplaySyscallResult {
  /** The call. */
  readonly call: ReplaySyscall;
  /** Hart that goes on with it. */
  readonly hart: number;
  /** Instructions executed since the recording began, before the one behind the ecall. */
  readonly icount: number;
  /** a0. */
  readonly value: bigint;
}

/** How a replay ended, for its plugins. */
export type ReplayEnding =
  | { readonly kind: "end"; readonly why: EndCause; readonly code: number }
  | { readonly kind: "cut" | "diverged" | "reached" | "stopped" };

/** Names of addresses, as far as symbols were given. */
export interface ReplaySymbols {
  /** Whether any were given. */
  readonly given: boolean;
  /** The symbol of a name. */
  find(name: string): GuestSymbol | undefined;
  /** The symbol that an address belongs to. */
  at(address: bigint): SymbolPlace | undefined;
  /** "name+0x10 [module]", or the address's digits. */
  describe(address: bigint): string;
}

/** A replayed machine as it is at the moment. Where a hart can be given, it is the one under way if not. */
export interface ReplayView {
  /** Instructions executed since the recording began. */
  readonly icount: number;
  /** Guest time in ticks of 100 ns; begins anew when the guest resets itself. */
  readonly ticks: number;
  /** The guest's wall clock in nanoseconds since 1970. */
  readonly wallNanoseconds: bigint;
  /** Number of harts. */
  readonly harts: number;
  /** Hart that executes, or whose turn it is. */
  readonly hart: number;
  /** Names of addresses. */
  readonly symbols: ReplaySymbols;
  /** Address of the instruction that is next, or under way. */
  pc(hart?: number): bigint;
  /** An integer register. Throws ConfigError when there is none of the number. */
  x(number: number, hart?: number): bigint;
  /** Bits of a float register. */
  f(number: number, hart?: number): bigint;
  /** 0 user, 1 supervisor, 3 machine. */
  privilege(hart?: number): number;
  /** A CSR by name. Throws ConfigError for one that cannot be looked at while the hart executes. */
  csr(name: string, hart?: number): bigint;
  /** Copy of memory at a virtual address, up to the first byte that is not in mapped RAM. */
  memory(address: bigint, length: number, hart?: number): Uint8Array;
  /** Copy of guest-physical RAM, up to its end. */
  physical(address: number, length: number): Uint8Array;
  /** Guest-physical address of a virtual one; undefined where no RAM is mapped. */
  translate(address: bigint, hart?: number): number | undefined;
  /** Little-endian unsigned integer of 1 to 8 bytes; undefined where it is not all in mapped RAM. */
  integer(address: bigint, bytes: number, hart?: number): bigint | undefined;
  /** Bytes up to a zero byte as text, at most so many; undefined where there is no memory. */
  text(address: bigint, most: number, hart?: number): string | undefined;
}

/**
 * A replay as a plugin has it. Each `on…` adds a hook, at any time; what is added while the machine executes
 * counts from behind the instruction under way. What it gives takes the hook away again.
 */
export interface Replay extends ReplayView {
  /** Prints to the plugins' output. */
  print(text: string): void;
  /** Ends the replay behind the instruction under way; the status is what `replay` exits with, 0 if not given. */
  stop(reason: string, status?: number): void;
  /** Before each instruction of a range, in any address space. */
  onExecute(range: CodeRange, tell: (execution: Execution) => void): Detach;
  /** Before the first instruction of a function. Throws ConfigError for a name that is no symbol. */
  onFunction(which: string | bigint, tell: (execution: Execution) => void): Detach;
  /** Behind each access to a range of 1 to 4096 bytes. */
  onWatch(range: ReplayWatch, tell: (access: ReplayAccess) => void): Detach;
  /** Before traps are taken; calls of the built-in firmware are none. */
  onTrap(filter: TrapFilter, tell: (trap: TakenTrap) => void): Detach;
  /** At each system call; `told` of its result when it returns, if it does. */
  onSyscall(
    tell: (call: ReplaySyscall) => void,
    told?: (result: ReplaySyscallResult) => void,
  ): Detach;
  /** Each so many instructions of the recording, before the next one. */
  every(instructions: number, tell: () => void): Detach;
  /** When another hart has its turn, and when one goes on after all waited. */
  onTurn(tell: (turn: { readonly hart: number }) => void): Detach;
  /** When all harts begin to wait. */
  onWait(tell: () => void): Detach;
  /** Before something that came in from outside changes the machine. */
  onEvent(tell: (event: VmEvent) => void): Detach;
  /** At each epoch of the recording. */
  onEpoch(tell: () => void): Detach;
  /** At each output; `stamp` says when it left. Its icount is since the recording began. */
  onOutput(tell: (output: MachineOutput, stamp: Stamp) => void): Detach;
  /** When the guest has reset itself, with the machine at its power-on state. */
  onReset(tell: () => void): Detach;
  /** When the replay is over; nothing can be stopped any more. */
  onEnd(tell: (ending: ReplayEnding) => void): Detach;
}

/** A plugin. */
export interface ReplayPlugin {
  /** Name, for messages. */
  readonly name: string;
  /** Options that it takes, with what each means; values are text. */
  readonly options?: Readonly<Record<string, string>>;
  /** Called before the first instruction. */
  start(replay: Replay, options: Readonly<Record<string, string>>): void;
}

/** Declares a plugin: what its module exports by default. */
export function definePlugin(plugin: ReplayPlugin): ReplayPlugin {
  return Object.freeze({ ...plugin });
}
