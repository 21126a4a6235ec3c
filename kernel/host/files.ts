/**
 * Files of the host, opened in the kernel world only: a VM world has no permission to.
 *
 * Invariant: reads and writes name their offset, and no other operation comes between the seek and
 * the transfer (both are synchronous), so requests of several disks may interleave.
 */
import { HostError } from "../base/errors.ts";

/** An open file of the host. */
export interface HostFile {
  /** The name it was opened by, for messages. */
  readonly path: string;
  /** Size in bytes when it was opened. */
  readonly size: number;
  /** Reads up to `into.length` bytes at the offset; returns how many there were. Throws `HostError`. */
  read(offset: number, into: Uint8Array): number;
  /** Writes all bytes at the offset. Throws `HostError`. */
  write(offset: number, bytes: Uint8Array): void;
  /** Resolves when all that was written is on stable storage. Rejects with `HostError`. */
  flush(): Promise<void>;
  /** The same, not returning before. Throws `HostError`. */
  flushNow(): void;
  /** Closes the file. */
  close(): void;
}

/** Access to the host's files. */
export interface HostFiles {
  /** Opens an existing file, throws `HostError` naming it and the reason. */
  open(path: string, options?: { readonly write?: boolean }): HostFile;
  /** Makes a file that must not exist, to be read and written. Throws `HostError`. */
  create(path: string): HostFile;
  /** Makes a folder and those that it lies in; one that exists must be empty. Throws `HostError`. */
  createFolder(path: string): void;
  /** Names of the files in a folder, sorted. Throws `HostError`. */
  list(path: string): string[];
  /** Reads a whole file, rejects with `HostError` naming it and the reason. */
  readAll(path: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Makes or replaces a file as a whole, and the folders that it lies in. Throws `HostError`. */
  replace(path: string, bytes: Uint8Array): void;
}

/** Files of the computer this code runs on. */
export const hostFiles: HostFiles = {
  open: (path, options) => {
    try {
      return new DenoFile(path, { read: true, write: options?.write ?? false });
    } catch (cause) {
      throw fileError("open", path, cause);
    }
  },
  create: (path) => {
    try {
      return new DenoFile(path, { read: true, write: true, createNew: true });
    } catch (cause) {
      throw fileError("make", path, cause);
    }
  },
  createFolder: (path) => {
    try {
      Deno.mkdirSync(path, { recursive: true });
      for (const { name } of Deno.readDirSync(path)) {
        throw new Error(`there is "${name}" in it already; expected a new or empty folder`);
      }
    } catch (cause) {
      throw fileError("make", path, cause);
    }
  },
  list: (path) => {
    try {
      return [...Deno.readDirSync(path)].filter(({ isFile }) => isFile).map(({ name }) => name)
        .sort();
    } catch (cause) {
      throw fileError("list", path, cause);
    }
  },
  readAll: async (path) => {
    try {
      return await Deno.readFile(path);
    } catch (cause) {
      throw fileError("read", path, cause);
    }
  },
  replace: (path, bytes) => {
    const partial = `${path}.${Deno.pid}.partial`;
    try {
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      Deno.writeFileSync(partial, bytes);
      Deno.renameSync(partial, path);
    } catch (cause) {
      throw fileError("write", path, cause);
    }
  },
};

class DenoFile implements HostFile {
  readonly size: number;
  readonly #file: Deno.FsFile;

  constructor(readonly path: string, options: Deno.OpenOptions) {
    const file = Deno.openSync(path, options);
    const info = file.statSync();
    if (info.isDirectory) {
      file.close();
      throw new Deno.errors.IsADirectory("Is a directory");
    }
    this.#file = file;
    // A block device says size 0; its end is found by seeking.
    this.size = info.isFile ? info.size : file.seekSync(0, Deno.SeekMode.End);
  }

  read(offset: number, into: Uint8Array): number {
    try {
      this.#file.seekSync(offset, Deno.SeekMode.Start);
      let done = 0;
      while (done < into.length) {
        const count = this.#file.readSync(into.subarray(done));
        if (count === null || count === 0) break;
        done += count;
      }
      return done;
    } catch (cause) {
      throw fileError("read", this.path, cause);
    }
  }

  write(offset: number, bytes: Uint8Array): void {
    try {
      this.#file.seekSync(offset, Deno.SeekMode.Start);
      let done = 0;
      while (done < bytes.length) done += this.#file.writeSync(bytes.subarray(done));
    } catch (cause) {
      throw fileError("write", this.path, cause);
    }
  }

  async flush(): Promise<void> {
    try {
      await this.#file.syncData();
    } catch (cause) {
      throw fileError("flush", this.path, cause);
    }
  }

  flushNow(): void {
    try {
      this.#file.syncDataSync();
    } catch (cause) {
      throw fileError("flush", this.path, cause);
    }
  }

  close(): void {
    this.#file.close();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  NotFound: "there is no such file",
  AlreadyExists: "it exists already",
  PermissionDenied: "permission is denied",
  NotCapable: "this program was not given permission to access it",
  IsADirectory: "it is a directory",
  NotADirectory: "a part of its path is not a directory",
  FilesystemLoop: "its symbolic links go round in a circle",
};

function fileError(what: string, path: string, cause: unknown): HostError {
  const name = cause instanceof Error ? cause.name : "";
  const reason = REASONS[name] ?? (cause instanceof Error ? cause.message : String(cause));
  return new HostError(`Cannot ${what} "${path}": ${reason}`, { cause });
}
