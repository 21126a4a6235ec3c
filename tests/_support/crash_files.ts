/**
 * Files of a simulated computer in memory, whose process can be killed and whose power can be cut at any
 * operation that changes something (issue 5, "crash injector"). How to use it:
 *
 *     const count = async (files) => { await work(files); return files.operations; };
 *     for (let n = 0; n < await count(fresh()); n++) {
 *       const files = fresh();
 *       files.crashAt(n, seed);                       // operation n is cut, and throws PowerCut
 *       await work(files).catch(PowerCut.expected);
 *       check(files.afterKill());                     // what the next process finds
 *       check(files.afterPowerCut(seed));             // what the next start of the computer finds
 *     }
 *
 * Invariants: what follows is a function of the seeds; after the crash every operation throws, so that no
 * code can tidy up after its own death; copies share nothing that can change.
 */
import { HostError } from "../../kernel/base/errors.ts";
import { Prng } from "../../kernel/base/prng.ts";
import type {
  FileFacts,
  HostFile,
  HostFiles,
  HostLock,
  LockKind,
} from "../../kernel/host/files.ts";
import { SECTOR_BYTES } from "../../kernel/limits.ts";
import { CrashDisk, type Entry, folderOf, Inode } from "./crash_disk.ts";

/** The simulated process died, or its computer did. No HostError: nobody may handle it. */
export class PowerCut extends Error {
  override name = "PowerCut";

  /** For `catch`: lets this error pass, and throws any other. */
  static expected(this: void, error: unknown): void {
    if (!(error instanceof PowerCut)) throw error;
  }
}

function refused(what: string, path: string, reason: string): HostError {
  return new HostError(`Cannot ${what} "${path}": ${reason}`);
}

function clean(path: string): string {
  const short = path.replace(/^(\.\/)+/, "").replace(/(?<=.)\/+$/, "");
  return short === "" ? "." : short;
}

/** Files as one process of the simulated computer sees them. */
export class CrashFiles implements HostFiles {
  /** Operations so far that change something, among them flushes and syncs. */
  operations = 0;
  /** Most bytes that all files may have together; more is a full disk. */
  capacity = Infinity;
  #crashAt = Infinity;
  #random = new Prng(1);
  #dead = false;

  constructor(private readonly disk: CrashDisk = new CrashDisk()) {}

  /** Makes the operation with this number, the first being 0, the last; the seed says how much of it happens. */
  crashAt(operation: number, seed = 1): void {
    this.#crashAt = operation;
    this.#random = new Prng(seed);
  }

  /** Whether the crash has happened. */
  get crashed(): boolean {
    return this.#dead;
  }

  /** Dies now. */
  kill(): void {
    this.#dead = true;
    this.disk.releaseAll(this);
  }

  /** The same files as another process of this computer sees them; it has a count and a crash of its own. */
  otherProcess(): CrashFiles {
    return new CrashFiles(this.disk);
  }

  /** A copy of the files as a new process finds them after kill -9: all that was done survives. */
  afterKill(): CrashFiles {
    return new CrashFiles(this.disk.clone());
  }

  /** A copy of the files as a loss of power leaves them: all that was made durable survives. */
  afterPowerCut(seed: number): CrashFiles {
    return new CrashFiles(this.disk.afterPowerCut(seed));
  }

  /** Writes all files to a folder of the real disk, which exists; gives their paths there. */
  exportTo(folder: string): string[] {
    const paths: string[] = [];
    for (const [name, entry] of [...this.disk.names].sort(([a], [b]) => a < b ? -1 : 1)) {
      const path = `${folder}/${name.replace(/^\/+/, "")}`;
      Deno.mkdirSync(entry === "folder" ? path : folderOf(path), { recursive: true });
      if (entry === "folder") continue;
      const file = Deno.openSync(path, { write: true, create: true, truncate: true });
      for (const { offset, bytes } of entry.current.parts()) {
        file.seekSync(offset, Deno.SeekMode.Start);
        for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
      }
      file.truncateSync(entry.current.size);
      file.close();
      paths.push(path);
    }
    return paths;
  }

