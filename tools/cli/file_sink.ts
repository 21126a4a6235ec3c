/**
 * A file that is written from its beginning in small pieces.
 *
 * Invariant: after `end` all that was written is in the file; a failure names the file.
 */
import { HostError } from "../../mod.ts";

const BUFFER_BYTES = 64 * 1024;

/** A file to write. */
export class FileSink {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #length = 0;

  /** Makes the file, or empties one that is there. Throws HostError. */
  constructor(path: string) {
    this.#path = path;
    this.#file = this.#attempt(() => Deno.createSync(path));
  }

  /** Adds bytes. Throws HostError. */
  readonly write = (bytes: Uint8Array): void => {
    if (this.#length + bytes.length > BUFFER_BYTES) this.end();
    if (bytes.length > BUFFER_BYTES) return this.#writeAll(bytes);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  };

  /** Writes what still waits. Throws HostError. */
  end(): void {
    this.#writeAll(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  #writeAll(bytes: Uint8Array): void {
    this.#attempt(() => {
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    });
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new HostError(`Cannot write "${this.#path}": ${reason}`, { cause });
    }
  }
}
