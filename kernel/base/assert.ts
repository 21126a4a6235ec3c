/**
 * Checks of our own invariants. A failure is a bug of ours: it stops the machine it happened in, loudly.
 */

/** Thrown when an invariant of the kernel itself does not hold. */
export class Broken extends Error {
  /** "Broken". */
  override name = "Broken";
}

/** Throws `Broken` unless the condition holds. For our invariants only, never for guest or user input. */
export function assert(condition: unknown, message = "invariant does not hold"): asserts condition {
  if (!condition) throw new Broken(message);
}

/** Marks a place that control never reaches; throws `Broken` if it does. */
export function unreachable(message = "unreachable"): never {
  throw new Broken(message);
}
