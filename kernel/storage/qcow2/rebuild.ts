/**
 * Writes refcounts from nothing: for an image that is made, and for one whose refcounts are wrong.
 *
 * Invariant: they are written behind the end of the file, so that until the header leads to them nothing
 * has changed; they count themselves.
 */
import { FormatError } from "../../base/errors.ts";
import {
  ENTRY_BYTES,
  HEADER_OFFSET,
  REFCOUNT_TABLE_BYTES_MAXIMUM,
  setNumber64,
  viewOf,
} from "./header.ts";
import type { ImageFile } from "./image_file.ts";
import { refcountMaximum, setRefcount } from "./refcount_entry.ts";

/** Where refcounts lie. */
export interface RefcountPlace {
  readonly tableOffset: number;
  readonly tableClusters: number;
}

interface Layout {
  /** Indexes of the blocks there are. */
  readonly blocks: readonly number[];
  readonly tableClusters: number;
}

/**
 * Writes refcounts for the clusters that are counted, behind them. Nothing leads to them yet, and
 * nothing is flushed. Throws `FormatError` when they do not fit and `HostError`.
 */
export function writeRefcounts(
  file: ImageFile,
  clusterBytes: number,
  order: number,
  counts: Uint16Array,
): RefcountPlace {
  const perBlock = clusterBytes * 8 / 2 ** order;
  const { blocks, tableClusters } = layOut(counts, perBlock, clusterBytes);
  if (tableClusters * clusterBytes > REFCOUNT_TABLE_BYTES_MAXIMUM) {
    throw new FormatError(`"${file.path}" has too many clusters for a refcount table`);
  }
  const most = refcountMaximum(order);
  const ownEnd = counts.length + tableClusters + blocks.length;
  const table = new Uint8Array(tableClusters * clusterBytes);
  const block = new Uint8Array(clusterBytes);
  blocks.forEach((index, i) => {
    const end = Math.min((index + 1) * perBlock, ownEnd);
    block.fill(0);
    for (let cluster = index * perBlock; cluster < end; cluster++) {
      const count = cluster < counts.length ? counts[cluster]! : 1;
      if (count > most) {
        throw new FormatError(`"${file.path}" uses a cluster ${count} times: expected ${most}`);
      }
      setRefcount(viewOf(block), order, cluster % perBlock, count);
    }
    const offset = (counts.length + tableClusters + i) * clusterBytes;
    file.write(offset, block);
    setNumber64(viewOf(table), index * ENTRY_BYTES, offset);
  });
  const tableOffset = counts.length * clusterBytes;
  file.write(tableOffset, table);
  return { tableOffset, tableClusters };
}

/** Makes the header lead to refcounts, which are stable. */
export function writeRefcountPlace(file: ImageFile, place: RefcountPlace): void {
  const field = new Uint8Array(12);
  setNumber64(viewOf(field), 0, place.tableOffset);
  viewOf(field).setUint32(8, place.tableClusters);
  file.write(HEADER_OFFSET.refcountTable, field);
}

/** Which blocks there must be: those of clusters in use, and of the refcounts themselves. */
function layOut(counts: Uint16Array, perBlock: number, clusterBytes: number): Layout {
  const used: number[] = [];
  const firstOwn = Math.floor(counts.length / perBlock);
  for (let index = 0; index < firstOwn; index++) {
    const part = counts.subarray(index * perBlock, (index + 1) * perBlock);
    if (part.some((count) => count !== 0)) used.push(index);
  }
  let lastOwn = firstOwn;
  for (;;) {
    const tableClusters = Math.ceil((lastOwn + 1) * ENTRY_BYTES / clusterBytes);
    const blocks = used.length + lastOwn - firstOwn + 1;
    const last = Math.floor((counts.length + tableClusters + blocks - 1) / perBlock);
    if (last <= lastOwn) {
      for (let index = firstOwn; index <= lastOwn; index++) used.push(index);
      return { blocks: used, tableClusters };
    }
    lastOwn = last;
  }
}
