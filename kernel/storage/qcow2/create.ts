/**
 * Makes qcow2 images of version 3 (issue 5, section 3).
 *
 * Invariants: how long that takes does not depend on the size of the disk, unless its tables are made in
 * advance; the header is written last, so that an image is whole or none.
 */
import { ConfigError, HostError } from "../../base/errors.ts";
import { formatSize, KiB } from "../../base/units.ts";
import type { HostFile, HostFiles } from "../../host/files.ts";
import { SECTOR_BYTES } from "../../limits.ts";
import { COPIED } from "./cluster_map.ts";
import {
  BACKING_NAME_BYTES_MAXIMUM,
  CLUSTER_BITS_MAXIMUM,
  CLUSTER_BITS_MINIMUM,
  COMPATIBLE_LAZY_REFCOUNTS,
  ENTRY_BYTES,
  EXTENSION,
  HEADER_BYTES_V3,
  HEADER_BYTES_WRITTEN,
  L1_BYTES_MAXIMUM,
  l1EntriesFor,
  QCOW2_MAGIC,
  setNumber64,
  viewOf,
} from "./header.ts";
import { ImageFile } from "./image_file.ts";
import type { ImageFormat } from "./open.ts";
import { type RefcountPlace, writeRefcounts } from "./rebuild.ts";

/** Bytes of a cluster unless told otherwise. */
const CLUSTER_BYTES = 64 * KiB;
/** Refcounts of 16 bits. */
const REFCOUNT_ORDER = 4;
/** Most clusters of an image whose tables are made in advance. */
const PREALLOCATED_MAXIMUM = 2 ** 24;

/** How to make an image. */
export interface CreateQcow2Options {
  /** Bytes of the disk, a multiple of 512. */
  readonly bytes: number;
  /** Bytes of a cluster: a power of two from 512 to 2 MiB; 64 KiB by default. */
  readonly clusterBytes?: number;
  /** What shows where nothing was written; the path is relative to the folder of the image. */
  readonly backing?: { readonly path: string; readonly format: ImageFormat };
  /** Whether refcounts are only written on closing. */
  readonly lazyRefcounts?: boolean;
  /** "metadata": all tables are made now, which makes the first writes faster. */
  readonly preallocation?: "none" | "metadata";
}

interface Plan {
  readonly options: CreateQcow2Options;
  readonly clusterBytes: number;
  readonly l1Entries: number;
  /** Clusters of the L1 table, of L2 tables and of data that are made in advance. */
  readonly l1Clusters: number;
  readonly l2Tables: number;
  readonly dataClusters: number;
}

/**
 * Makes an image in a file that must not exist. Rejects with `ConfigError` when it cannot be as asked and
 * with `HostError`.
 */
export async function createQcow2(
  files: HostFiles,
  path: string,
  options: CreateQcow2Options,
): Promise<void> {
  const plan = makePlan(path, options);
  await makeFile(files, path, async (hostFile) => {
    const file = new ImageFile(hostFile);
    if (plan.l2Tables > 0) writeTables(file, plan);
    const { clusterBytes, l1Clusters, l2Tables, dataClusters } = plan;
    const clusters = 1 + l1Clusters + l2Tables + dataClusters;
    const counts = new Uint16Array(clusters).fill(1);
    const place = writeRefcounts(file, clusterBytes, REFCOUNT_ORDER, counts);
    await file.flush();
    file.write(0, makeHeader(plan, place));
    await file.flush();
  });
}

/** Makes a raw image of zeros in a file that must not exist. Rejects with `ConfigError` and `HostError`. */
export async function createRaw(files: HostFiles, path: string, bytes: number): Promise<void> {
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % SECTOR_BYTES !== 0) {
    throw new ConfigError(
      `Cannot make "${path}": a disk of ${bytes} bytes: expected a multiple of 512`,
    );
  }
  await makeFile(files, path, async (file) => {
    file.truncate(bytes);
    await file.flush();
  });
}

/** Makes a file that stays only when it becomes whole. */
async function makeFile(
  files: HostFiles,
  path: string,
  fill: (file: HostFile) => Promise<void>,
): Promise<void> {
  const file = files.create(path);
  try {
    await fill(file);
  } catch (error) {
    file.close();
    if (error instanceof HostError) files.remove(path);
    throw error;
  }
  file.close();
  files.syncFolder(folderOf(path));
}

/** The folder that a path lies in. */
export function folderOf(path: string): string {
  const end = path.lastIndexOf("/");
  return end > 0 ? path.slice(0, end) : end === 0 ? "/" : ".";
}

