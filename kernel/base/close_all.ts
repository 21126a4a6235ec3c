/**
 * Ends things that are held together.
 *
 * Invariant: whatever one of them throws, the others are closed, too.
 */

/** Closes all, one after the other. Gives what they threw. */
export async function closeAll(
  held: readonly ({ close(): unknown } | undefined)[],
): Promise<unknown[]> {
  const problems: unknown[] = [];
  for (const part of held) {
    try {
      await part?.close();
    } catch (error) {
      problems.push(error);
    }
  }
  return problems;
}
