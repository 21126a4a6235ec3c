/**
 * Checks and repairs images, with the counts of `qemu-img check` (issue 5, section 3).
 *
 * Invariants: checking changes nothing; nobody writes to an image while it is checked, and nobody uses one
 * while it is repaired.
 */
import { ConfigError } from "../../base/errors.ts";
import type { HostFile, HostFiles } from "../../host/files.ts";
import { ImageLocks } from "../image_files.ts";
import type { ImageUseOptions } from "../lock_image.ts";
import { refuseKept } from "../overlay_note.ts";
import { COMPRESSED, entryOffset } from "./cluster_map.ts";
import { type Qcow2Header, readHeader, viewOf } from "./header.ts";
import { ImageFile } from "./image_file.ts";
import { getRefcount } from "./refcount_entry.ts";
import { isCopied, Problems, References } from "./references.ts";
import { repairFile } from "./repair.ts";

/** What a check found. */
export interface Qcow2Check {
  /** Places where data is, or will be, lost. */
  readonly corruptions: number;
  /** Clusters that nothing uses and that do not count as free. */
  readonly leaks: number;
  /**
   * Whether it was not closed, and is whole but for its reference counts: they are made anew when it is next opened
   * for writing.
   */
  readonly isUnclosed: boolean;
  /** Reference counts, and flags by them, that are out of date because of that; no corruptions. */
  readonly stale: number;
  /** Corruptions that were there before a repair, and are no more. */
  readonly corruptionsFixed: number;
  /** Leaks that were there before a repair, and are no more. */
  readonly leaksFixed: number;
  /** What was out of date before a repair, and is no more. */
  readonly staleFixed: number;
  /** Clusters of the disk that have data of their own. */
  readonly allocatedClusters: number;
  /** Of these, compressed ones. */
  readonly compressedClusters: number;
  /** Clusters of the disk. */
  readonly totalClusters: number;
  /** End of the last cluster in use, in bytes. */
  readonly imageEnd: number;
  /** The first problems, for people. */
  readonly problems: readonly string[];
}

/** What to repair: leaked clusters and what is out of date only, or everything. */
export type Qcow2Repair = "leaks" | "all";

/** How to check an image. */
export interface Qcow2CheckOptions extends Pick<ImageUseOptions, "keeps"> {
  /** What to repair; nothing by default. */
  readonly repair?: Qcow2Repair;
}

/**
 * Checks an image that nobody writes to, and repairs one that nobody uses when asked to. What a crash left in an
 * overlay stays there: it could not be written into a damaged image. Rejects with `ConfigError` when somebody
 * uses it or a checkpoint keeps it, `FormatError` when it is no image or cannot be repaired so, and `HostError`.
 */
export async function checkQcow2(
  files: HostFiles,
  path: string,
  options: Qcow2CheckOptions = {},
): Promise<Qcow2Check> {
  const { repair, keeps } = options;
  if (repair !== undefined && repair !== "leaks" && repair !== "all") {
    throw new ConfigError(`Cannot repair "${repair}": expected leaks or all`);
  }
  const locks = new ImageLocks(files);
  const { path: real } = files.facts(path);
  locks.take(real, repair !== undefined);
  try {
    if (repair !== undefined) refuseKept(files, real, keeps);
    return await checkLocked(files, path, repair);
  } finally {
    locks.releaseAll();
  }
}

async function checkLocked(
  files: HostFiles,
  path: string,
  repair: Qcow2Repair | undefined,
): Promise<Qcow2Check> {
  const before = withFile(files, path, false, (file) => inspect(file));
  if (repair === undefined) return before;
  const needsRepair = repair === "leaks"
    ? (before.leaks > 0 || before.isUnclosed) && before.corruptions === 0
    : before.leaks > 0 || before.corruptions > 0 || isMarked(files, path);
  if (!needsRepair) return before;
  const file = files.open(path, { write: true });
  try {
    await repairFile(new ImageFile(file), readHeader(file));
  } finally {
    file.close();
  }
  const after = withFile(files, path, false, (again) => inspect(again));
  return {
    ...after,
    corruptionsFixed: Math.max(0, before.corruptions - after.corruptions),
    leaksFixed: Math.max(0, before.leaks - after.leaks),
    staleFixed: Math.max(0, before.stale - after.stale),
  };
}

