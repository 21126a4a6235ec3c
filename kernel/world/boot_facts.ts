/**
 * What a boot image is, for people: the public face of kernel/machine's image readers.
 */
import { readImage } from "../machine/image.ts";

/** A part of an ELF image that is loaded. */
export interface SegmentFacts {
  /** Physical address. */
  readonly address: number;
  /** Bytes in the file. */
  readonly fileBytes: number;
  /** Bytes in memory. */
  readonly memoryBytes: number;
}

/** What is known of a boot image. */
export interface BootFacts {
  /** What it is. */
  readonly kind: "elf" | "linux" | "raw";
  /** Its bytes, unpacked if it was packed. */
  readonly bytes: Uint8Array;
  /** ELF: address of the first instruction. */
  readonly entry?: bigint;
  /** ELF: what is loaded. */
  readonly segments?: readonly SegmentFacts[];
  /** ELF: names of symbols. */
  readonly symbols?: readonly string[];
  /** Linux: offset from a 2 MiB boundary at which it wants to lie. */
  readonly textOffset?: number;
  /** Linux: bytes of memory it needs. */
  readonly memoryBytes?: number;
}

/** Reads a boot image. Rejects with `FormatError` when it is damaged or cannot run here. */
export async function bootFacts(packed: Uint8Array): Promise<BootFacts> {
  const image = await readImage(packed);
  const { bytes } = image;
  switch (image.kind) {
    case "raw":
      return { kind: "raw", bytes };
    case "linux": {
      const { textOffset, imageBytes: memoryBytes } = image;
      return { kind: "linux", bytes, textOffset, memoryBytes };
    }
    case "elf": {
      const { entry } = image.elf;
      const segments = image.elf.segments.map((segment) => ({
        address: segment.address,
        fileBytes: segment.bytes.length,
        memoryBytes: segment.memoryBytes,
      }));
      const symbols = image.elf.symbols.map(({ name }) => name);
      return { kind: "elf", bytes, entry, segments, symbols };
    }
  }
}
