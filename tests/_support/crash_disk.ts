/**
 * What lies on the disk of a simulated computer: files, names and locks, and what of them a loss of power
 * would leave (kernel/host/files.ts says what must survive; nothing more does here).
 *
 * Rules of a loss of power. Of a file, what was flushed survives; of each write since then every sector may
 * or may not have reached the disk, and the size may be any that the file had since then. Of the changes of
 * names that no sync of their folders made durable, either those before some moment happened, or any choice
 * of them did; a rename happens as one.
 */
import { Prng } from "../../kernel/base/prng.ts";
import type { LockKind } from "../../kernel/host/files.ts";
import { SECTOR_BYTES } from "../../kernel/limits.ts";
import { SparseBytes } from "./sparse_bytes.ts";

/** A change of a file that was not flushed. */
type Change =
  | { readonly offset: number; readonly bytes: Uint8Array }
  | { readonly size: number };

/** A file, whatever its names are. */
export class Inode {
  /** What readers see. */
  current = new SparseBytes();
  /** When it last changed: a count of changes. */
  modified = 0;
  #flushedModified = 0;
  #flushed = new SparseBytes();
  #changes: Change[] = [];

  /** Writes bytes. */
  write(offset: number, bytes: Uint8Array): void {
    this.current.write(offset, bytes);
    this.modified++;
    this.#changes.push({ offset, bytes: bytes.slice() });
  }

  /** Changes the size. */
  resize(size: number): void {
    this.current.resize(size);
    this.modified++;
    this.#changes.push({ size });
  }

  /** Makes all of it durable. */
  flush(): void {
    if (this.#changes.length === 0) return;
    this.#flushed = this.current.clone();
    this.#flushedModified = this.modified;
    this.#changes = [];
  }

  /** A copy, with what is not flushed. */
  clone(): Inode {
    const inode = new Inode();
    inode.current = this.current.clone();
    inode.#flushed = this.#flushed.clone();
    inode.#changes = [...this.#changes];
    inode.modified = this.modified;
    inode.#flushedModified = this.#flushedModified;
    return inode;
  }

  /** What a loss of power leaves. `keeps` decides for each sector of each write. */
  afterPowerCut(random: Prng, keeps: () => boolean): Inode {
    const inode = new Inode();
    const left = this.#flushed.clone();
    const sizes = [left.size];
    for (const change of this.#changes) {
      if ("size" in change) {
        if (keeps()) left.resize(change.size);
        sizes.push(change.size);
        continue;
      }
      const { offset, bytes } = change;
      for (let at = 0; at < bytes.length;) {
        const count = Math.min(SECTOR_BYTES - (offset + at) % SECTOR_BYTES, bytes.length - at);
        if (keeps()) left.write(offset + at, bytes.subarray(at, at + count));
        at += count;
      }
      sizes.push(Math.max(sizes.at(-1)!, offset + bytes.length));
    }
    left.resize(keeps() ? sizes.at(-1)! : random.pick(sizes));
    inode.current = left;
    inode.#flushed = left.clone();
    inode.modified = this.#changes.length === 0 ? this.#flushedModified : this.modified;
    inode.#flushedModified = inode.modified;
    return inode;
  }
}

/** What a name stands for. */
export type Entry = Inode | "folder";

interface NameChange {
  /** Name that goes. */
  readonly from?: string;
  /** Name that comes. */
  readonly to?: string;
  readonly entry: Entry;
  /** Folders that still have to be synced. */
  readonly folders: Set<string>;
}

/** Folder that a path lies in. */
export function folderOf(path: string): string {
  const end = path.lastIndexOf("/");
  return end < 0 ? "." : end === 0 ? "/" : path.slice(0, end);
}

function apply(names: Map<string, Entry>, { from, to, entry }: NameChange): void {
  if (from !== undefined && names.get(from) === entry) names.delete(from);
  if (to !== undefined) names.set(to, entry);
}

interface Waiter {
  readonly kind: LockKind;
  readonly owner: unknown;
  readonly take: (release: () => void) => void;
}

/** The disk, and the locks of the system that runs on it. */
export class CrashDisk {
  /** What processes see. */
  readonly names = new Map<string, Entry>();
  readonly #durable = new Map<string, Entry>();
  #changes: NameChange[] = [];
  readonly #locks = new Map<string, { kind: LockKind; owner: unknown }[]>();
  readonly #waiters = new Map<string, Waiter[]>();

