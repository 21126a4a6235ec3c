/** Lists the project's TypeScript files for the checks in this folder. */

/** Repository root as a path with a slash at its end. */
export const ROOT: string = new URL("../../", import.meta.url).pathname;

const SKIPPED = new Set(["node_modules", ".git", "coverage"]);

/** Paths of all TypeScript files relative to the root, sorted. */
export function sourceFiles(folder = ""): string[] {
  const found: string[] = [];
  for (const entry of Deno.readDirSync(ROOT + folder)) {
    if (SKIPPED.has(entry.name)) continue;
    const path = folder + entry.name;
    if (entry.isDirectory) found.push(...sourceFiles(`${path}/`));
    else if (path.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}