function makePlan(path: string, options: CreateQcow2Options): Plan {
  const { bytes, clusterBytes = CLUSTER_BYTES, backing, preallocation = "none" } = options;
  const refuse = (what: string): never => {
    throw new ConfigError(`Cannot make "${path}": ${what}`);
  };
  const bits = Math.log2(clusterBytes);
  if (
    !Number.isInteger(bits) || bits < CLUSTER_BITS_MINIMUM || bits > CLUSTER_BITS_MAXIMUM
  ) {
    refuse(`clusters of ${clusterBytes} bytes: expected a power of two from 512 to 2M`);
  }
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % SECTOR_BYTES !== 0) {
    refuse(`a disk of ${bytes} bytes: expected a multiple of 512`);
  }
  const l1Entries = l1EntriesFor(bytes, clusterBytes);
  if (l1Entries * ENTRY_BYTES > L1_BYTES_MAXIMUM) {
    const cluster = formatSize(clusterBytes);
    refuse(`a disk of ${formatSize(bytes)} needs larger clusters than ${cluster}`);
  }
  if (preallocation !== "none" && preallocation !== "metadata") {
    refuse(`preallocation "${preallocation}": expected none or metadata`);
  }
  if (backing !== undefined) checkBacking(backing, clusterBytes, preallocation, refuse);
  const isPreallocated = preallocation === "metadata";
  const dataClusters = isPreallocated ? Math.ceil(bytes / clusterBytes) : 0;
  if (dataClusters > PREALLOCATED_MAXIMUM) {
    refuse(`tables for ${dataClusters} clusters in advance: expected fewer, larger clusters`);
  }
  return {
    options,
    clusterBytes,
    l1Entries,
    l1Clusters: Math.ceil(l1Entries * ENTRY_BYTES / clusterBytes),
    l2Tables: isPreallocated ? l1Entries : 0,
    dataClusters,
  };
}

function checkBacking(
  { path, format }: NonNullable<CreateQcow2Options["backing"]>,
  clusterBytes: number,
  preallocation: string,
  refuse: (what: string) => never,
): void {
  if (format !== "raw" && format !== "qcow2") {
    refuse(`a backing file of format "${format}": expected raw or qcow2`);
  }
  if (preallocation !== "none") refuse("tables made in advance would hide the backing file");
  const length = new TextEncoder().encode(path).length;
  const most = Math.min(BACKING_NAME_BYTES_MAXIMUM, clusterBytes - HEADER_BYTES_WRITTEN - 24);
  if (path === "" || length > most) {
    refuse(`the name of its backing file has ${length} bytes: expected 1 to ${most}`);
  }
}

function makeHeader({ options, clusterBytes, l1Entries }: Plan, place: RefcountPlace): Uint8Array {
  const header = new Uint8Array(clusterBytes);
  const view = viewOf(header);
  view.setUint32(0, QCOW2_MAGIC);
  view.setUint32(4, 3);
  view.setUint32(20, Math.log2(clusterBytes));
  setNumber64(view, 24, options.bytes);
  view.setUint32(36, l1Entries);
  setNumber64(view, 40, clusterBytes);
  setNumber64(view, 48, place.tableOffset);
  view.setUint32(56, place.tableClusters);
  view.setUint32(84, options.lazyRefcounts ? COMPATIBLE_LAZY_REFCOUNTS : 0);
  view.setUint32(96, REFCOUNT_ORDER);
  view.setUint32(100, HEADER_BYTES_WRITTEN);
  header[HEADER_BYTES_V3] = 0;
  let at = HEADER_BYTES_WRITTEN;
  if (options.backing !== undefined) {
    const format = new TextEncoder().encode(options.backing.format);
    view.setUint32(at, EXTENSION.backingFormat);
    view.setUint32(at + 4, format.length);
    header.set(format, at + 8);
    at += 16;
    // Eight zeros end the extensions.
    at += 8;
    const name = new TextEncoder().encode(options.backing.path);
    setNumber64(view, 8, at);
    view.setUint32(16, name.length);
    header.set(name, at);
  }
  return header;
}

/** Writes the L1 table and L2 tables of data clusters that follow them, and makes the file that long. */
function writeTables(file: ImageFile, plan: Plan): void {
  const { clusterBytes, l1Entries, l1Clusters, l2Tables, dataClusters } = plan;
  const firstTable = (1 + l1Clusters) * clusterBytes;
  const firstData = firstTable + l2Tables * clusterBytes;
  const entries = (count: number, first: number): Uint8Array => {
    const table = new Uint8Array(count * ENTRY_BYTES);
    const view = viewOf(table);
    for (let i = 0; i < count; i++) {
      setNumber64(view, i * ENTRY_BYTES, first + i * clusterBytes);
      view.setUint32(i * ENTRY_BYTES, (view.getUint32(i * ENTRY_BYTES) | COPIED) >>> 0);
    }
    return table;
  };
  file.write(clusterBytes, entries(l1Entries, firstTable));
  const perTable = clusterBytes / ENTRY_BYTES;
  for (let table = 0; table < l2Tables; table++) {
    const first = table * perTable;
    const count = Math.min(perTable, dataClusters - first);
    file.write(
      firstTable + table * clusterBytes,
      entries(count, firstData + first * clusterBytes),
    );
  }
}
