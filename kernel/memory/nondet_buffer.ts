/**
 * The nondeterminism buffer: results of instructions that no count of instructions determines, on their
 * way to a log or from it (requirements S20). Generated code puts them in or takes them out without
 * leaving itself; TypeScript is called when the buffer is full or empty.
 *
 * Invariants: only machines with an exact clock have a buffer; entries `nondetNext` to `nondetEnd` are
 * free when recording, and still to come when replaying; none of it is state of the machine.
 */

/** Entries of a buffer unless told otherwise. */
export const NONDET_ENTRIES_DEFAULT = 4096;
/** Bytes of an entry. */
export const NONDET_ENTRY_BYTES = 16;

/** Offsets in an entry: the result (i64), the kind of instruction (u32), the number of the hart (u32). */
export const NONDET_ENTRY = { value: 0, kind: 8, hart: 12 } as const;

/** Kinds of instructions: a read of the CSR `time`, an access to the CSR `seed`. */
export const NONDET_KIND = { time: 1, seed: 2 } as const;

/** What becomes of results; the field `nondetMode` of the control block. */
export const NONDET_MODE = {
  /** Nothing: each comes fresh from outside. */
  normal: 0,
  /** Each goes to the buffer as well. */
  record: 1,
  /** Each comes from the buffer. */
  replay: 2,
  /** Somebody looks at a register, unseen by the guest: time is the function of icount. */
  look: 3,
} as const;

/** A `faultCause` that is no exception: the instruction is not to happen, and the run is to end before it. */
export const ABANDONED = 256;
