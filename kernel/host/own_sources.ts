/**
 * A digest of this program's own sources, for what is made by them and kept: other sources, another digest.
 */

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
