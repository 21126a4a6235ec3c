/**
 * What tells ready VMs from each other: a key of all that shapes the machine and its guest, with digests of the
 * images (issue 5, "Forks and identity"). Digests of files that have not changed are remembered in a small file
 * beside the checkpoints, because those of Debian's images take 60 ms.
 *
 *     STORE/ready.json   { version, images: { path: { stamp, digest } }, ready: { key: id of a checkpoint } }
 *
 * Invariants: a digest is only remembered by a stamp that any change of the file changes: a file that was
 * changed in the last moments is not remembered, because it may change again within the same tick of its file
 * system's clock; what cannot be read is as nothing; nobody relies on the file.
 */
import { HostError } from "./base/errors.ts";
import { CHECKPOINT_SCHEMA } from "./checkpoint/checkpoint_format.ts";
import type { ImageSource, VmSpec } from "./config.ts";
import type { Host } from "./host/host.ts";
import { MACHINE_VERSION } from "./machine/version.ts";
import { SAVED_VM_VERSION } from "./world/saved_vm.ts";

/** Version of the index, and of how keys are made. */
const INDEX_VERSION = 1;
/** Images and keys that are remembered. */
const ENTRIES_MAXIMUM = 64;
/** Milliseconds after a change in which a file may change without its stamp: coarse clocks tick in 2 s. */
const UNSURE_MILLISECONDS = 3_000;

interface Remembered {
  readonly stamp: string;
  readonly digest: string;
}

/** Makes keys, and remembers which checkpoint belongs to which. */
export class ReadyIndex {
  readonly #images = new Map<string, Remembered>();
  readonly #ready = new Map<string, string>();
  #changed = false;

  private constructor(private readonly host: Host, private readonly path: string) {}

  /** Reads the index of a store. */
  static async open(host: Host, folder: string): Promise<ReadyIndex> {
    const index = new ReadyIndex(host, `${folder}/ready.json`);
    try {
      if (host.files.exists(index.path)) index.#read(await host.files.readAll(index.path));
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
    }
    return index;
  }

  /** The key of a machine with its guest. Rejects with HostError when an image cannot be read. */
  async keyOf(spec: VmSpec): Promise<string> {
    const { bios, clock, harts, memoryBytes, append, tlbEntries, cacheElements } = spec;
    const shape = {
      index: INDEX_VERSION,
      schema: [CHECKPOINT_SCHEMA, SAVED_VM_VERSION],
      machine: MACHINE_VERSION,
      kernel: await this.#digest(spec.kernel),
      initrd: await this.#digest(spec.initrd),
      bios: bios === "builtin" || bios === "none" ? bios : await this.#digest(bios),
      seed: spec.seed ?? null,
      devices: [spec.console, spec.network, spec.onReset],
      limits: [tlbEntries ?? null, cacheElements ?? null],
      ...{ clock, harts, memoryBytes, append },
    };
    return this.#hash(new TextEncoder().encode(JSON.stringify(shape)));
  }

  /** Id of the checkpoint of a key, as far as is remembered. */
  idOf(key: string): string | undefined {
    return this.#ready.get(key);
  }

  /** Remembers the checkpoint of a key, or that there is none. */
  note(key: string, id: string | undefined): void {
    if (this.#ready.get(key) === id) return;
    this.#ready.delete(key);
    if (id !== undefined) this.#ready.set(key, id);
    this.#changed = true;
  }

  /** Writes the index, if there is something new. It is no loss when it cannot be written. */
  write(): void {
    if (!this.#changed) return;
    this.#changed = false;
    const youngest = <T>(map: Map<string, T>) =>
      Object.fromEntries([...map].slice(-ENTRIES_MAXIMUM));
    const value = {
      version: INDEX_VERSION,
      images: youngest(this.#images),
      ready: youngest(this.#ready),
    };
    try {
      this.host.files.replace(this.path, new TextEncoder().encode(JSON.stringify(value)));
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
    }
  }

  #read(bytes: Uint8Array): void {
    let value: { version?: unknown; images?: unknown; ready?: unknown };
    try {
      value = JSON.parse(new TextDecoder().decode(bytes)) ?? {};
    } catch {
      return;
    }
    if (value.version !== INDEX_VERSION) return;
    for (const [path, image] of Object.entries(value.images ?? {})) {
      const { stamp, digest } = image ?? {};
      if (typeof stamp !== "string" || !isDigest(digest)) continue;
      this.#images.set(path, { stamp, digest });
    }
    for (const [key, id] of Object.entries(value.ready ?? {})) {
      if (isDigest(key) && typeof id === "string") this.#ready.set(key, id);
    }
  }

  async #digest(source: ImageSource | undefined): Promise<string | null> {
    if (source === undefined) return null;
    if (source instanceof Uint8Array) return this.#hash(source);
    const path = source instanceof URL ? decodeURIComponent(source.pathname) : source;
    const { files, clock } = this.host;
    const { text: stamp, changed } = files.stamp(path);
    const known = this.#images.get(path);
    if (known?.stamp === stamp) return known.digest;
    const digest = this.#hash(await files.readAll(path));
    this.#images.delete(path);
    const now = Number(clock.wallNanoseconds() / 1_000_000n);
    if (changed + UNSURE_MILLISECONDS < now && files.stamp(path).text === stamp) {
      this.#images.set(path, { stamp, digest });
    }
    this.#changed = true;
    return digest;
  }

  #hash(bytes: Uint8Array): string {
    const hash = this.host.compression.sha256();
    hash.add(bytes);
    return hash.hex();
  }
}

function isDigest(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
