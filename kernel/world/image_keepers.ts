/**
 * Which images the checkpoints of a store refer to (S17.10; storage/overlay_note.ts). An image is retained for
 * one checkpoint; what is made of VMs that go on over it refers to it as well, also when that one is deleted.
 *
 * Invariant: an image that any checkpoint of the store refers to is found; one that cannot be read may refer to
 * any.
 */
import { FormatError, HostError } from "../base/errors.ts";
import { decodeSavedDisks } from "../checkpoint/saved_disk.ts";
import { StoreFolder } from "../checkpoint/store_folder.ts";
import { hostEntropy } from "../host/entropy.ts";
import type { HostFiles } from "../host/files.ts";
import { hostPageCodec } from "../host/page_codec.ts";
import type { KeepsImage } from "../storage/overlay_note.ts";

/** Looks for checkpoints that refer to images, in the stores that notes name. */
export function keepsImage(files: HostFiles): KeepsImage {
  return (image, keeper) => {
    const path = folderOf(folderOf(keeper));
    const folder = new StoreFolder({ files, codec: hostPageCodec, entropy: hostEntropy }, path);
    return folder.checkpointIds().some((id) => refersTo(files, folder, id, image));
  };
}

function refersTo(files: HostFiles, folder: StoreFolder, id: string, image: string): boolean {
  try {
    const disks = decodeSavedDisks(folder.open(id).state().disks, `checkpoint ${id}`);
    return disks.some((disk) =>
      disk.files.some(({ path, inStore }) => {
        return (inStore ? `${files.facts(folder.disks).path}/${path}` : path) === image;
      })
    );
  } catch (error) {
    // It may have been deleted just now.
    if (error instanceof HostError && !folder.has(id)) return false;
    if (!(error instanceof FormatError)) throw error;
    return true;
  }
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
