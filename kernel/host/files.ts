/**
 * Files of the host, opened in the kernel world only: a VM world has no permission to.
 *
 * What survives what: every operation that has returned survives the death of this process. A loss of power
 * is survived by bytes and sizes after `flush` of their file, and by names (made, renamed, removed) after
 * `syncFolder` or `flushFolder` of the folders that they lie in. tests/_support/crash_files.ts simulates just this.
 *
 * Invariant: reads and writes name their offset, and no other operation comes between the seek and
 * the transfer (both are synchronous), so requests of several disks may interleave.
 */
import { HostError } from "../base/errors.ts";
import { allocateFile } from "./allocate.ts";

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
  /** Size in bytes now. Throws `HostError`. */
  sizeNow(): number;
  /** Cuts the file to a size in bytes, or makes it longer with zeros. Throws `HostError`. */
  truncate(size: number): void;
  /** Resolves when all that was written is on stable storage. Rejects with `HostError`. */
  flush(): Promise<void>;
  /** The same, not returning before. Throws `HostError`. */
  flushNow(): void;
  /** Closes the file. */
  close(): void;
}

/** A lock that this process holds. The host takes it back when the process dies. */
export interface HostLock {
  /** Gives it back; more than once does nothing. */
  release(): void;
}

/** Which kind of lock is asked for. */
export interface LockKind {
  /** Whether nobody else may hold it; otherwise others may share it. */
  readonly exclusive: boolean;
  /** Whether a file that does not exist is refused; it is made by default. */
  readonly mustExist?: boolean;
}

/** What the host says of a file. */
export interface FileFacts {
  /** Its one path, from the root, whatever links lead to it. */
  readonly path: string;
  /** Size in bytes. */
  readonly bytes: number;
  /** When its contents last changed: milliseconds since 1970. */
  readonly modified: number;
}

/** Access to the host's files. */
export interface HostFiles {
  /** Opens an existing file, throws `HostError` naming it and the reason. */
  open(path: string, options?: { readonly write?: boolean }): HostFile;
  /** Makes a file that must not exist, to be read and written. Throws `HostError`. */
  create(path: string): HostFile;
  /** Makes a folder and those that it lies in; one that exists must be empty. Throws `HostError`. */
  createFolder(path: string): void;
  /**
   * Makes a folder and those that it lies in where they do not exist. Throws `HostError`.
   *
   * @param isPrivate whether those that are made are this user's alone
   */
  ensureFolder(path: string, isPrivate?: boolean): void;
  /** Names of the files in a folder, sorted. Throws `HostError`. */
  list(path: string): string[];
  /** Names of the folders in a folder, sorted. Throws `HostError`. */
  folders(path: string): string[];
  /** Whether there is a file or folder of this name. Throws `HostError` when that cannot be told. */
  exists(path: string): boolean;
  /** What the host says of a file or folder. Throws `HostError`. */
  facts(path: string): FileFacts;
  /**
   * What a file is by its size, place and times: `text` changes when its content does, unless that happens
   * within a tick of the file system's clock; `changed` is when it changed last, in milliseconds since 1970,
   * Infinity where that is not known. Throws `HostError`.
   */
  stamp(path: string): { readonly text: string; readonly changed: number };
  /** Gives a file another name, in one step, in place of a file that had it. Throws `HostError`. */
  rename(from: string, to: string): void;
  /** Removes a file. Throws `HostError`. */
  remove(path: string): void;
  /** Removes a folder, which must be empty. Throws `HostError`. */
  removeFolder(path: string): void;
  /** Does not return before the names in a folder are on stable storage. Throws `HostError`. */
  syncFolder(path: string): void;
  /** Resolves when the names in a folder are on stable storage. Rejects with `HostError`. */
  flushFolder(path: string): Promise<void>;
  /**
   * Takes a lock, waiting for it. The file is made when it does not exist, unless it must, and must never be
   * removed or renamed while others may want the lock. Two locks of one process stand in each other's way, too.
   * Rejects with `HostError`.
   */
  lock(path: string, kind: LockKind): Promise<HostLock>;
  /** Takes a lock if it is free, else gives undefined. Throws `HostError`. */
  tryLock(path: string, kind: LockKind): HostLock | undefined;
  /** Reads a whole file, rejects with `HostError` naming it and the reason. */
  readAll(path: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Makes or replaces a file as a whole, and the folders that it lies in. Throws `HostError`. */
  replace(path: string, bytes: Uint8Array): void;
  /**
   * Takes the room of a file's first bytes, where the host can; gives whether it did. What was never written reads
   * as zeros. Throws HostError when there is not so much room. A host without it never can.
   */
  readonly allocate?: (path: string, bytes: number) => boolean;
}

/** Does something with a file or folder; what it throws becomes a `HostError`. */
function attempt<T>(what: string, path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw fileError(what, path, cause);
  }
}

function openLock(path: string, { exclusive, mustExist = false }: LockKind): Deno.FsFile {
  // Some file systems give a lock on a file alone only to those who may write to it.
  const write = exclusive || !mustExist;
  return attempt(
    "lock",
    path,
    () => Deno.openSync(path, { read: true, write, create: !mustExist }),
  );
}

