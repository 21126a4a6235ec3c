/**
 * Deletes checkpoints, and collects what nothing refers to any more (issue 5, "delete with garbage
 * collection"). The store must be locked exclusively: nobody saves, and nobody opens a checkpoint.
 *
 * Order of a deletion: children of the checkpoint get maps that are differences to its parent, one after
 * another, each in one step; these are durable before the checkpoint goes; that it has gone is durable before
 * a page goes that only it had.
 *
 * Invariants: after a crash at any instant every checkpoint is whole; while a checkpoint cannot be read, or is
 * missing that others need, no pack is removed or made smaller, because it may be the one that refers to it.
 */
import { ConfigError, FormatError } from "../base/errors.ts";
import { PARTIAL } from "../datastore/pack_writer.ts";
import { PackReader } from "../datastore/pack_reader.ts";
import { LivePages, rewritePack } from "../datastore/pack_rewriter.ts";
import { mergeMaps } from "../datastore/page_map.ts";
import type { Claims } from "./claims.ts";
import type { CheckpointHead } from "./checkpoint_format.ts";
import { writeCheckpoint } from "./checkpoint_file.ts";
import { collectDisks } from "./disk_folder.ts";
import { named, type StoreFolder } from "./store_folder.ts";

/** What a collection did. */
export interface Collected {
  /** Bytes of packs and disks that were freed. */
  readonly bytes: number;
  /** Packs and disks that were removed. */
  readonly removed: number;
  /** Packs that were made smaller. */
  readonly rewritten: number;
  /** What could not be collected, and why. */
  readonly problems: readonly string[];
}

/** Dead pages beyond which a pack is rewritten when they are a quarter of it, not only when they are half. */
const MANY_PAGES = 16_384;

/** Whether a pack is worth rewriting. */
function worthRewriting(pages: number, live: number): boolean {
  const dead = pages - live;
  return 2 * dead > pages || (dead >= MANY_PAGES && 4 * dead > pages);
}

/** Deletes checkpoints; children keep all their pages. Rejects with ConfigError, FormatError and HostError. */
export async function deleteCheckpoints(
  folder: StoreFolder,
  claims: Claims,
  ids: readonly string[],
): Promise<void> {
  const { files } = folder.host;
  for (const id of ids) {
    if (!folder.has(id)) throw new ConfigError(`There is no checkpoint ${id} to delete`);
  }
  await claims.unclaimed(ids, () => {});
  folder.ensureDurable();
  sweepPartials(folder);
  const left = new Set(ids);
  const deleteOne = async (id: string): Promise<void> => {
    left.delete(id);
    // Asked anew each time: a child that goes as well leaves its children to this one.
    for (let child; (child = childrenOf(folder, id, ids)[0]) !== undefined;) {
      if (ids.includes(child)) await deleteOne(child);
      else await adopt(folder, id, child);
    }
    await claims.unclaimed([id], () => files.remove(folder.checkpointPath(id)));
    if (files.exists(folder.workingSetPath(id))) files.remove(folder.workingSetPath(id));
    await files.flushFolder(folder.checkpoints);
  };
  for (const id of ids) if (left.has(id)) await deleteOne(id);
}

/**
 * Ids of children. Throws FormatError when there is a checkpoint that cannot be read, and so may be one,
 * unless it is deleted as well.
 */
function childrenOf(folder: StoreFolder, id: string, deleted: readonly string[]): string[] {
  return folder.checkpointIds().filter((other) => {
    try {
      return other !== id && folder.head(other).parent === id;
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      if (deleted.includes(other)) return false;
      throw new FormatError(
        `Cannot delete checkpoint ${id}, which one that cannot be read may need: ${error.message}`,
        { cause: error },
      );
    }
  });
}

/** Makes a child's map a difference to its grandparent's. */
async function adopt(folder: StoreFolder, parentId: string, childId: string): Promise<void> {
  const child = folder.open(childId);
  const parent = named(childId, () => folder.open(parentId));
  if (parent.head.memoryPages !== child.head.memoryPages) {
    throw new FormatError(`checkpoint ${childId}: its parent ${parentId} has other memory`);
  }
  const { map, packs } = mergeMaps(
    { map: named(parentId, () => parent.map()), packs: parent.head.packs },
    { map: named(childId, () => child.map()), packs: child.head.packs },
    child.head.memoryPages,
  );
  const head: CheckpointHead = { ...child.head, parent: parent.head.parent, packs };
  const [state, active] = named(childId, () => [child.state(), child.active()] as const);
  const bytes = writeCheckpoint({ head, state, map, active }, folder.host.codec);
  await folder.replaceCheckpoint(childId, bytes);
}

