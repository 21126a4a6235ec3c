/**
 * Plugins in a VM world: their modules, which the kernel world bundled, and what they print (issue 4,
 * "Replay-time-only functionality"; kernel/debug/plugin_host.ts).
 *
 * Invariant: a module is code without imports, and has no more rights than its world: none.
 */
import { ConfigError, FormatError } from "../base/errors.ts";
import type { ReplayPlugin } from "../debug/plugin.ts";
import { type LoadedPlugin, PluginHost } from "../debug/plugin_host.ts";
import type { GuestSymbol } from "../debug/symbol_table.ts";
import type { VmMailbox } from "./mailbox.ts";
import { message, parts, TO_KERNEL } from "./protocol.ts";

/** A plugin as it is sent to a VM world. */
export interface PluginSource {
  /** What messages call it: its file. */
  readonly file: string;
  /** Text of an ES module without imports. */
  readonly code: string;
  /** What it is given, by the names of its options. */
  readonly options: Readonly<Record<string, string>>;
}

/** Characters that are kept before they are sent. */
const KEPT_CHARACTERS = 32 * 1024;

/** Loads modules. Rejects with FormatError for what is no plugin, and ConfigError for wrong options. */
export async function loadPlugins(sources: readonly PluginSource[]): Promise<LoadedPlugin[]> {
  const loaded: LoadedPlugin[] = [];
  for (const source of sources) loaded.push(await loadPlugin(source));
  return loaded;
}

async function loadPlugin({ file, code, options }: PluginSource): Promise<LoadedPlugin> {
  // A blob's name stays short in stacks; a data URL would be the whole module.
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  let exported: unknown;
  try {
    exported = (await import(url)).default;
  } catch (error) {
    throw new FormatError(`the plugin "${file}" cannot be loaded: ${error}`, { cause: error });
  } finally {
    URL.revokeObjectURL(url);
  }
  if (!isPlugin(exported)) {
    throw new FormatError(
      `"${file}" is no plugin: expected "export default definePlugin({ name, start })"`,
    );
  }
  checkOptions(exported, options);
  return { plugin: exported, options: Object.freeze({ ...options }) };
}

function isPlugin(value: unknown): value is ReplayPlugin {
  if (typeof value !== "object" || value === null) return false;
  const { name, start } = value as Record<string, unknown>;
  return typeof name === "string" && typeof start === "function";
}

function checkOptions({ name, options = {} }: ReplayPlugin, given: PluginSource["options"]): void {
  const known = Object.entries(options).map(([key, help]) => `${key} (${help})`);
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(options, key)) continue;
    const what = known.length === 0 ? "it has none" : `it has ${known.join(", ")}`;
    throw new ConfigError(`the plugin "${name}" has no option "${key}"; ${what}`);
  }
}

/** The plugins of a VM world that replays, and their way to the kernel world. */
export class PluginSide {
  readonly host: PluginHost;
  readonly #mailbox: VmMailbox;
  #text = "";

  constructor(mailbox: VmMailbox, symbols: readonly GuestSymbol[] | undefined) {
    this.#mailbox = mailbox;
    this.host = new PluginHost({
      symbols,
      print: (text) => {
        this.#text += text;
        if (this.#text.length >= KEPT_CHARACTERS) this.flush();
      },
    });
  }

  /** Sends what was printed. */
  flush(): void {
    if (this.#text === "") return;
    const bytes = new TextEncoder().encode(this.#text);
    this.#text = "";
    for (const part of parts(bytes)) {
      this.#mailbox.send(TO_KERNEL.pluginOutput, message("", [], part));
    }
  }
}
