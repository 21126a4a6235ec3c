/**
 * Recognises and unpacks what can be booted: ELF, Linux `Image` (plain or gzip), raw binaries
 * (Linux Documentation/arch/riscv/boot-image-header).
 */
import { FormatError } from "../base/errors.ts";
import { formatSize } from "../base/units.ts";
import { GUEST_MEMORY_MAXIMUM } from "../limits.ts";
import { type ElfImage, isElf, readElf } from "./elf.ts";

/** An image after unpacking. */
export type BootImage =
  | { readonly kind: "elf"; readonly elf: ElfImage; readonly bytes: Uint8Array }
  | {
    readonly kind: "linux";
    readonly bytes: Uint8Array;
    /** Offset from a 2 MiB boundary at which it wants to lie. */
    readonly textOffset: number;
    /** Bytes of memory it needs, with its zeroed data. */
    readonly imageBytes: number;
  }
  | { readonly kind: "raw"; readonly bytes: Uint8Array };

/** "RSC\x05" at offset 56. */
const LINUX_MAGIC2 = 0x05435352;

/**
 * Unpacks gzip; other bytes pass through. Throws FormatError for damaged gzip, and for what unpacks to
 * more than any guest has memory.
 */
export async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const source = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  try {
    for await (const part of source.pipeThrough(new DecompressionStream("gzip"))) {
      length += part.length;
      if (length > GUEST_MEMORY_MAXIMUM) break;
      parts.push(part);
    }
  } catch (cause) {
    throw new FormatError("the gzip data is damaged or cut off", { cause });
  }
  if (length > GUEST_MEMORY_MAXIMUM) {
    const most = formatSize(GUEST_MEMORY_MAXIMUM);
    throw new FormatError(
      `the gzip data unpacks to more than ${most}, the most that a guest can have`,
    );
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Recognises an image. Throws FormatError for an ELF file that cannot run here. */
export async function readImage(packed: Uint8Array): Promise<BootImage> {
  const bytes = await gunzip(packed);
  if (isElf(bytes)) return { kind: "elf", elf: readElf(bytes), bytes };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length >= 64 && view.getUint32(56, true) === LINUX_MAGIC2) {
    const imageBytes = Number(view.getBigUint64(16, true));
    return {
      kind: "linux",
      bytes,
      textOffset: Number(view.getBigUint64(8, true)),
      imageBytes: Math.max(imageBytes, bytes.length),
    };
  }
  if (bytes.length === 0) throw new FormatError("the image is empty");
  return { kind: "raw", bytes };
}