  /** Bytes of all files. */
  get bytes(): number {
    let sum = 0;
    for (const entry of this.names.values()) if (entry !== "folder") sum += entry.current.size;
    return sum;
  }

  /** Makes a name, removes one, or does both as one. */
  change(entry: Entry, from: string | undefined, to: string | undefined): void {
    const folders = [from, to].flatMap((path) => path === undefined ? [] : [folderOf(path)]);
    const change: NameChange = {
      entry,
      folders: new Set(folders),
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
    };
    apply(this.names, change);
    this.#changes.push(change);
  }

  /** Makes names in a folder durable. */
  syncFolder(path: string): void {
    this.#changes = this.#changes.filter((change) => {
      change.folders.delete(path);
      if (change.folders.size > 0) return true;
      apply(this.#durable, change);
      return false;
    });
  }

  /** A copy without locks, as a new process finds it. */
  clone(): CrashDisk {
    const copies = new Map<Entry, Entry>([["folder", "folder"]]);
    const copy = (entry: Entry): Entry => {
      let made = copies.get(entry);
      if (made === undefined) copies.set(entry, made = (entry as Inode).clone());
      return made;
    };
    const disk = new CrashDisk();
    for (const [name, entry] of this.names) disk.names.set(name, copy(entry));
    for (const [name, entry] of this.#durable) disk.#durable.set(name, copy(entry));
    disk.#changes = this.#changes.map((change) => ({
      ...change,
      entry: copy(change.entry),
      folders: new Set(change.folders),
    }));
    return disk;
  }

  /** What a loss of power leaves: all of what is not durable, none of it, or some. */
  afterPowerCut(seed: number): CrashDisk {
    const random = new Prng(seed);
    const likely = random.pick([0, 1, 1, 1, 2, 3, 4]);
    const keeps = () => random.below(4) < likely;
    const names = new Map(this.#durable);
    const isPrefix = random.below(2) === 0;
    const happened = random.below(this.#changes.length + 1);
    this.#changes.forEach((change, i) => {
      if (isPrefix ? i < happened : keeps()) apply(names, change);
    });
    const disk = new CrashDisk();
    const left = new Map<Inode, Inode>();
    for (const [name, entry] of names) {
      if (!hasFolders(names, name)) continue;
      let now: Entry = "folder";
      if (entry !== "folder") {
        now = left.get(entry) ?? entry.afterPowerCut(random, keeps);
        left.set(entry, now);
      }
      disk.names.set(name, now);
      disk.#durable.set(name, now);
    }
    return disk;
  }

  /** Takes a lock if it is free. */
  tryLock(path: string, kind: LockKind, owner: unknown): (() => void) | undefined {
    const holders = this.#locks.get(path) ?? [];
    if (holders.length > 0 && (kind.exclusive || holders[0]!.kind.exclusive)) return undefined;
    const holder = { kind, owner };
    this.#locks.set(path, [...holders, holder]);
    return () => {
      const others = this.#locks.get(path)?.filter((other) => other !== holder) ?? [];
      this.#locks.set(path, others);
      this.#serve(path);
    };
  }

  /** Takes a lock when it is free. */
  lock(path: string, kind: LockKind, owner: unknown): Promise<() => void> {
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(path) ?? [];
      this.#waiters.set(path, [...waiters, { kind, owner, take: resolve }]);
      this.#serve(path);
    });
  }

  /** Takes back the locks of a process that died. */
  releaseAll(owner: unknown): void {
    for (const [path, waiters] of this.#waiters) {
      this.#waiters.set(path, waiters.filter((waiter) => waiter.owner !== owner));
    }
    for (const [path, holders] of this.#locks) {
      this.#locks.set(path, holders.filter((holder) => holder.owner !== owner));
      this.#serve(path);
    }
  }

  #serve(path: string): void {
    const waiters = this.#waiters.get(path) ?? [];
    const left = waiters.filter(({ kind, owner, take }) => {
      const release = this.tryLock(path, kind, owner);
      if (release) take(release);
      return release === undefined;
    });
    this.#waiters.set(path, left);
  }
}

function hasFolders(names: ReadonlyMap<string, Entry>, name: string): boolean {
  for (let path = folderOf(name); path !== "." && path !== "/"; path = folderOf(path)) {
    if (names.get(path) !== "folder") return false;
  }
  return true;
}
