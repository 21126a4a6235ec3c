/** Limits and words of the control protocol that commands need without the protocol itself. */

/** State of a fork that has not run, in lists. */
export const PARKED = "parked";
/** Most characters of a checkpoint's label. */
export const LABEL_MAXIMUM = 200;
/** Most forks that are made at once. */
export const FORKS_MAXIMUM = 10_000;