/** Removes files that a save or a collection left when it died. */
export function sweepPartials(folder: StoreFolder): void {
  const { files } = folder.host;
  for (const path of [folder.packs, folder.checkpoints, folder.disks]) {
    for (const name of files.list(path)) {
      if (name.endsWith(PARTIAL)) files.remove(`${path}/${name}`);
    }
  }
}

/** Deletes states that forks shared and nobody holds any more: their process has ended. */
async function deleteLeftForks(folder: StoreFolder, claims: Claims): Promise<string[]> {
  try {
    const left: string[] = [];
    for (const id of folder.checkpointIds()) {
      if (!isFork(folder, id) || await claims.state(id) === "in use") continue;
      left.push(id);
    }
    if (left.length > 0) await deleteCheckpoints(folder, claims, left);
    return [];
  } catch (error) {
    if (error instanceof FormatError) return [error.message];
    throw error;
  }
}

function isFork(folder: StoreFolder, id: string): boolean {
  try {
    return folder.head(id).kind === "fork";
  } catch (error) {
    if (error instanceof FormatError) return false;
    throw error;
  }
}

/**
 * Removes states that only forks of processes that have ended shared, packs that nothing refers to, and pages of
 * others. Rejects with HostError.
 */
export async function collect(folder: StoreFolder, claims: Claims): Promise<Collected> {
  const { files, codec } = folder.host;
  folder.ensureDurable();
  sweepPartials(folder);
  const problems = await deleteLeftForks(folder, claims);
  for (const id of folder.workingSetIds()) {
    if (!folder.has(id)) files.remove(folder.workingSetPath(id));
  }
  // A checkpoint that a crash removed halfway must not come back after its pages have gone.
  await files.flushFolder(folder.checkpoints);
  await claims.sweep();
  const live = livePages(folder, problems);
  let [bytes, removed, rewritten] = [0, 0, 0];
  if (live === undefined) return { bytes, removed, rewritten, problems };
  for (const id of folder.packIds()) {
    const path = folder.packPath(id);
    const pack = PackReader.open(files, path, id, codec);
    try {
      const used = live.get(id);
      if (used === undefined) {
        files.remove(path);
        removed++;
        bytes += pack.bytes;
      } else if (worthRewriting(pack.footer.pages, used.count)) {
        await rewritePack(pack, used, { files, codec, path });
        rewritten++;
        bytes += pack.bytes - sizeOf(folder, path);
      }
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      problems.push(error.message);
    } finally {
      pack.close();
    }
  }
  await files.flushFolder(folder.packs);
  const disks = collectDisks(folder);
  return { bytes: bytes + disks.bytes, removed: removed + disks.removed, rewritten, problems };
}

function sizeOf(folder: StoreFolder, path: string): number {
  const file = folder.host.files.open(path);
  file.close();
  return file.size;
}

/** Pages of each pack that maps name; undefined when a map cannot be read, or is missing. */
function livePages(folder: StoreFolder, problems: string[]): Map<string, LivePages> | undefined {
  const live = new Map<string, LivePages>();
  for (const id of folder.checkpointIds()) {
    try {
      const { head, map } = named(id, () => {
        const file = folder.open(id);
        return { head: file.head, map: file.map() };
      });
      // It may only be missing for now: what it alone refers to is to be there when it comes back.
      if (head.parent !== null && !folder.has(head.parent)) {
        throw new FormatError(`checkpoint ${id} needs ${head.parent}, which is not there`);
      }
      const marks = head.packs.map((pack) => {
        let pages = live.get(pack);
        if (pages === undefined) live.set(pack, pages = new LivePages());
        return pages;
      });
      map.packs.forEach((pack, i) => {
        if (pack !== 0) marks[pack - 1]!.add(map.indices[i]!, map.counts[i]!);
      });
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      problems.push(`${error.message}; no pack is removed while it is there`);
      return undefined;
    }
  }
  return live;
}
