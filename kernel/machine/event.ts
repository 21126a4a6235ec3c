/**
 * What comes into a machine from outside: the one type that names it (design.md, "One idea"; S1, S20).
 * Reads of the host's time and entropy by instructions are the other way in (nondeterminism.ts); there
 * is no third one, and tests/replay/boundary_test.ts says so.
 *
 * Invariant: an event changes the machine in a way that depends on the event and the machine alone.
 */

/** Something that comes in from outside. */
export type VmEvent =
  | {
    /** Bytes for a serial or console port. */
    readonly kind: "console";
    readonly device: string;
    readonly port: number;
    readonly bytes: Uint8Array;
  }
  | {
    /** An Ethernet frame for a network card. */
    readonly kind: "frame";
    readonly device: string;
    readonly bytes: Uint8Array;
  }
  | {
    /** The terminal at a port has a new size, in characters. */
    readonly kind: "resize";
    readonly device: string;
    readonly port: number;
    readonly columns: number;
    readonly rows: number;
  }
  | {
    /** A disk request ended: status 0 for success, else failure; `data` for reads. */
    readonly kind: "disk";
    readonly device: string;
    readonly tag: number;
    readonly status: number;
    readonly data?: Uint8Array;
  }
  | {
    /** Guest time: now it is so many ticks of 100 ns, and goes on at a rate (ticks per instruction × 2^24). */
    readonly kind: "time";
    readonly ticks: number;
    readonly rate: number;
  }
  | {
    /** The kernel mixes bytes into the machine's generator of entropy. */
    readonly kind: "entropy";
    readonly bytes: Uint8Array;
  }
  | {
    /** The VM is a copy of another one and gets an identity of its own, and entropy of its own with it. */
    readonly kind: "identity";
    /** 16 bytes. */
    readonly generation: Uint8Array;
    /** 6 bytes. */
    readonly mac: Uint8Array;
    /** Mixed into the machine's generator of entropy. */
    readonly entropy: Uint8Array;
  }
  | {
    /** The wall clock was moved: this is what it showed when guest time was 0, in nanoseconds since 1970. */
    readonly kind: "wall";
    readonly wallStart: bigint;
  };

/** When something crossed the boundary, and at whose turn. */
export interface Stamp {
  /** Instructions executed by all harts. */
  readonly icount: number;
  /** Guest time in ticks of 100 ns: an idle machine's time goes on while it executes nothing. */
  readonly ticks: number;
  /** Hart whose turn it is. */
  readonly hart: number;
}
