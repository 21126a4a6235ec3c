/**
 * The images that a VM is started from: files that are read for it, or bytes that somebody has.
 *
 * Invariant: bytes that were read for a VM are told from those that are somebody else's, which are not moved.
 */
import type { ImageSource, VmSpec } from "./config.ts";
import type { HostFiles } from "./host/files.ts";

/** Images as a machine takes them. */
export interface Images {
  readonly kernel: Uint8Array<ArrayBuffer> | undefined;
  readonly initrd: Uint8Array<ArrayBuffer> | undefined;
  readonly bios: "builtin" | "none" | Uint8Array<ArrayBuffer>;
  /** Those that were read from files. */
  readonly read: ReadonlySet<Uint8Array<ArrayBuffer>>;
}

/** An image that is in a file. */
export interface ImagePath {
  readonly role: "kernel" | "initrd" | "bios";
  readonly path: string;
}

/** Reads the images of a VM. Rejects with `HostError`. */
export async function readImages(
  files: HostFiles,
  { kernel, initrd, bios }: VmSpec,
): Promise<Images> {
  const read = new Set<Uint8Array<ArrayBuffer>>();
  const image = async (source: ImageSource | undefined) => {
    if (source === undefined || source instanceof Uint8Array) return source;
    const bytes = await files.readAll(pathOf(source));
    read.add(bytes);
    return bytes;
  };
  return {
    kernel: await image(kernel),
    initrd: await image(initrd),
    bios: bios === "builtin" || bios === "none" ? bios : (await image(bios))!,
    read,
  };
}

/** Where those images of a VM are that are files. */
export function imagePaths(spec: Pick<VmSpec, ImagePath["role"]>): ImagePath[] {
  return (["kernel", "initrd", "bios"] as const).flatMap((role) => {
    const source = spec[role];
    const isFile = source instanceof URL ||
      typeof source === "string" && source !== "builtin" && source !== "none";
    return isFile ? [{ role, path: pathOf(source) }] : [];
  });
}

/** Memory that the VM world may have, because it was read for it. */
export function buffersOf({ read }: Images): ArrayBuffer[] {
  return [...read].map(({ buffer }) => buffer);
}

function pathOf(source: string | URL): string {
  return source instanceof URL ? decodeURIComponent(source.pathname) : source;
}
