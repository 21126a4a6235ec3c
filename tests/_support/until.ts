/** Waiting in tests for what can be seen and not awaited. */

/** Milliseconds that something gets to happen: a host with much else to do takes long for everything. */
const PATIENCE_MILLISECONDS = 240_000;
const LOOK_MILLISECONDS = 5;

/** Resolves when something holds. Rejects when it does not for minutes, and says what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = Date.now() + PATIENCE_MILLISECONDS;
  while (!await condition()) {
    if (Date.now() > end) throw new Error(`It did not happen in minutes: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS));
  }
}
