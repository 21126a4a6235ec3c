/**
 * The version of the machine: what guests can observe of it, and what its events mean. A recording of
 * one version replays on programs that say that they support it (design.md, "Records").
 *
 * Raise it with any change after which an old recording could replay differently.
 */

/** Version of machines made by this program. */
export const MACHINE_VERSION = 2;
/** Oldest version whose recordings replay here. */
export const MACHINE_VERSION_OLDEST = 2;