  /** Throws when the process is dead. */
  alive(): void {
    if (this.#dead) throw new PowerCut("the process is dead");
  }

  /** Counts an operation, and does it, unless it is the one at which all ends. */
  operate(act: () => void): void {
    this.alive();
    if (this.operations++ === this.#crashAt) {
      if (this.#random.below(2) === 0) act();
      this.#die();
    }
    act();
  }

  /** Counts a write, and does it, or its first sectors. */
  write(inode: Inode, path: string, offset: number, bytes: Uint8Array): void {
    this.alive();
    const more = Math.max(0, offset + bytes.length - inode.current.size);
    if (this.capacity < Infinity && this.disk.bytes + more > this.capacity) {
      throw refused("write", path, "the disk is full");
    }
    if (this.operations++ === this.#crashAt) {
      const first = Math.floor(offset / SECTOR_BYTES);
      const sectors = Math.ceil((offset + bytes.length) / SECTOR_BYTES) - first;
      const end = (first + this.#random.below(sectors + 1)) * SECTOR_BYTES;
      const count = Math.min(bytes.length, Math.max(0, end - offset));
      if (count > 0) inode.write(offset, bytes.subarray(0, count));
      this.#die();
    }
    inode.write(offset, bytes);
  }

  open(path: string, options?: { readonly write?: boolean }): HostFile {
    this.alive();
    const entry = this.#entry("open", path);
    if (entry === "folder") throw refused("open", path, "it is a directory");
    return new CrashFile(this, path, entry, options?.write ?? false);
  }

  create(path: string): HostFile {
    this.alive();
    this.#checkFree("make", path);
    const inode = new Inode();
    this.operate(() => this.disk.change(inode, undefined, clean(path)));
    return new CrashFile(this, path, inode, true);
  }

  createFolder(path: string): void {
    this.ensureFolder(path);
    const [first] = this.#namesIn(path, () => true);
    if (first !== undefined) throw refused("make", path, `there is "${first}" in it already`);
  }

  ensureFolder(path: string): void {
    this.alive();
    const folder = clean(path);
    if (this.#isFolder(folder)) return;
    if (this.disk.names.has(folder)) throw refused("make", path, "it exists already");
    this.ensureFolder(folderOf(folder));
    this.operate(() => this.disk.change("folder", undefined, folder));
  }

  list(path: string): string[] {
    return this.#namesIn(path, (entry) => entry !== "folder");
  }

  folders(path: string): string[] {
    return this.#namesIn(path, (entry) => entry === "folder");
  }

  exists(path: string): boolean {
    this.alive();
    return this.#isFolder(clean(path)) || this.disk.names.has(clean(path));
  }

  facts(path: string): FileFacts {
    this.alive();
    const entry = this.#entry("open", path);
    if (entry === "folder") return { path: clean(path), bytes: 0, modified: 0 };
    return { path: clean(path), bytes: entry.current.size, modified: entry.modified };
  }

  /** These files have no times: each may have changed just now. */
  stamp(path: string): { text: string; changed: number } {
    const entry = this.#entry("find", path);
    const size = entry === "folder" ? 0 : entry.current.size;
    return { text: `${size}`, changed: Infinity };
  }

  rename(from: string, to: string): void {
    this.alive();
    const entry = this.#entry("rename", from);
    if (entry === "folder") throw refused("rename", from, "it is a directory");
    if (this.disk.names.get(clean(to)) === "folder") {
      throw refused("rename", from, `there is a folder "${to}"`);
    }
    if (!this.#isFolder(folderOf(clean(to)))) {
      throw refused("rename", from, "there is no such file");
    }
    this.operate(() => this.disk.change(entry, clean(from), clean(to)));
  }

  remove(path: string): void {
    this.alive();
    const entry = this.#entry("remove", path);
    if (entry === "folder") throw refused("remove", path, "it is a directory");
    this.operate(() => this.disk.change(entry, clean(path), undefined));
  }

  removeFolder(path: string): void {
    this.alive();
    const entry = this.#entry("remove", path);
    if (entry !== "folder") throw refused("remove", path, "it is a file; expected a folder");
    if (this.#namesIn(path, () => true).length > 0) {
      throw refused("remove", path, "the folder is not empty");
    }
    this.operate(() => this.disk.change(entry, clean(path), undefined));
  }

  syncFolder(path: string): void {
    this.alive();
    if (!this.#isFolder(clean(path))) throw refused("flush", path, "there is no such file");
    this.operate(() => this.disk.syncFolder(clean(path)));
  }

  flushFolder(path: string): Promise<void> {
    return new Promise((resolve) => {
      this.syncFolder(path);
      resolve();
    });
  }

  async lock(path: string, kind: LockKind): Promise<HostLock> {
    this.#findLockFile(path, kind);
    const release = await this.disk.lock(clean(path), kind, this);
    this.alive();
    return this.#held(release);
  }

  tryLock(path: string, kind: LockKind): HostLock | undefined {
    this.#findLockFile(path, kind);
    const release = this.disk.tryLock(clean(path), kind, this);
    return release && this.#held(release);
  }

  readAll(path: string): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve) => {
      const file = this.open(path);
      const bytes = new Uint8Array(file.size);
      file.read(0, bytes);
      resolve(bytes);
    });
  }

  replace(path: string, bytes: Uint8Array): void {
    this.ensureFolder(folderOf(clean(path)));
    const partial = `${path}.partial`;
    if (this.exists(partial)) this.remove(partial);
    this.create(partial).write(0, bytes);
    this.rename(partial, path);
  }

  #die(): never {
    this.kill();
    throw new PowerCut(`at operation ${this.operations - 1}`);
  }

  #isFolder(folder: string): boolean {
    return folder === "." || folder === "/" || this.disk.names.get(folder) === "folder";
  }

