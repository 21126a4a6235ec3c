/**
 * The store's files of disks (S17.5, S17.10; issue 5, "Disks" and "Forks"):
 *
 *     disks/ID.diskN.qcow2      what disk N of checkpoint ID was; may be based on another one
 *     disks/ID.overlay.qcow2    what a VM that goes on from a checkpoint writes, or wrote until it was suspended
 *     *.partial                 being made, or was when somebody died
 *
 * A VM has its overlay locked alone, and shares what that is based on. So a file without a lock that no
 * checkpoint refers to is nobody's.
 *
 * Invariants: a file with its final name is whole, and durable before a checkpoint refers to it; it is removed
 * by its VM, or by a holder of the store's exclusive lock when nobody has it locked; whoever makes one, or
 * begins to use one, has the store's lock, shared, until it is locked itself.
 */
import { FormatError } from "../base/errors.ts";
import { storeFilesOf } from "./saved_disk.ts";
import { named, type StoreFolder } from "./store_folder.ts";

/** End of the names of all disks. */
const END = ".qcow2";

/** Name of the copy of a disk. */
export const copyName = (checkpoint: string, disk: number) => `${checkpoint}.disk${disk}${END}`;

/** Name of the overlay of a VM. */
export const overlayName = (id: string) => `${id}.overlay${END}`;

/** Removes disks that no checkpoint and no VM has. The store must be locked exclusively. Throws HostError. */
export function collectDisks(folder: StoreFolder): { bytes: number; removed: number } {
  const { files } = folder.host;
  const found = { bytes: 0, removed: 0 };
  const names = files.list(folder.disks).filter((name) => name.endsWith(END));
  if (names.length === 0) return found;
  const used = usedNames(folder);
  // One that cannot be read may refer to any.
  if (used === undefined) return found;
  for (const name of names) {
    if (used.has(name)) continue;
    const path = `${folder.disks}/${name}`;
    const lock = files.tryLock(path, { exclusive: true });
    if (lock === undefined) continue;
    try {
      const { bytes } = files.facts(path);
      files.remove(path);
      found.bytes += bytes;
      found.removed++;
    } finally {
      lock.release();
    }
  }
  return found;
}

/** Names that checkpoints refer to; undefined when one cannot be read. */
function usedNames(folder: StoreFolder): Set<string> | undefined {
  const used = new Set<string>();
  for (const id of folder.checkpointIds()) {
    try {
      const { disks } = named(id, () => folder.open(id).state());
      for (const name of storeFilesOf(disks)) used.add(name);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return undefined;
    }
  }
  return used;
}
