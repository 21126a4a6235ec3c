/** TABLE of the results of a run, which its owner (machine/turns.ts) reads. */

/** Why a run ended. */
export const RUN_END = {
  budget: 0,
  wait: 1,
  attention: 2,
  firmware: 3,
  /** Before an instruction at which a point wants to stop, or before a marker: points.ts. */
  point: 4,
  marker: 5,
  /** Before an instruction whose result could not be had: nondeterminism.ts. */
  abandoned: 6,
} as const;
