/**
 * The machine as its VM world drives it: the one interface between the deterministic machine
 * (kernel/machine) and the loop that connects it to the outside (vm_side.ts).
 *
 * Invariant: the machine changes only inside `run`, `offer`, `anchor` and `skipIdle`, which the loop
 * calls at slice boundaries, so every outside influence has an exact retired-instruction count.
 */
import type { VmIdentity } from "../base/identity.ts";
import type { DiskRequest } from "../driver/mod.ts";
import type { ClockKind } from "../machine/clock.ts";
import type { VmEvent } from "../machine/event.ts";
import type { Machine, RestoredMemory } from "../machine/machine.ts";
import type { MachineTier } from "../machine/machine_plan.ts";
import type { HostSource } from "../machine/nondeterminism.ts";
import type { StopReason as MachineStop } from "../machine/turns.ts";
import type { Recorder } from "../replay/recorder.ts";
import type { CompilePort } from "./remote_compiler.ts";

/** Names of the board's devices that exchange data with the outside. */
export const DEVICE_NAMES = {
  /** The 16550 serial port; its port 0 is the terminal. */
  uart: "uart0",
  /** The virtio console: port 0 is a terminal, port 1 carries `exec`. */
  console: "console0",
  /** The virtio network card. */
  network: "net0",
  /** The virtio disks, in the order of the configuration. */
  disk: (index: number): string => `disk${index}`,
} as const;

/** A disk as the guest sees it; its bytes stay in the kernel world. */
export interface DiskShape {
  /** Size in sectors of 512 bytes. */
  readonly sectors: number;
  /** Whether the guest is told not to write. */
  readonly readOnly: boolean;
}

/** All that determines a machine, besides the events it is offered. */
export interface MachineConfig {
  /** Version of what guests observe (kernel/machine/version.ts): a replay's is its recording's. */
  readonly machineVersion: number;
  /** Bytes of guest memory, a multiple of 64 KiB, up to 3 GiB. */
  readonly memoryBytes: number;
  /** Number of harts, 1 to 8. */
  readonly harts: number;
  /** The image to start: ELF, Linux Image (also gzip'd) or raw bytes; absent with a firmware alone. */
  readonly kernel?: Uint8Array<ArrayBuffer>;
  /** Initial RAM disk. */
  readonly initrd?: Uint8Array<ArrayBuffer>;
  /** Kernel command line. */
  readonly append: string;
  /** Firmware: built in, none (start in M-mode) or a firmware image. */
  readonly bios: "builtin" | "none" | Uint8Array<ArrayBuffer>;
  /** Disks in order. */
  readonly disks: readonly DiskShape[];
  /** Whether guest time follows the host's clock or the count of retired instructions. */
  readonly clock: ClockKind;
  /** Which tiers execute. */
  readonly tier: "auto" | "interpreter" | "translator" | "check";
  /** Entries of each software TLB; undefined for the machine's choice. */
  readonly tlbEntries: number | undefined;
  /** Number of cache elements; undefined for the machine's choice. */
  readonly cacheElements: number | undefined;
  /** Whether what is executed is marked, for a debugger's way back in a replay. */
  readonly marksExecution?: boolean;
  /** Seed of everything random in the machine: an integer from 0 to 2^53 - 1. */
  readonly seed: number;
  /** Who the VM is, from when its world starts; without it, what its seed gives. */
  readonly identity?: VmIdentity;
  /** Wall clock when guest time was 0, in nanoseconds since 1970. */
  readonly startWallNanoseconds: bigint;
  /** Whether each retired instruction is reported as a `trace` output. */
  readonly trace: boolean;
}

/** The tier of a machine; one that is traced executes in the interpreter. */
export function tierOf({ trace, tier }: Pick<MachineConfig, "trace" | "tier">): MachineTier {
  return trace ? "interpreter" : tier === "auto" ? "translator" : tier;
}

/** Something that leaves the machine. */
export type MachineOutput =
  | {
    /** Bytes from a serial or console port. */
    readonly kind: "console";
    readonly device: string;
    readonly port: number;
    readonly bytes: Uint8Array;
  }
  | {
    /** A request to the disk behind a device. */
    readonly kind: "disk";
    readonly device: string;
    readonly request: DiskRequest;
  }
  | {
    /** An Ethernet frame. */
    readonly kind: "frame";
    readonly device: string;
    readonly bytes: Uint8Array;
  }
  | {
    /** Text lines of the instruction trace, UTF-8. */
    readonly kind: "trace";
    readonly bytes: Uint8Array;
  };

/** Why `run` returned. */
export type StopReason =
  /** The budget is used up. */
  | { readonly kind: "budget" }
  /**
   * Every hart waits for an interrupt. `wakeTicks` is the guest time at which a timer fires;
   * undefined means that only input can wake the machine.
   */
  | { readonly kind: "idle"; readonly wakeTicks?: number }
  /** With the virtual clock: guest time has come to where a disk request must be complete. */
  | { readonly kind: "await"; readonly what: "disk" }
  /** The machine is off, or asks to be reset. */
  | { readonly kind: "halted"; readonly code: number; readonly why: HaltCause };

