/**
 * Makes bundles of the worlds in a process of its own, which takes nothing from the VMs of this one but a share
 * of a processor, and goes on when this one ends.
 */

const BUNDLER = new URL("./bundle_worlds.ts", import.meta.url);

/** Bundles the worlds into a folder. Resolves when that is done or has failed: then there is none. */
export async function makeWorlds(folder: string): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", BUNDLER.href, folder],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  child.unref();
  await child.status;
}
