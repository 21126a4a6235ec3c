/**
 * Checks and repairs images, with the counts of `qemu-img check` (issue 5, section 3).
 *
 * Invariants: checking changes nothing; a repair that stops half way leaves an image that can be repaired:
 * with version 3 it is marked dirty from before the first change to after the last.
 */
import { ConfigError, FormatError } from "../../base/errors.ts";
import type { HostFile, HostFiles } from "../../host/files.ts";
import { COMPRESSED, COPIED, entryOffset, ZERO } from "./cluster_map.ts";
import { type Qcow2Header, readHeader, viewOf } from "./header.ts";
import { changeFeatures, ImageFile } from "./image_file.ts";
import { writeRefcountPlace, writeRefcounts } from "./rebuild.ts";
import { getRefcount } from "./refcount_entry.ts";
import { isCopied, Problems, References } from "./references.ts";

/** What a check found. */
export interface Qcow2Check {
  /** Places where data is, or will be, lost. */
  readonly corruptions: number;
  /** Clusters that nothing uses and that do not count as free. */
  readonly leaks: number;
  /** How many of either were there before a repair, and are no more. */
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  /** Clusters of the disk that have data of their own, and of these compressed ones. */
  readonly allocatedClusters: number;
  readonly compressedClusters: number;
  /** Clusters of the disk. */
  readonly totalClusters: number;
  /** End of the last cluster in use, in bytes. */
  readonly imageEnd: number;
  /** The first problems, for people. */
  readonly problems: readonly string[];
}

/** What to repair: leaked clusters only, or everything. */
export type Qcow2Repair = "leaks" | "all";

/**
 * Checks an image that nobody uses, and repairs it when asked to. Rejects with `FormatError` when it is no
 * image or cannot be repaired so, and `HostError`.
 */
export async function checkQcow2(
  files: HostFiles,
  path: string,
  options: { readonly repair?: Qcow2Repair } = {},
): Promise<Qcow2Check> {
  const { repair } = options;
  if (repair !== undefined && repair !== "leaks" && repair !== "all") {
    throw new ConfigError(`Cannot repair "${repair}": expected leaks or all`);
  }
  const before = withFile(files, path, false, (file) => inspect(file));
  if (repair === undefined) return before;
  const needsRepair = repair === "leaks"
    ? before.leaks > 0 && before.corruptions === 0
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
  };
}

/**
 * Repairs the refcounts of an image that was not closed. Rejects with `FormatError` when it is damaged
 * otherwise, which needs to be asked for.
 */
export async function repairDirty(file: HostFile, header: Qcow2Header): Promise<void> {
  const image = new ImageFile(file);
  const problems = new Problems();
  new References(image, header, problems).countContents();
  if (problems.corruptions > 0) {
    throw new FormatError(
      `"${file.path}" was not closed and is damaged (${problems.lines[0]}): ` +
        "`disk check --repair all` makes the best of it",
    );
  }
  await repairFile(image, header);
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
  const blocks = references.countRefcounts();
  const stored = storedRefcounts(file, header, blocks, references.counts.length, problems);
  const imageEnd = compare(stored, references.counts, problems) * header.clusterBytes;
  checkFlags(references, header, stored, problems);
  return {
    corruptions: problems.corruptions,
    leaks: problems.leaks,
    corruptionsFixed: 0,
    leaksFixed: 0,
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
    else problems.corruption(line);
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
      problems.corruption(
        `an entry of the ${table} table says that cluster at ${offset} is ${says}`,
      );
    }
    return false;
  });
}

/** Makes refcounts and flags what they should be; entries that lead nowhere lead to nothing then. */
async function repairFile(file: ImageFile, header: Qcow2Header): Promise<void> {
  if (header.version === 3) {
    changeFeatures(file, { dirty: true });
    await file.flush();
  }
  const found = new Problems();
  let references = new References(file, header, found);
  references.countContents();
  if (found.corruptions > 0) {
    removeBadEntries(references, header);
    references = new References(file, header, new Problems());
    references.countContents();
  }
  setFlags(references, header);
  const { clusterBytes, refcountOrder } = header;
  const place = writeRefcounts(file, clusterBytes, refcountOrder, references.counts);
  await file.flush();
  writeRefcountPlace(file, place);
  await file.flush();
  if (header.version === 3) {
    changeFeatures(file, { dirty: false, corrupt: false });
    await file.flush();
  }
}

function removeBadEntries(references: References, header: Qcow2Header): void {
  const hidesBacking = header.version === 3 && header.backingName !== undefined;
  references.visitActive(({ table, view, at, isGood }) => {
    if (isGood) return false;
    view.setUint32(at, 0);
    view.setUint32(at + 4, table === "L2" && hidesBacking ? ZERO : 0);
    return true;
  });
}

function setFlags(references: References, { clusterBytes }: Qcow2Header): void {
  references.visitActive(({ table, view, at }) => {
    const isCompressed = table === "L2" && (view.getUint32(at) & COMPRESSED) !== 0;
    const offset = isCompressed ? 0 : entryOffset(view, at);
    const isOnly = offset !== 0 && references.counts[offset / clusterBytes] === 1;
    if (isOnly === isCopied(view, at)) return false;
    view.setUint32(at, (view.getUint32(at) & ~COPIED | (isOnly ? COPIED : 0)) >>> 0);
    return true;
  });
}
