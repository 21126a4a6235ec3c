/**
 * Which of this program's own sources something that is kept was made of: a digest of what is in them, or how
 * long they are and when they were changed, which takes a twentieth of the time to look at.
 */

/** A file when it was looked at: its path below some root, its bytes, and when it was changed, in milliseconds. */
export type FileStamp = readonly [path: string, bytes: number, changed: number];

/** Stamps of files below a root; undefined where they cannot be looked at. */
export function stampFiles(root: URL, paths: readonly string[]): FileStamp[] | undefined {
  try {
    return paths.map((path) => {
      const { size, mtime } = Deno.statSync(new URL(path, root));
      return [path, size, mtime?.getTime() ?? 0];
    });
  } catch {
    return undefined;
  }
}

/** Address of a folder; a path that is not absolute begins at the working folder. */
export function folderAddress(path: string): URL {
  const whole = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  return new URL(`file://${whole.split("/").map(encodeURIComponent).join("/")}/`);
}

/** Whether all files below a root are still what their stamps say. */
export function areSameFiles(root: URL, stamps: readonly FileStamp[]): boolean {
  // Paths are joined as text: some hundred addresses take as long to make as the files to look at.
  const folder = root.protocol === "file:" ? decodeURIComponent(root.pathname) : undefined;
  if (folder === undefined) return false;
  try {
    return stamps.every(([path, bytes, changed]) => {
      const { size, mtime } = Deno.statSync(folder + path);
      return size === bytes && (mtime?.getTime() ?? 0) === changed;
    });
  } catch {
    return false;
  }
}

/**
 * SHA-256 over names and contents of the TypeScript files at some places below a folder, as hexadecimal
 * digits; undefined where they cannot be read: this program may have come over a network, or may not read.
 *
 * @param places folders, all of whose files count, and files
 */
export async function sourcesDigest(
  root: URL,
  places: readonly string[],
): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  try {
    for (const place of places) addSources(new URL(place, root), place, parts);
  } catch {
    return undefined;
  }
  const digest = await crypto.subtle.digest(
    "SHA-256",
    await new Blob(parts as BlobPart[]).arrayBuffer(),
  );
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reads without waiting: some eighty small files take 2 ms so, and ten times as long one after another. */
function addSources(url: URL, name: string, parts: Uint8Array[]): void {
  if (name.endsWith(".ts")) {
    const bytes = Deno.readFileSync(url);
    parts.push(new TextEncoder().encode(`${name} ${bytes.length}\n`), bytes);
    return;
  }
  const names = [...Deno.readDirSync(url)].map((entry) =>
    entry.isDirectory ? `${entry.name}/` : entry.name
  );
  for (const child of names.sort()) {
    const counts = child.endsWith("/") || (child.endsWith(".ts") && !child.endsWith("_test.ts"));
    if (counts) addSources(new URL(child, url), name + child, parts);
  }
}