function heldLock(file: Deno.FsFile): HostLock {
  let held = true;
  return {
    release: () => {
      if (!held) return;
      held = false;
      // Closing the file would do, if no other thread were just starting a process: that has the file, too, until
      // it has become another program.
      file.unlockSync();
      file.close();
    },
  };
}

function namesIn(path: string, wanted: (entry: Deno.DirEntry) => boolean): string[] {
  return attempt("list", path, () => {
    return [...Deno.readDirSync(path)].filter(wanted).map(({ name }) => name).sort();
  });
}

/** Files of the computer this code runs on. */
export const hostFiles: HostFiles = {
  open: (path, options) =>
    attempt("open", path, () => {
      return new DenoFile(path, { read: true, write: options?.write ?? false });
    }),
  create: (path) =>
    attempt("make", path, () => {
      return new DenoFile(path, { read: true, write: true, createNew: true });
    }),
  createFolder: (path) =>
    attempt("make", path, () => {
      Deno.mkdirSync(path, { recursive: true });
      for (const { name } of Deno.readDirSync(path)) {
        throw new Error(`there is "${name}" in it already; expected a new or empty folder`);
      }
    }),
  ensureFolder: (path, isPrivate = false) =>
    attempt("make", path, () => {
      Deno.mkdirSync(path, { recursive: true, ...isPrivate && { mode: 0o700 } });
    }),
  list: (path) => namesIn(path, ({ isFile }) => isFile),
  folders: (path) => namesIn(path, ({ isDirectory }) => isDirectory),
  exists: (path) => {
    try {
      Deno.lstatSync(path);
      return true;
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return false;
      throw fileError("find", path, cause);
    }
  },
  facts: (path) =>
    attempt("open", path, () => {
      const real = Deno.realPathSync(path);
      const { size, mtime } = Deno.statSync(real);
      return { path: real, bytes: size, modified: mtime?.getTime() ?? 0 };
    }),
  stamp: (path) =>
    attempt("find", path, () => {
      const { size, mtime, ctime, ino, dev } = Deno.statSync(path);
      const times = [mtime, ctime].map((time) => time?.getTime() ?? 0);
      return { text: [size, ...times, dev, ino].join(" "), changed: Math.max(...times) };
    }),
  allocate: allocateFile,
  rename: (from, to) => attempt("rename", from, () => Deno.renameSync(from, to)),
  remove: (path) =>
    attempt("remove", path, () => {
      if (Deno.lstatSync(path).isDirectory) throw new Deno.errors.IsADirectory("Is a directory");
      Deno.removeSync(path);
    }),
  removeFolder: (path) =>
    attempt("remove", path, () => {
      if (!Deno.lstatSync(path).isDirectory) throw new Error("it is a file; expected a folder");
      Deno.removeSync(path);
    }),
  syncFolder: (path) =>
    attempt("flush", path, () => {
      const folder = Deno.openSync(path, { read: true });
      try {
        folder.syncSync();
      } finally {
        folder.close();
      }
    }),
  flushFolder: async (path) => {
    const folder = attempt("flush", path, () => Deno.openSync(path, { read: true }));
    try {
      await folder.sync();
    } catch (cause) {
      throw fileError("flush", path, cause);
    } finally {
      folder.close();
    }
  },
  lock: async (path, kind) => {
    const file = openLock(path, kind);
    try {
      // What is free is had at once, without a way through another thread.
      if (!file.tryLockSync(kind.exclusive)) await file.lock(kind.exclusive);
      return heldLock(file);
    } catch (cause) {
      file.close();
      throw fileError("lock", path, cause);
    }
  },
  tryLock: (path, kind) => {
    const file = openLock(path, kind);
    try {
      if (file.tryLockSync(kind.exclusive)) return heldLock(file);
    } catch (cause) {
      file.close();
      throw fileError("lock", path, cause);
    }
    file.close();
    return undefined;
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
    attempt("write", path, () => {
      Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      Deno.writeFileSync(partial, bytes);
      Deno.renameSync(partial, path);
    });
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

  sizeNow(): number {
    return attempt("read", this.path, () => {
      const info = this.#file.statSync();
      return info.isFile ? info.size : this.#file.seekSync(0, Deno.SeekMode.End);
    });
  }

  truncate(size: number): void {
    attempt("resize", this.path, () => this.#file.truncateSync(size));
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

/** Reasons by the system's code, where the runtime's error has no name of its own. */
const REASONS_BY_CODE: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would become larger than the file system or a limit allows",
  EROFS: "the file system is read-only",
  EIO: "the disk reports an error",
  ENOTEMPTY: "the folder is not empty",
  EXDEV: "the two names are on different file systems",
  EMFILE: "this program has too many files open",
};

function fileError(what: string, path: string, cause: unknown): HostError {
  const { name, code } = cause instanceof Error
    ? cause as Error & { readonly code?: string }
    : { name: "", code: undefined };
  const reason = REASONS[name] ?? REASONS_BY_CODE[code ?? ""] ??
    (cause instanceof Error ? cause.message : String(cause));
  return new HostError(`Cannot ${what} "${path}": ${reason}`, { cause });
}
