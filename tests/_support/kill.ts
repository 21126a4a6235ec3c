/** Ends processes of tests. */

/** Sends a signal, unless the process has ended already. */
export function killIfAlive(kill: () => void): void {
  try {
    kill();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}
