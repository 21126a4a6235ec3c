/**
 * Worlds whose modules are bundled: of some hundred files few are made, which a worker loads in half the time
 * and holds in three quarters of the memory. They are kept in a folder, and made behind the VMs of the first
 * run. The sources stay the truth: where there is no bundle of just these, worlds are started from them.
 *
 *     FOLDER/NAME.json     which sources were bundled, and where the bundle is; a name for each tree of sources
 *     FOLDER/DIGEST/*.js   a bundle; never changed
 *
 * Invariants: a bundle is used only if all sources, and all of its own files, are what they were when it was
 * made; making one never delays a VM; a bundle that a world cannot load is forgotten.
 */
import { Digest } from "../base/checksum.ts";
import { HostError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import { areSameFiles, type FileStamp, folderAddress } from "../host/own_sources.ts";
import type { HostWorkers, WorldDeath, WorldOptions, WorldWorker } from "../host/workers.ts";

/** Version of the description. */
export const KEPT_WORLDS_VERSION = 1;

/** Milliseconds of a run after which a bundle is made: no short command waits for it. */
const MAKE_AFTER_MILLISECONDS = 1_500;

/**
 * Milliseconds from a world's start within which its death may be the bundle's fault: later its modules are loaded,
 * and most worlds never say so, because they talk through shared memory.
 */
const LOADING_MILLISECONDS = 5_000;

/** What a file beside the bundles says. */
export interface KeptBundle {
  readonly version: number;
  /** Address of the folder that paths of sources are below. */
  readonly root: string;
  readonly sources: readonly FileStamp[];
  /** Name of the folder that the bundle is in. */
  readonly folder: string;
  /** The files in it. */
  readonly files: readonly FileStamp[];
  /** Names of the files that worlds start from, by the paths of their sources. */
  readonly entries: Readonly<Record<string, string>>;
  /** Digest of the sources that decide what bytes cores have (core_modules.ts). */
  readonly cores: string;
}

/** Where bundles are kept, and who makes them. */
export interface KeptWorldsOptions {
  /** The folder. */
  readonly folder: string;
  /** Address of the folder that all sources are below. */
  readonly root: URL;
  /** Makes a bundle and its description, beside all other work. Rejects where that cannot be done. */
  readonly make: (folder: string) => Promise<void>;
}

/** Path of the description of the bundles of a tree of sources. */
export function descriptionPath(folder: string, root: URL): string {
  const text = new TextEncoder().encode(root.href);
  const words = new Uint32Array(Math.ceil(text.length / 4));
  new Uint8Array(words.buffer).set(text);
  const digest = new Digest();
  digest.words(words);
  return `${folder}/${digest.hex()}.json`;
}

/** Starts worlds from bundles where there are some, else from their sources. */
export class KeptWorlds implements HostWorkers {
  readonly #host: Host;
  readonly #options: KeptWorldsOptions;
  readonly #stopped = new AbortController();
  /** Addresses of bundles by those of sources; undefined until it was looked. */
  #entries: ReadonlyMap<string, string> | undefined;
  #cores: string | undefined;
  #making = false;

  /** Looks for nothing yet. */
  constructor(host: Host, options: KeptWorldsOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** Starts a world, as `HostWorkers`. */
  start(
    url: URL,
    name: string,
    onDeath: (death: WorldDeath) => void,
    onMessage?: (message: unknown) => void,
    options?: WorldOptions,
  ): WorldWorker {
    this.#entries ??= this.#read();
    const kept = this.#entries.get(url.href);
    const { workers, clock } = this.#host;
    if (kept === undefined) return workers.start(url, name, onDeath, onMessage, options);
    let spoke = false;
    const started = clock.monotonicMilliseconds();
    return workers.start(new URL(kept), name, (death) => {
      const age = clock.monotonicMilliseconds() - started;
      if (!spoke && age < LOADING_MILLISECONDS) this.#forget();
      onDeath(death);
    }, (message) => {
      spoke = true;
      onMessage?.(message);
    }, options);
  }

  /** Digest of the sources of cores, where there is a bundle; those files are then not read once more. */
  get coreDigest(): string | undefined {
    this.#entries ??= this.#read();
    return this.#cores;
  }

  /** Makes no bundle any more. */
  stop(): void {
    this.#stopped.abort();
  }

  #read(): ReadonlyMap<string, string> {
    const { folder, root } = this.#options;
    const entries = new Map<string, string>();
    const bundle = this.#readBundle();
    if (bundle === undefined) void this.#makeSoon();
    this.#cores = bundle?.cores;
    const files = folderAddress(`${folder}/${bundle?.folder}`);
    for (const [source, file] of Object.entries(bundle?.entries ?? {})) {
      entries.set(new URL(source, root).href, new URL(file, files).href);
    }
    return entries;
  }

  #readBundle(): KeptBundle | undefined {
    const { folder, root } = this.#options;
    const bundle = parseBundle(this.#text(descriptionPath(folder, root)));
    if (bundle === undefined || bundle.root !== root.href) return undefined;
    const files = folderAddress(`${folder}/${bundle.folder}`);
    const isGood = areSameFiles(files, bundle.files) && areSameFiles(root, bundle.sources);
    return isGood ? bundle : undefined;
  }

  #text(path: string): string | undefined {
    const { files } = this.#host;
    try {
      if (!files.exists(path)) return undefined;
      const file = files.open(path);
      try {
        const bytes = new Uint8Array(file.size);
        return new TextDecoder().decode(bytes.subarray(0, file.read(0, bytes)));
      } finally {
        file.close();
      }
    } catch (error) {
      if (error instanceof HostError) return undefined;
      throw error;
    }
  }

  async #makeSoon(): Promise<void> {
    const { signal } = this.#stopped;
    if (this.#making) return;
    this.#making = true;
    if (!await this.#host.timers.delay(MAKE_AFTER_MILLISECONDS, signal)) return;
    // Without one, the next run makes it.
    await this.#options.make(this.#options.folder).catch(() => {});
  }

  /** A world could not be loaded, or broke at once: perhaps the bundle is damaged. */
  #forget(): void {
    const { folder, root } = this.#options;
    this.#entries = new Map();
    try {
      this.#host.files.remove(descriptionPath(folder, root));
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
    }
  }
}

function parseBundle(text: string | undefined): KeptBundle | undefined {
  if (text === undefined) return undefined;
  try {
    const bundle = JSON.parse(text) as Partial<KeptBundle> | null;
    const { version, folder = "", sources, files, entries = {}, cores = "" } = bundle ?? {};
    const isWhole = version === KEPT_WORLDS_VERSION && /^[0-9a-f]{16}$/.test(folder) &&
      /^[0-9a-f]{64}$/.test(cores) &&
      isStamps(sources) && isStamps(files) &&
      Object.values(entries).every((file) => files.some(([name]) => name === file));
    return isWhole ? bundle as KeptBundle : undefined;
  } catch {
    return undefined;
  }
}

function isStamps(value: unknown): value is FileStamp[] {
  return Array.isArray(value) && value.length > 0 && value.every((stamp) => {
    const [path, bytes, changed, ...more] = Array.isArray(stamp) ? stamp : [];
    return typeof path === "string" && typeof bytes === "number" && typeof changed === "number" &&
      more.length === 0;
  });
}
