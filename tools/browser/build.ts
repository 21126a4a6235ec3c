/**
 * Bundles the page and its worker with esbuild.
 *
 * Invariant: nothing of Deno or node gets into a bundle; an import of either is an error here, not a
 * page that does not start.
 */
import { build, type Plugin } from "esbuild";
import settings from "../../deno.json" with { type: "json" };

const ROOT = new URL("../../", import.meta.url);
const IMPORTS: Readonly<Record<string, string>> = settings.imports;

/** A file that the page consists of. */
export interface PageFile {
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The page's files by name; index.html is the page. */
export async function buildPage(): Promise<Map<string, PageFile>> {
  const entry = (name: string) => new URL(name, import.meta.url).pathname;
  const { outputFiles } = await build({
    absWorkingDir: ROOT.pathname,
    entryPoints: [entry("page.ts"), entry("replay_worker.ts")],
    outdir: "page",
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2024",
    minifySyntax: true,
    minifyWhitespace: true,
    logLevel: "silent",
    plugins: [importMap],
  });
  const files = new Map<string, PageFile>();
  for (const { path, contents } of outputFiles) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    files.set(name, { type: "text/javascript; charset=utf-8", bytes: new Uint8Array(contents) });
  }
  for (const [name, type] of [["index.html", "text/html"], ["style.css", "text/css"]] as const) {
    const bytes = await Deno.readFile(entry(name));
    files.set(name, { type: `${type}; charset=utf-8`, bytes });
  }
  return files;
}

/** Names of the import map: a file of ours, or a package that esbuild finds in node_modules. */
const importMap: Plugin = {
  name: "import map",
  setup: ({ onResolve, resolve }) => {
    onResolve({ filter: /^[^./]/ }, async ({ path, importer, kind, resolveDir, pluginData }) => {
      if (pluginData === importMap) return undefined;
      if (path.startsWith("node:")) {
        return { errors: [{ text: `a browser has no ${path}, which ${importer} imports` }] };
      }
      const target = mapped(path);
      if (target === undefined || target === path) return undefined;
      if (target.startsWith("./")) return { path: new URL(target, ROOT).pathname };
      return await resolve(target, { kind, importer, resolveDir, pluginData: importMap });
    });
  },
};

/** What the import map says: "npm:/name@version/path" and "npm:name@version" become "name/path". */
function mapped(path: string): string | undefined {
  for (const [name, target] of Object.entries(IMPORTS)) {
    const isPrefix = name.endsWith("/");
    if (isPrefix ? !path.startsWith(name) : path !== name) continue;
    const whole = isPrefix ? target + path.slice(name.length) : target;
    return whole.replace(/^npm:\/?(@?[^@]+)@[^/]+/, "$1");
  }
  return undefined;
}
