/**
 * Looks over the disks of a checkpoint (issue 5, "verify").
 *
 * Invariant: nothing is wrong with the disks of a checkpoint of which nothing is told here, but that a VM which
 * was resumed writes to what it left when it was suspended.
 */
import { ConfigError, FormatError, HostError } from "../base/errors.ts";
import type { HostFiles } from "../host/files.ts";
import type { PageCodec } from "../host/page_codec.ts";
import { checkIdentity } from "../storage/file_identity.ts";
import type { CheckpointState } from "./checkpoint_format.ts";
import { decodeSavedDisks, type SavedFile } from "./saved_disk.ts";
import type { StoreFolder } from "./store_folder.ts";

/** Bytes that are read at once. */
const STEP_BYTES = 1024 * 1024;

/** CRC-32 of a file, in as many steps as it has MiB. Throws HostError. */
export function* contentsOf(
  files: HostFiles,
  codec: Pick<PageCodec, "crc32">,
  path: string,
): Generator<void, number> {
  const file = files.open(path);
  try {
    const part = new Uint8Array(STEP_BYTES);
    let sum = 0;
    for (let at = 0; at < file.size; at += STEP_BYTES) {
      sum = codec.crc32(part.subarray(0, file.read(at, part)), sum);
      yield;
    }
    return sum;
  } finally {
    file.close();
  }
}

/**
 * What is wrong with the disks of a checkpoint.
 *
 * @param wasResumed whether a VM went on in the images themselves
 */
export function diskProblems(
  folder: StoreFolder,
  id: string,
  { disks }: CheckpointState,
  wasResumed: () => boolean,
): string[] {
  const where = `checkpoint ${id}`;
  const problems: string[] = [];
  const told = (act: () => void) => {
    try {
      act();
    } catch (error) {
      const isKnown = error instanceof ConfigError || error instanceof FormatError ||
        error instanceof HostError;
      if (!isKnown) throw error;
      const { message } = error;
      problems.push(message.startsWith(where) ? message : `${where}: ${message}`);
    }
  };
  told(() => {
    for (const { files } of decodeSavedDisks(disks, where)) {
      for (const file of files) told(() => checkUnlessWritten(folder, file, wasResumed));
    }
  });
  return problems;
}

/** As `checkFile`, but for what the VM may write to that was resumed. */
function checkUnlessWritten(folder: StoreFolder, file: SavedFile, wasResumed: () => boolean): void {
  try {
    checkFile(folder, file);
  } catch (error) {
    // Asked when something differs: a VM may be resumed while the check is under way.
    if (file.contents !== null || !wasResumed()) throw error;
  }
}

function checkFile(folder: StoreFolder, file: SavedFile): void {
  const { files, codec } = folder.host;
  const path = file.inStore ? `${folder.disks}/${file.path}` : file.path;
  checkIdentity(files, { ...file, path });
  if (file.contents === null) return;
  const steps = contentsOf(files, codec, path);
  for (let step = steps.next();; step = steps.next()) {
    if (step.done !== true) continue;
    if (step.value === file.contents) return;
    throw new FormatError(`"${path}" is damaged: its checksum is another`);
  }
}