  #entry(what: string, path: string): Entry {
    const entry = this.#isFolder(clean(path)) ? "folder" : this.disk.names.get(clean(path));
    if (entry === undefined) throw refused(what, path, "there is no such file");
    return entry;
  }

  #checkFree(what: string, path: string): void {
    if (this.exists(path)) throw refused(what, path, "it exists already");
    if (!this.#isFolder(folderOf(clean(path)))) throw refused(what, path, "there is no such file");
  }

  #namesIn(path: string, wanted: (entry: Entry) => boolean): string[] {
    this.alive();
    const folder = clean(path);
    if (!this.#isFolder(folder)) throw refused("list", path, "there is no such file");
    return [...this.disk.names]
      .filter(([name, entry]) => folderOf(name) === folder && wanted(entry))
      .map(([name]) => name.slice(name.lastIndexOf("/") + 1)).sort();
  }

  #findLockFile(path: string, { mustExist }: LockKind): void {
    this.alive();
    if (mustExist) this.#entry("lock", path);
    else if (!this.exists(path)) this.create(path);
  }

  #held(release: () => void): HostLock {
    let held = true;
    return {
      release: () => {
        if (held && !this.#dead) release();
        held = false;
      },
    };
  }
}

class CrashFile implements HostFile {
  readonly size: number;

  constructor(
    private readonly files: CrashFiles,
    readonly path: string,
    private readonly inode: Inode,
    private readonly writable: boolean,
  ) {
    this.size = inode.current.size;
  }

  read(offset: number, into: Uint8Array): number {
    this.files.alive();
    return this.inode.current.read(offset, into);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#checkWritable("write");
    this.files.write(this.inode, this.path, offset, bytes);
  }

  sizeNow(): number {
    this.files.alive();
    return this.inode.current.size;
  }

  truncate(size: number): void {
    this.#checkWritable("resize");
    this.files.operate(() => this.inode.resize(size));
  }

  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.flushNow();
      resolve();
    });
  }

  flushNow(): void {
    this.files.operate(() => this.inode.flush());
  }

  close(): void {}

  #checkWritable(what: string): void {
    this.files.alive();
    if (!this.writable) throw refused(what, this.path, "it was opened to be read only");
  }
}
