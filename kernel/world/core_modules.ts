/**
 * The compiled code of cores, in the kernel world: one module for all machines of the same make, so that
 * their worlds neither generate nor compile code, and share what V8 made of it, optimised code included.
 * With a folder, the bytes are kept for later runs (S19: a resume takes milliseconds).
 *
 * Invariants: a module comes from sources that are those of now, whoever kept it; it is made by a worker
 * that runs no guest. A file that cannot be used is made anew, and replaced.
 */
import { Digest } from "../base/checksum.ts";
import { HostError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import { sourcesDigest } from "../host/own_sources.ts";
import { type CoreMake, coreMake, planOptions } from "../machine/machine_plan.ts";
import type { MemoryPlanOptions } from "../memory/memory_plan.ts";
import { decodeCore, encodeCore } from "./kept_core.ts";
import { type MachineConfig, tierOf } from "./machine_port.ts";

/** Where all lies, below kernel/, that decides what bytes a core has. */
export const CORE_SOURCES: readonly string[] = [
  "base/",
  "cpu/",
  "limits.ts",
  "memory/",
  "mmu/",
  "wasm/",
];

/** The folder kernel/. */
const KERNEL = new URL("../", import.meta.url);

/** Most modules that are remembered: machines of more makes than this are rare. */
const MODULES_MAXIMUM = 16;

/** All that a core's code is made of, besides the sources. */
export interface CoreRecipe {
  readonly options: MemoryPlanOptions;
  readonly make: CoreMake;
}

/** The recipe for a machine; `keeps` tells whether regions of earlier runs are to be expected. */
export function coreRecipe(config: CodeOf, keeps: boolean): CoreRecipe {
  return { options: planOptions(config), make: coreMake({ tier: tierOf(config) }, keeps) };
}

/** The part of a machine's configuration that its code depends on. */
export type CodeOf = Omit<MachineConfig, "bios">;

/** The modules of this process by their recipes: no kernel changes them, so that all may have the same. */
const REMEMBERED = new Map<string, Promise<WebAssembly.Module>>();

/** Makes, remembers and keeps modules. */
export class CoreModules {
  #sources: Promise<string | undefined> | undefined;

  /**
   * @param directory where bytes are kept; undefined: nowhere
   * @param digest tells which sources these are; undefined where that is not known
   * @param modules those that are there already
   */
  constructor(
    private readonly host: Host,
    private readonly directory: string | undefined,
    private readonly digest: () => Promise<string | undefined> = coreSourcesDigest,
    private readonly modules: Map<string, Promise<WebAssembly.Module>> = REMEMBERED,
  ) {}

  /**
   * The module of a recipe. Rejects with `HostError` when the worker that makes it fails: a VM world can
   * still make its own.
   */
  get(recipe: CoreRecipe): Promise<WebAssembly.Module> {
    const key = JSON.stringify(recipe);
    const known = this.modules.get(key);
    if (known !== undefined) return known;
    const made = this.#make(recipe, key);
    this.modules.set(key, made);
    made.catch(() => this.modules.delete(key));
    if (this.modules.size > MODULES_MAXIMUM) {
      this.modules.delete(this.modules.keys().next().value!);
    }
    return made;
  }

  /** The same; undefined where it cannot be made here. */
  getIfPossible(recipe: CoreRecipe): Promise<WebAssembly.Module | undefined> {
    return this.get(recipe).catch((error) => {
      if (error instanceof HostError) return undefined;
      throw error;
    });
  }

  async #make(recipe: CoreRecipe, key: string): Promise<WebAssembly.Module> {
    const sources = this.directory && await (this.#sources ??= this.digest());
    if (!sources) return await WebAssembly.compile(await this.#generate(recipe));
    const path = `${this.directory}/${nameOf(key)}`;
    const head = JSON.stringify({ sources, recipe });
    const kept = await this.#read(path, head);
    if (kept !== undefined) return kept;
    const bytes = await this.#generate(recipe);
    try {
      this.host.files.replace(path, encodeCore(head, bytes));
    } catch (error) {
      // What cannot be kept is made again next time.
      if (!(error instanceof HostError)) throw error;
    }
    return await WebAssembly.compile(bytes);
  }

  async #read(path: string, head: string): Promise<WebAssembly.Module | undefined> {
    try {
      const bytes = decodeCore(await this.host.files.readAll(path), head);
      return bytes && await WebAssembly.compile(bytes);
    } catch (error) {
      if (error instanceof HostError || error instanceof WebAssembly.CompileError) return undefined;
      throw error;
    }
  }

  #generate(recipe: CoreRecipe): Promise<Uint8Array<ArrayBuffer>> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
    const worker = this.host.workers.start(
      new URL("./core_world.ts", import.meta.url),
      "core",
      ({ message, place }) => {
        reject(new HostError(`Cannot make the code of a core: ${message} ${place}`));
      },
      (bytes) => resolve(bytes as Uint8Array<ArrayBuffer>),
    );
    worker.post(recipe);
    return promise.finally(() => worker.terminate());
  }
}

/** Digest of the sources that decide what bytes a core has; undefined where they cannot be read. */
export function coreSourcesDigest(): Promise<string | undefined> {
  return sourcesDigest(KERNEL, CORE_SOURCES);
}

/** A file for each recipe, whoever made it last: what old sources made does not pile up. */
function nameOf(key: string): string {
  const bytes = new TextEncoder().encode(key.padEnd(Math.ceil(key.length / 4) * 4));
  const digest = new Digest();
  digest.words(new Uint32Array(bytes.buffer, 0, bytes.length >> 2));
  return `${digest.hex()}.core`;
}
