/**
 * The version of the machine: what guests can observe of it, and what its events mean (design.md,
 * "Records"; docs/decisions/0014). A recording, or an image of a machine, names the version that it is of,
 * and is replayed and resumed as that version for ever.
 *
 * Invariant: what a version promised never changes. Whatever a guest of the newest version could tell from
 * an older one is a new version, and the older ones stay here (board.ts says what each is made of).
 */
import { ConfigError } from "../base/errors.ts";

/** Version of machines that are made new. */
export const MACHINE_VERSION = 3;
/** Oldest version that can be made here. */
export const MACHINE_VERSION_OLDEST = 2;

/** Whether machines of a version can be made here. */
export function isMachineVersion(version: unknown): version is number {
  return Number.isInteger(version) && version as number >= MACHINE_VERSION_OLDEST &&
    version as number <= MACHINE_VERSION;
}

/** Throws ConfigError when machines of a version cannot be made here. */
export function checkMachineVersion(version: number): void {
  if (isMachineVersion(version)) return;
  throw new ConfigError(
    `machine version ${version} cannot be made here: expected ${MACHINE_VERSION_OLDEST} to ` +
      `${MACHINE_VERSION}`,
  );
}
