/**
 * Looks over the disks of a checkpoint (issue 5, "verify").
 *
 * Invariant: nothing is wrong with a checkpoint of which nothing is told here, but that what its VM left when it
 * was suspended may have been gone on with since.
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

/** What is wrong with the disks of a checkpoint. */
export function diskProblems(
  folder: StoreFolder,
  id: string,
  { disks }: CheckpointState,
  isSuspended: boolean,
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
      // What a suspended VM left is checked by whoever goes on from it.
      for (const file of files) {
        if (!isSuspended || file.contents !== null) told(() => checkFile(folder, file));
      }
    }
  });
  return problems;
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
