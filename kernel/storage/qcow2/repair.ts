/**
 * Repairs images: makes refcounts and flags what the tables say (issue 5, section 3).
 *
 * Invariant: a repair that stops half way leaves an image that can be repaired: with version 3 it is marked
 * dirty from before the first change to after the last.
 */
import { FormatError } from "../../base/errors.ts";
import type { HostFile } from "../../host/files.ts";
import { COMPRESSED, COPIED, entryOffset, ZERO } from "./cluster_map.ts";
import type { Qcow2Header } from "./header.ts";
import { changeFeatures, ImageFile } from "./image_file.ts";
import { writeRefcountPlace, writeRefcounts } from "./rebuild.ts";
import { isCopied, Problems, References } from "./references.ts";

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

/** Makes refcounts and flags what they should be; entries that lead nowhere lead to nothing then. */
export async function repairFile(file: ImageFile, header: Qcow2Header): Promise<void> {
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
