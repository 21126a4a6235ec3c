/**
 * The file of an image, whose end grows: what lies behind the end reads as zeros, and becomes zeros
 * when the file grows over it.
 *
 * Invariants: nothing was ever written behind `end`; after a flush that failed, every later one fails,
 * because nobody knows what the host dropped.
 */
import { HostError } from "../../base/errors.ts";
import type { HostFile } from "../../host/files.ts";
import { HEADER_OFFSET, INCOMPATIBLE, viewOf } from "./header.ts";

/** An open image file. */
export class ImageFile {
  /** Nothing was written from here on, so it is zeros. */
  end: number;
  /** Bytes that the file has for certain. */
  #bytes: number;
  #failure: unknown;

  constructor(private readonly file: HostFile) {
    this.end = file.size;
    this.#bytes = file.size;
  }

  /** The name of the file, for messages. */
  get path(): string {
    return this.file.path;
  }

  /** Fills the buffer; zeros behind the end. Throws `HostError`. */
  read(offset: number, into: Uint8Array): void {
    const count = offset < this.end ? this.file.read(offset, into) : 0;
    if (count === into.length) return;
    // Somebody cut the file short while it was used: an I/O error, never wrong bytes.
    if (offset + count < this.#bytes) {
      throw new HostError(`"${this.path}" became shorter while in use`);
    }
    into.fill(0, count);
  }

  /** Writes, growing the file when need be. Throws `HostError`. */
  write(offset: number, bytes: Uint8Array): void {
    // A part of a write that fails may have happened.
    if (offset + bytes.length > this.end) this.end = offset + bytes.length;
    this.file.write(offset, bytes);
    if (offset + bytes.length > this.#bytes) this.#bytes = offset + bytes.length;
  }

  /** Cuts the file behind what is used; a host that cannot is no failure. */
  shrink(bytes: number): void {
    if (bytes >= this.end) return;
    try {
      this.file.truncate(bytes);
    } catch (error) {
      if (error instanceof HostError) return;
      throw error;
    }
    this.end = bytes;
    this.#bytes = bytes;
  }

  /** Resolves when all that was written is on stable storage. Rejects with `HostError`. */
  async flush(): Promise<void> {
    this.#checkFailure();
    try {
      await this.file.flush();
    } catch (error) {
      if (error instanceof HostError) this.#failure = error;
      throw error;
    }
  }

  /** Closes the file. */
  close(): void {
    this.file.close();
  }

  #checkFailure(): void {
    if (this.#failure === undefined) return;
    const message = `"${this.path}" could not be flushed before: what it holds is not known`;
    throw new HostError(message, { cause: this.#failure });
  }
}

/** Features of an image that change while it is used; undefined ones stay as they are. */
export interface FeatureChange {
  readonly dirty?: boolean;
  readonly corrupt?: boolean;
}

/**
 * Writes the feature words of an image of version 3 anew. Autoclear features are all cleared: they
 * describe data that a program which does not know them leaves out of date by writing.
 */
export function changeFeatures(file: ImageFile, change: FeatureChange): void {
  const words = new Uint8Array(24);
  file.read(HEADER_OFFSET.incompatible, words);
  const view = viewOf(words);
  let low = view.getUint32(4);
  for (const name of ["dirty", "corrupt"] as const) {
    if (change[name] === undefined) continue;
    low = change[name] ? low | INCOMPATIBLE[name] : low & ~INCOMPATIBLE[name];
  }
  view.setUint32(4, low);
  words.fill(0, 16);
  file.write(HEADER_OFFSET.incompatible, words);
}
