/** Removes folders of tests. */
import { until } from "./until.ts";

/** Removes a folder with all that is in it, also while processes that were killed still write to it. */
export async function removeFolder(path: string): Promise<void> {
  await until(`"${path}" is removed`, async () => {
    try {
      await Deno.remove(path, { recursive: true });
    } catch (error) {
      // Not empty: something was made there since it was listed.
      return error instanceof Deno.errors.NotFound;
    }
    return true;
  });
}
