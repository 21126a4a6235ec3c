/**
 * What a debugger may do with a machine, live or in a replay: the one interface between whoever looks
 * (tools/gdb) and whoever carries the machine out (kernel/world). All calls are made while the machine
 * stands still, but for `interrupt`.
 *
 * Invariant: on a replay nothing here changes the machine; what would is refused with a reason.
 */

/** A register of a hart. CSRs by their number; "privilege" is the current mode: 0, 1 or 3. */
export type DebugRegister =
  | { readonly file: "x" | "f"; readonly number: number }
  | { readonly file: "csr"; readonly number: number }
  | { readonly file: "pc" | "privilege" };

/** What a breakpoint or watchpoint waits for. "execute" stops before the instruction. */
export type DebugPointKind = "execute" | "write" | "read" | "access";

/** A breakpoint or watchpoint at a virtual address, in whatever address space. */
export interface DebugPoint {
  /** What it waits for. */
  readonly kind: DebugPointKind;
  /** Virtual address. */
  readonly address: bigint;
  /** Bytes watched, 1 to 4096; ignored for "execute". */
  readonly size: number;
}

/** How the machine is to go on. */
export interface DebugResume {
  /** "backward" is refused when the machine is not replayed. */
  readonly direction: "forward" | "backward";
  /** A hart that is to execute (or undo) one instruction; undefined: go on until something stops it. */
  readonly stepHart?: number;
}

/** Why the machine stands still. */
export type DebugStop =
  | { readonly why: "step" | "interrupted"; readonly hart: number; readonly icount: number }
  | { readonly why: "breakpoint"; readonly hart: number; readonly icount: number }
  /** Forward the access is done, and the instruction executed; backward both are undone. */
  | {
    readonly why: "watchpoint";
    readonly hart: number;
    readonly icount: number;
    /** The watchpoint that was hit. */
    readonly point: DebugPoint;
    /** Virtual address that was accessed, as far as it lies in the watched range. */
    readonly address: bigint;
  }
  /** A replay came to the first ("start") or last ("end") instruction that it has. */
  | { readonly why: "start" | "end"; readonly hart: number; readonly icount: number }
  /** The machine is off, or failed. */
  | { readonly why: "exited"; readonly code: number; readonly icount: number };

/** Where a machine is. */
export interface DebugPosition {
  /** Instructions executed. */
  readonly icount: number;
  /** Guest time in ticks of 100 ns. */
  readonly ticks: number;
  /** Hart whose turn it is. */
  readonly hart: number;
}

/** A point that a replay can go back to at once. */
export interface DebugCheckpoint {
  /** Instructions executed before it. */
  readonly icount: number;
  /** Bytes of memory that it holds. */
  readonly bytes: number;
}

/** A range of guest-physical memory. */
export interface DebugMemoryRange {
  /** What lies there. */
  readonly kind: "ram" | "device";
  /** First address. */
  readonly start: number;
  /** Its length. */
  readonly bytes: number;
}

/** A machine as a debugger sees it. Calls reject with HostError, whose message is for the user. */
export interface DebugTarget {
  /** Number of harts. */
  readonly harts: number;
  /** Whether the machine is replayed: it can go back, and cannot be changed. */
  readonly replaying: boolean;
  /** Where it is. */
  position(): Promise<DebugPosition>;
  /** Values of registers, in the order asked; undefined for one that does not exist. */
  registers(hart: number, wanted: readonly DebugRegister[]): Promise<(bigint | undefined)[]>;
  /** Writes a register. Refused on a replay. */
  setRegister(hart: number, register: DebugRegister, value: bigint): Promise<void>;
  /**
   * Bytes at a virtual address as the hart sees it (in machine mode and without translation: physical),
   * up to the first byte that cannot be read.
   */
  memory(hart: number, address: bigint, length: number): Promise<Uint8Array>;
  /** Writes at a virtual address. Refused on a replay, and where memory is not mapped. */
  setMemory(hart: number, address: bigint, bytes: Uint8Array): Promise<void>;
  /** The machine's physical memory map. */
  memoryMap(): Promise<readonly DebugMemoryRange[]>;
  /** Adds a breakpoint or watchpoint; one that is there already is no error. */
  addPoint(point: DebugPoint): Promise<void>;
  /** Removes one; one that is not there is no error. */
  removePoint(point: DebugPoint): Promise<void>;
  /** Lets the machine go on; resolves when it stands still again. */
  resume(how: DebugResume): Promise<DebugStop>;
  /** Makes a `resume` under way end soon. */
  interrupt(): void;
  /** On a replay: goes to where so many instructions were executed. */
  seek(icount: number): Promise<DebugStop>;
  /** On a replay: the points that it can go back to at once. */
  checkpoints(): Promise<readonly DebugCheckpoint[]>;
  /** Lines about the machine, for `monitor info`. */
  info(): Promise<string>;
  /** The debugger left: all points go, the machine goes on (or the replay ends). */
  detach(): Promise<void>;
  /**
   * A debugger comes after `detach`: stops the machine. Absent where one cannot come again, as when a
   * replay ended; the server then serves no other.
   */
  attach?(): Promise<void>;
}
