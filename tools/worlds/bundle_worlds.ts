/**
 * Bundles the modules of the worlds (kernel/world/kept_worlds.ts): a few files that share their parts, and what
 * a world loads late in files of its own. Functions keep their names, for stacks in reports of failures.
 *
 * Invariants: a bundle appears under its name when it is whole and on stable storage, its description after it;
 * a bundle that another process may have begun to use is not touched.
 */
import { build, type Metafile, type Plugin, stop } from "esbuild";
import settings from "../../deno.json" with { type: "json" };
import { hostFiles } from "../../kernel/host/files.ts";
import { type FileStamp, folderAddress, stampFiles } from "../../kernel/host/own_sources.ts";
import { coreSourcesDigest } from "../../kernel/world/core_modules.ts";
import {
  descriptionPath,
  KEPT_WORLDS_VERSION,
  type KeptBundle,
} from "../../kernel/world/kept_worlds.ts";
import { contentKey, exists, writeWhole } from "../guests/cache.ts";

const ROOT = new URL("../../", import.meta.url);
const IMPORTS: Readonly<Record<string, string>> = settings.imports;

/** Where worlds start. */
export const WORLDS: readonly string[] = [
  "drivers/vm_world.ts",
  "kernel/world/compile_world.ts",
  "kernel/world/core_world.ts",
  "kernel/world/saver_world.ts",
];

/** What decides besides the sources what a bundle is. */
const ALSO = ["deno.json", "deno.lock", "tools/worlds/bundle_worlds.ts"];
/** Days after which a bundle of other sources is removed: nothing runs from it any more. */
const KEPT_DAYS = 7;

/** Code that runs as the user is nobody else's to read or replace. */
const FOLDER_MODE = 0o700;

/** Bundles the worlds into a folder. Rejects when a source is changed meanwhile, or cannot be bundled. */
export async function bundleWorlds(folder: string): Promise<KeptBundle> {
  const before = Date.now();
  const { outputFiles, metafile } = await build({
    absWorkingDir: decodeURIComponent(ROOT.pathname),
    entryPoints: [...WORLDS],
    outdir: "worlds",
    entryNames: "[name]",
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2024",
    minifySyntax: true,
    minifyWhitespace: true,
    keepNames: false,
    external: ["node:*"],
    logLevel: "silent",
    plugins: [importMap],
  });
  const cores = await coreSourcesDigest();
  const outputs = outputFiles.map(({ path, contents }) => ({ name: nameOf(path), contents }));
  const sources = stampFiles(ROOT, [...Object.keys(metafile.inputs), ...ALSO].sort());
  if (sources === undefined || cores === undefined) throw new Error("a source cannot be read");
  if (sources.some(([, , changed]) => changed >= before)) {
    throw new Error("a source was changed while it was bundled");
  }
  const parts = outputs.toSorted((a, b) => a.name < b.name ? -1 : 1)
    .flatMap(({ name, contents }) => [name, contents]);
  const name = await contentKey(parts);
  const files = await writeBundle(folder, name, outputs);
  const bundle: KeptBundle = {
    version: KEPT_WORLDS_VERSION,
    root: ROOT.href,
    sources,
    folder: name,
    files,
    entries: entriesOf(metafile),
    cores,
  };
  await writeWhole(
    descriptionPath(folder, ROOT),
    new TextEncoder().encode(`${JSON.stringify(bundle)}\n`),
  );
  await removeOld(folder, name);
  return bundle;
}

async function writeBundle(
  folder: string,
  name: string,
  outputs: readonly { readonly name: string; readonly contents: Uint8Array }[],
): Promise<FileStamp[]> {
  const path = `${folder}/${name}`;
  const names = outputs.map((output) => output.name);
  const stamps = () => stampFiles(folderAddress(path), names);
  const isWhole = stamps()?.every(([, bytes], i) => bytes === outputs[i]!.contents.length);
  // What is there, and was not good, may be in use: files are replaced, not the folder.
  const into = await exists(path) ? path : `${path}.${crypto.randomUUID()}.part`;
  if (!isWhole || into !== path) {
    await Deno.mkdir(into, { recursive: true, mode: FOLDER_MODE });
    // One that was there already.
    await Deno.chmod(into, FOLDER_MODE);
    for (const output of outputs) {
      await writeWhole(`${into}/${output.name}`, new Uint8Array(output.contents));
    }
    hostFiles.syncFolder(into);
    if (into !== path) await Deno.rename(into, path);
  }
  return stamps()!;
}

/** Names of the files that worlds start from. */
function entriesOf({ outputs }: Metafile): Record<string, string> {
  const entries: Record<string, string> = {};
  for (const [path, { entryPoint }] of Object.entries(outputs)) {
    if (entryPoint !== undefined && WORLDS.includes(entryPoint)) entries[entryPoint] = nameOf(path);
  }
  return entries;
}

/** Removes bundles that nothing runs from any more; others may do the same at this moment. */
export async function removeOld(folder: string, current: string): Promise<void> {
  const oldest = Date.now() - KEPT_DAYS * 24 * 3600 * 1000;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (!isDirectory || name === current) continue;
    const path = `${folder}/${name}`;
    try {
      const { mtime } = await Deno.stat(path);
      if ((mtime?.getTime() ?? 0) < oldest) await Deno.remove(path, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Names that the import map gives to files of ours; packages are found in node_modules. */
const importMap: Plugin = {
  name: "import map",
  setup: ({ onResolve }) => {
    onResolve({ filter: /^[^./]/ }, ({ path }) => {
      const target = IMPORTS[path];
      if (target === undefined || !target.startsWith("./")) return undefined;
      return { path: decodeURIComponent(new URL(target, ROOT).pathname) };
    });
  },
};

if (import.meta.main) {
  await bundleWorlds(Deno.args[0]!);
  await stop();
}