/** How a machine came to its end. */
export type HaltCause = "power-off" | "reset";

/** Registers of a hart, for people. */
export interface HartReport {
  /** Hart number. */
  readonly hart: number;
  /** Program counter. */
  readonly pc: bigint;
  /** "M", "S" or "U". */
  readonly privilege: string;
  /** Whether it waits for an interrupt. */
  readonly waiting: boolean;
  /** x0 to x31. */
  readonly x: readonly bigint[];
  /** f0 to f31 as bits. */
  readonly f: readonly bigint[];
  /** Control and status registers by name. */
  readonly csrs: Readonly<Record<string, bigint>>;
}

/** What the machine counted since its start. All are plain numbers. */
export interface MachineStats {
  /** Guest instructions retired on all harts. */
  readonly instructions: number;
  /** Instructions by the tier that executed them. */
  readonly tiers: Readonly<Record<string, number>>;
  /** What the translator tier made. */
  readonly translator: Readonly<Record<string, number>>;
  /** Software-TLB fills by kind of access, and by the size of page that they came from. */
  readonly tlbFills: Readonly<Record<string, number>>;
  /** What the cache group and the page-table tracker did (S12, S21). */
  readonly memory: Readonly<Record<string, number>>;
  /** Accesses that hit a page trace, by its kind. */
  readonly traces: Readonly<Record<string, number>>;
  /** Exceptions taken, by cause. */
  readonly traps: Readonly<Record<string, number>>;
  /** Interrupts taken, by cause. */
  readonly interrupts: Readonly<Record<string, number>>;
  /** What went through the nondeterminism buffer (S20). */
  readonly nondeterminism: Readonly<Record<string, number>>;
  /** Counters of each device. */
  readonly devices: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** A machine that a VM world can drive. */
export interface MachinePort {
  /** Number of harts. */
  readonly harts: number;
  /** Instructions retired on all harts. */
  readonly icount: number;
  /** Guest time in ticks of 100 ns. */
  readonly ticks: number;
  /** Executes at most `budget` instructions. Throws `Broken` when the machine itself is broken. */
  run(budget: number): StopReason;
  /**
   * Offers an event. Returns how much was taken: bytes for "console", else 1 or 0. What was not taken
   * is offered again after the next `run`.
   */
  offer(event: VmEvent): number;
  /** What left the machine since the last call, in order. The byte arrays are the caller's. */
  takeOutputs(): MachineOutput[];
  /** With the virtual clock, after "idle" with a wake time: lets guest time jump to it. */
  skipIdle(): void;
  /** With a clock that follows the host: guest time is now `ticks`, which is never less than the last anchor. */
  anchor(ticks: number): void;
  /** Registers of a hart. */
  hart(index: number): HartReport;
  /** Counters. */
  stats(): MachineStats;
  /** A hash over the whole state, as 16 hexadecimal digits. */
  digest(): string;
  /** The board's address map with what is attached where, one line each. */
  memoryTree(): string;
  /** Bytes of the pages of guest memory that were written. */
  touchedBytes(): number;
  /** Runs the machine instead of its own `run`, while a debugger holds it. */
  drive?: ((budget: number) => MachineStop) | undefined;
  /** The machine behind this port, where it is one that can be recorded and replayed. */
  readonly machine?: Machine;
  /** The recorder of `record` has ended. */
  stopRecording?(): void;
  /** From now on the machine, whose outputs were taken, tells a recorder what it sends out. */
  record?(recorder: Recorder): void;
  /** Goes on with the recorder of the machine before it, whose guest reset itself. */
  recordAgain?(recorder: Recorder, wallStart: bigint): void;
  /**
   * What the machine waits for that only arrives while this thread is idle: translations, which came
   * already. Undefined when there is nothing.
   */
  arrival?(): Promise<void> | undefined;
}

/** What a machine is given besides what determines it. */
export interface MachineSurroundings {
  /** The compiled core of machines like this one; without it, the machine makes its own. */
  readonly core?: WebAssembly.Module | undefined;
  /** The way to the compile world, if there is one. */
  readonly compiler?: Pick<CompilePort, "keeps" | "begin"> | undefined;
  /** What an exact clock reads. */
  readonly host?: HostSource | undefined;
  /** Memory of a machine that is made from an image, which is put back afterwards. */
  readonly restored?: RestoredMemory | undefined;
}

/** Makes a machine. Rejects with `FormatError` or `ConfigError` when it cannot be built as asked. */
export type MachineFactory = (
  config: MachineConfig,
  surroundings: MachineSurroundings,
) => Promise<MachinePort>;
