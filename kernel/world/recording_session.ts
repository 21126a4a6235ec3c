/**
 * A recording under way, in the kernel world: its folder, its manifest, and what arrives from the VM
 * world for it (issue 4, "Record").
 *
 * Invariant: a recording that cannot be written any more is ended and reported; its VM goes on.
 */
import { Broken } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import type { HostFile } from "../host/files.ts";
import type { Host } from "../host/host.ts";
import type { LogStream } from "../replay/log_format.ts";
import type { RecordedImage, RecordingManifest } from "../replay/manifest.ts";
import { RecordingWriter, type RecordSync } from "../replay/recording_writer.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { KeepingDisk } from "../storage/before_image.ts";
import type { Message } from "./protocol.ts";
import { streamNumbered } from "./vm_recording.ts";

/** Images up to this size are kept in the recording. */
const KEPT_BYTES = 1024 * 1024;
/** Bytes of an image that are hashed before other work gets its turn. */
const HASH_BYTES = 4 * 1024 * 1024;

/** How to record. */
export interface RecordOptions {
  /** Folder of the recording: new, or empty. */
  readonly folder: string;
  /** When what was recorded must be on stable storage; "periodic" by default. */
  readonly sync?: RecordSync;
  /** Whether all images are copied into the recording; by default those up to 1 MiB are. */
  readonly images?: boolean;
}

/** An image as a recording needs to know it. */
export interface ImageFact {
  readonly role: string;
  /** Path of its file; empty when it has none. */
  readonly path: string;
  /** Its bytes, or the disk that keeps them; undefined: they are in the file. */
  readonly contents?: Uint8Array | KeepingDisk;
  readonly bytes: number;
}

/** A recording that is being made. */
export class RecordingSession {
  readonly folder: string;
  readonly #host: Host;
  readonly #writer: RecordingWriter;
  readonly #parts = new Map<LogStream, Uint8Array[]>();
  readonly #identified: Promise<void>;
  #manifest: RecordingManifest;
  #stopped = false;

  /** Begins. Throws HostError when the folder cannot be made, or is not empty. */
  constructor(
    host: Host,
    manifest: Omit<RecordingManifest, "images">,
    images: readonly ImageFact[],
    private readonly options: RecordOptions,
    warn: (line: string) => void,
  ) {
    this.#host = host;
    this.folder = options.folder;
    const known = images.map(({ role, path, bytes }) => ({ role, path, bytes, sha256: null }));
    this.#manifest = { ...manifest, images: known };
    this.#writer = new RecordingWriter(
      host,
      this.folder,
      this.#manifest,
      options.sync ?? "periodic",
      (error) => warn(`The recording in "${this.folder}" ends here: ${error.message}`),
    );
    this.#identified = this.#identify(images).catch((error) => {
      if (!this.#stopped) {
        warn(`The recording in "${this.folder}" cannot be replayed: ${error.message}`);
      }
    });
  }

  /** Bytes of the logs so far. */
  get logBytes(): number {
    return this.#writer.logBytes;
  }

  /** When what was recorded must be on stable storage. */
  get sync(): RecordSync {
    return this.options.sync ?? "periodic";
  }

  /** A part of a cluster arrived. */
  arrived({ numbers: [stream, icount = 0, ticks = 0, more = 0], bytes }: Message): void {
    const name = streamNumbered(stream);
    if (name === undefined) {
      throw new Broken(`a record for the log ${stream}, which does not exist`);
    }
    const waiting = this.#parts.get(name) ?? [];
    waiting.push(bytes);
    if (more !== 0) return void this.#parts.set(name, waiting);
    this.#parts.delete(name);
    this.#writer.append(name, { icount, ticks, bytes: concatBytes(waiting) });
  }

  /** The VM or the recording ended: resolves when all of it is written. */
  async close(): Promise<void> {
    await this.#identified;
    this.#stopped = true;
    await this.#writer.close();
  }

  /** Learns the digests of all images, beside the running VM, and copies those that are to be kept. */
  async #identify(images: readonly ImageFact[]): Promise<void> {
    const known: RecordedImage[] = [];
    for (const image of images) known.push(await this.#identifyOne(image));
    this.#manifest = { ...this.#manifest, images: known };
    this.#writer.setManifest(this.#manifest);
  }

  async #identifyOne({ role, path, contents, bytes }: ImageFact): Promise<RecordedImage> {
    const hash = this.#host.compression.sha256();
    const keeps = this.options.images === true || bytes <= KEPT_BYTES || path === "";
    const partial = `${this.folder}/images/${role}.partial`;
    const copy = keeps ? this.#newCopy(partial) : undefined;
    try {
      let at = 0;
      for await (const part of this.#read(path, contents, bytes)) {
        hash.add(part);
        copy?.write(at, part);
        at += part.length;
        await this.#host.timers.yieldToOthers();
      }
    } finally {
      copy?.close();
    }
    const sha256 = hash.hex();
    if (!keeps) return { role, path, bytes, sha256 };
    const kept = `images/${sha256.slice(0, 32)}`;
    this.#host.files.rename(partial, `${this.folder}/${kept}`);
    return { role, path, bytes, sha256, kept };
  }

  #newCopy(path: string): HostFile {
    this.#host.files.ensureFolder(`${this.folder}/images`);
    return this.#host.files.create(path);
  }

  async *#read(
    path: string,
    contents: ImageFact["contents"],
    bytes: number,
  ): AsyncGenerator<Uint8Array> {
    if (contents instanceof Uint8Array) return yield contents;
    const file = contents === undefined ? this.#host.files.open(path) : undefined;
    try {
      for (let at = 0; at < bytes; at += HASH_BYTES) {
        const part = new Uint8Array(Math.min(HASH_BYTES, bytes - at));
        file?.read(at, part);
        await (contents as KeepingDisk | undefined)?.readEarlier(at / SECTOR_BYTES, part);
        yield part;
      }
    } finally {
      file?.close();
    }
  }
}
