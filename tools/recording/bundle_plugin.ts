/**
 * Makes one ES module without imports of a replay's plugin, because the VM world that it runs in can read no
 * files (kernel/debug/plugin.ts; docs/replay.md, "Plugins").
 *
 * Invariant: what a plugin takes from the project's mod.ts is what plugins are written against, and nothing
 * of the kernel.
 */
import { build, type BuildFailure, type Message, type Plugin, stop } from "esbuild";
import { ConfigError, FormatError, HostError, type PluginSource } from "../../mod.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** Name by which a plugin outside the project may import the project. */
const PROJECT = /^chronovisor$/;

/** A plugin's file with what it is given, as "FILE,key=value,…" says it. */
export interface PluginRequest {
  readonly file: string;
  readonly options: Readonly<Record<string, string>>;
}

/** Reads "FILE,key=value,…". Throws ConfigError. */
export function parsePluginRequest(text: string): PluginRequest {
  const [file = "", ...pairs] = text.split(",");
  if (file === "") throw new ConfigError(`Expected FILE,key=value,… for a plugin, not "${text}"`);
  const options: Record<string, string> = {};
  for (const pair of pairs) {
    const [, key, value] = /^(\w+)=(.*)$/s.exec(pair) ?? [];
    if (key === undefined) {
      throw new ConfigError(`Expected key=value as an option of "${file}", not "${pair}"`);
    }
    if (Object.hasOwn(options, key)) {
      throw new ConfigError(`The option "${key}" of "${file}" was given twice`);
    }
    options[key] = value!;
  }
  return { file, options };
}

/** Bundles plugins. Rejects with HostError for a file that cannot be read, and FormatError for bad ones. */
export async function bundlePlugins(
  requests: readonly PluginRequest[],
): Promise<PluginSource[]> {
  const sources: PluginSource[] = [];
  try {
    for (const { file, options } of requests) {
      sources.push({ file, code: await bundle(file), options });
    }
    return sources;
  } finally {
    // esbuild's own process would outlive us.
    await stop();
  }
}

async function bundle(file: string): Promise<string> {
  try {
    if (!(await Deno.stat(file)).isFile) throw new Error("it is no file");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot read the plugin "${file}": ${reason}`, { cause });
  }
  try {
    const { outputFiles } = await build({
      absWorkingDir: Deno.cwd(),
      entryPoints: [file],
      bundle: true,
      write: false,
      format: "esm",
      platform: "neutral",
      target: "es2024",
      logLevel: "silent",
      plugins: [projectNames],
    });
    return outputFiles[0]!.text;
  } catch (cause) {
    const { errors = [] } = cause as Partial<BuildFailure>;
    const lines = errors.slice(0, 5).map(messageLine).join("; ");
    throw new FormatError(`Cannot bundle the plugin "${file}": ${lines || cause}`, { cause });
  }
}

function messageLine({ text, location }: Message): string {
  return location === null ? text : `${location.file}:${location.line}: ${text}`;
}

/** Takes the project's mod.ts as what plugins are written against. */
const projectNames: Plugin = {
  name: "project",
  setup: ({ onResolve }) => {
    const path = `${ROOT}kernel/debug/plugin.ts`;
    onResolve({ filter: PROJECT }, () => ({ path }));
    onResolve({ filter: /(^|\/)mod\.ts$/ }, ({ path: wanted, resolveDir }) => {
      const target = new URL(wanted, `file://${resolveDir}/`).pathname;
      return target === `${ROOT}mod.ts` ? { path } : undefined;
    });
  },
};