function withFile<T>(
  files: HostFiles,
  path: string,
  write: boolean,
  work: (file: HostFile) => T,
): T {
  const file = files.open(path, { write });
  try {
    return work(file);
  } finally {
    file.close();
  }
}

function isMarked(files: HostFiles, path: string): boolean {
  const { isDirty, isCorrupt } = withFile(files, path, false, readHeader);
  return isDirty || isCorrupt;
}

function inspect(hostFile: HostFile): Qcow2Check {
  const file = new ImageFile(hostFile);
  const header = readHeader(hostFile);
  const problems = new Problems();
  const references = new References(file, header, problems);
  references.countContents();
  // What repairDirty refuses is not mended when the image is opened.
  problems.areMended = header.isDirty && !header.isCorrupt && problems.corruptions === 0;
  const blocks = references.countRefcounts();
  const stored = storedRefcounts(file, header, blocks, references.counts.length, problems);
  const imageEnd = compare(stored, references.counts, problems) * header.clusterBytes;
  checkFlags(references, header, stored, problems);
  return {
    corruptions: problems.corruptions,
    leaks: problems.leaks,
    isUnclosed: problems.areMended,
    stale: problems.stale,
    corruptionsFixed: 0,
    leaksFixed: 0,
    staleFixed: 0,
    allocatedClusters: references.allocated,
    compressedClusters: references.compressed,
    totalClusters: Math.ceil(header.bytes / header.clusterBytes),
    imageEnd,
    problems: problems.lines,
  };
}

/** The refcounts that the file has, at most 65535; those of clusters that the file has not are leaks. */
function storedRefcounts(
  file: ImageFile,
  { clusterBytes, refcountOrder }: Qcow2Header,
  blocks: Float64Array,
  clusters: number,
  problems: Problems,
): Uint16Array {
  const stored = new Uint16Array(clusters);
  const perBlock = clusterBytes * 8 / 2 ** refcountOrder;
  const block = new Uint8Array(clusterBytes);
  blocks.forEach((offset, index) => {
    if (offset === 0) return;
    file.read(offset, block);
    for (let i = 0; i < perBlock; i++) {
      const count = getRefcount(viewOf(block), refcountOrder, i);
      const cluster = index * perBlock + i;
      if (cluster < clusters) stored[cluster] = Math.min(count, 0xffff);
      else if (count > 0) problems.leak(`cluster ${cluster} is not in the file: refcount ${count}`);
    }
  });
  return stored;
}

/** Compares refcounts; gives the end of the clusters in use. */
function compare(stored: Uint16Array, counts: Uint16Array, problems: Problems): number {
  let end = 0;
  for (let cluster = 0; cluster < counts.length; cluster++) {
    const [is, should] = [stored[cluster]!, counts[cluster]!];
    if (is > 0 || should > 0) end = cluster + 1;
    if (is === should) continue;
    const line = `cluster ${cluster} is used ${should} times: refcount ${is}`;
    if (is > should) problems.leak(line);
    else problems.mismatch(line);
  }
  return end;
}

function checkFlags(
  references: References,
  { clusterBytes }: Qcow2Header,
  stored: Uint16Array,
  problems: Problems,
): void {
  references.visitActive(({ table, view, at, isGood }) => {
    const isCompressed = table === "L2" && (view.getUint32(at) & COMPRESSED) !== 0;
    const offset = isCompressed ? 0 : entryOffset(view, at);
    const isOnly = offset !== 0 && stored[offset / clusterBytes] === 1;
    if (isGood && isOnly !== isCopied(view, at)) {
      const says = isOnly ? "shared, but its refcount is 1" : "used once, but it is not";
      problems.mismatch(
        `an entry of the ${table} table says that cluster at ${offset} is ${says}`,
      );
    }
    return false;
  });
}
