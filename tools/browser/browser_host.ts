/**
 * What reading a recording takes of a host (kernel/world/recordings.ts), in a browser's worker: files
 * over the network or chosen by the user, zstd and SHA-256 in TypeScript.
 *
 * Invariants: nothing is ever written; a file that cannot be read is a HostError that names it. Reads are
 * synchronous, as the host's are: a worker that replays has nothing else to do meanwhile.
 */
import { unreachable } from "../../kernel/base/assert.ts";
import { HostError } from "../../kernel/base/errors.ts";
import type { FileFacts, HostFile, HostFiles, HostLock } from "../../kernel/host/files.ts";
import type { RecordingHost } from "../../kernel/world/recordings.ts";
import type { FileSource } from "./messages.ts";
import { Sha256 } from "./sha256.ts";
import { web } from "./web.ts";
import { unpackZstd } from "./zstd.ts";

/** A file is read in parts of this many bytes, of which the last few are kept. */
const PART_BYTES = 1024 * 1024;
const PARTS_KEPT = 8;

/** Reads bytes of a source, which has at least as many. Throws when they cannot be had. */
export type ReadPart = (
  from: FileSource["from"],
  offset: number,
  bytes: number,
) => Uint8Array<ArrayBuffer>;

/** How a worker reads. */
export const readPart: ReadPart = (from, offset, bytes) => {
  if (typeof from !== "string") {
    const blob = from.slice(offset, offset + bytes);
    return new Uint8Array(new web.FileReaderSync().readAsArrayBuffer(blob));
  }
  const request = new web.XMLHttpRequest();
  request.open("GET", from, false);
  request.responseType = "arraybuffer";
  request.setRequestHeader("Range", `bytes=${offset}-${offset + bytes - 1}`);
  request.send();
  const got = new Uint8Array(request.response ?? new ArrayBuffer(0));
  if (request.status === 206) return got;
  // A server that knows no ranges sends all of it.
  if (request.status === 200) return got.slice(offset, offset + bytes);
  throw new Error(`the server answers with status ${request.status}`);
};

/** A host over a list of files. */
export function browserHost(
  sources: readonly FileSource[],
  read: ReadPart = readPart,
): RecordingHost {
  return {
    files: new ListedFiles(sources, read),
    compression: {
      pack: () => unreachable("a browser packs nothing"),
      unpack: unpackZstd,
      sha256: () => new Sha256(),
    },
  };
}

class ListedFiles implements HostFiles {
  constructor(private readonly sources: readonly FileSource[], private readonly part: ReadPart) {}

  open(path: string): HostFile {
    return new ListedFile(path, this.#find(path), this.part);
  }

  list(folder: string): string[] {
    const start = `${folder}/`;
    return this.sources.map(({ path }) => path)
      .filter((path) => path.startsWith(start) && !path.includes("/", start.length))
      .map((path) => path.slice(start.length)).sort();
  }

  readAll(path: string): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve) => {
      const file = this.open(path);
      const bytes = new Uint8Array(file.size);
      if (file.read(0, bytes) < bytes.length) throw fileError(path, "it became shorter");
      resolve(bytes);
    });
  }

  create(path: string): HostFile {
    throw readOnly(path);
  }

  createFolder(path: string): void {
    throw readOnly(path);
  }

  ensureFolder(path: string): void {
    throw readOnly(path);
  }

  folders(): string[] {
    return [];
  }

  exists(path: string): boolean {
    return this.sources.some((source) => source.path === path);
  }

  facts(path: string): FileFacts {
    throw fileError(path, "nothing is known of it");
  }

  stamp(): { text: string; changed: number } {
    return { text: "", changed: Infinity };
  }

  rename(from: string): void {
    throw readOnly(from);
  }

  remove(path: string): void {
    throw readOnly(path);
  }

  removeFolder(path: string): void {
    throw readOnly(path);
  }

  syncFolder(path: string): void {
    throw readOnly(path);
  }

  flushFolder(path: string): Promise<void> {
    return Promise.reject(readOnly(path));
  }

  lock(path: string): Promise<HostLock> {
    return Promise.reject(readOnly(path));
  }

  tryLock(path: string): HostLock {
    throw readOnly(path);
  }

  replace(path: string): void {
    throw readOnly(path);
  }

  #find(path: string): FileSource {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const source = this.sources.find((candidate) => candidate.path === path) ??
      this.sources.find((candidate) => candidate.anywhere && candidate.path === name);
    if (source === undefined) throw fileError(path, "it is not among the files");
    return source;
  }
}

class ListedFile implements HostFile {
  readonly #parts: { readonly at: number; readonly bytes: Uint8Array }[] = [];

  constructor(
    readonly path: string,
    private readonly source: FileSource,
    private readonly part: ReadPart,
  ) {}

  get size(): number {
    return this.source.bytes;
  }

  read(offset: number, into: Uint8Array): number {
    const end = Math.min(this.size, offset + into.length);
    let done = 0;
    while (offset + done < end) {
      const place = offset + done;
      const { at, bytes } = this.#partOf(place);
      const got = bytes.subarray(place - at, end - at);
      if (got.length === 0) break;
      into.set(got, done);
      done += got.length;
    }
    return done;
  }

  write(): void {
    throw readOnly(this.path);
  }

  sizeNow(): number {
    return this.size;
  }

  truncate(): void {
    throw readOnly(this.path);
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  flushNow(): void {}

  close(): void {
    this.#parts.length = 0;
  }

  #partOf(place: number): { readonly at: number; readonly bytes: Uint8Array } {
    const at = place - place % PART_BYTES;
    let part = this.#parts.find((candidate) => candidate.at === at);
    if (part === undefined) {
      const bytes = Math.min(PART_BYTES, this.size - at);
      try {
        part = { at, bytes: this.part(this.source.from, at, bytes) };
      } catch (cause) {
        throw fileError(this.path, cause instanceof Error ? cause.message : String(cause), cause);
      }
      this.#parts.unshift(part);
      if (this.#parts.length > PARTS_KEPT) this.#parts.pop();
    }
    return part;
  }
}

function fileError(path: string, reason: string, cause?: unknown): HostError {
  return new HostError(`Cannot read "${path}": ${reason}`, { cause });
}

function readOnly(path: string): HostError {
  return new HostError(`Cannot write "${path}": a browser only reads recordings`);
}
