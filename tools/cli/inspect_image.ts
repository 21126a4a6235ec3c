/**
 * Says what a file is, as far as it matters here: what `run` could do with it.
 *
 * Invariant: foreign bytes are only ever read within their bounds; a damaged image is described as
 * damaged, it never stops the description.
 */
import { type BootFacts, bootFacts, FormatError, formatSize } from "../../mod.ts";

/** One line of a description. */
export type Fact = readonly [name: string, value: string];

interface Kind {
  readonly name: string;
  /** Bytes at an offset that tell this kind. */
  readonly magic: readonly number[];
  readonly offset: number;
  readonly facts: (bytes: Uint8Array) => Fact[];
}

/** TABLE of kinds that are told by their magic bytes; boot images are told by `bootFacts`. */
const KINDS: readonly Kind[] = [
  {
    name: "qcow2 disk image",
    magic: [0x51, 0x46, 0x49, 0xfb],
    offset: 0,
    facts: (bytes) => {
      const view = viewOf(bytes);
      if (bytes.length < 72) return [["damaged", "cut off inside its header"]];
      return [
        ["version", `${view.getUint32(4)}`],
        ["disk", size(Number(view.getBigUint64(24)))],
        ["clusters", size(2 ** view.getUint32(20))],
        ["use", "a disk: --drive; `disk info` says more"],
      ];
    },
  },
  {
    name: "device tree blob",
    magic: [0xd0, 0x0d, 0xfe, 0xed],
    offset: 0,
    facts: (bytes) =>
      bytes.length < 40
        ? [["damaged", "cut off inside its header"]]
        : [["length", size(viewOf(bytes).getUint32(4))]],
  },
  {
    name: "cpio archive",
    magic: [...new TextEncoder().encode("070701")],
    offset: 0,
    facts: () => [["use", "an initial RAM disk: --initrd"]],
  },
  {
    name: "disk image with a GUID partition table",
    magic: [...new TextEncoder().encode("EFI PART")],
    offset: 512,
    facts: diskFacts,
  },
  {
    name: "disk image with an ext2, ext3 or ext4 file system",
    magic: [0x53, 0xef],
    offset: 1080,
    facts: diskFacts,
  },
  {
    name: "disk image with a master boot record",
    magic: [0x55, 0xaa],
    offset: 510,
    facts: diskFacts,
  },
];

/** Describes the bytes of a file. */
export async function describeImage(bytes: Uint8Array): Promise<Fact[]> {
  if (bytes.length === 0) return [["kind", "an empty file"]];
  const known = KINDS.find(({ magic, offset }) =>
    magic.every((byte, i) => bytes[offset + i] === byte)
  );
  if (known) {
    return [["kind", known.name], ["size", size(bytes.length)], ...known.facts(bytes)];
  }
  const zipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  try {
    const facts = factsOf(await bootFacts(bytes), bytes.length);
    return zipped ? [...facts, ["packed", `gzip, ${size(bytes.length)}`]] : facts;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return [["kind", "an image that cannot run here"], ["damaged", error.message]];
  }
}

function factsOf(image: BootFacts, fileBytes: number): Fact[] {
  switch (image.kind) {
    case "elf": {
      const symbols = image.symbols ?? [];
      const tohost = symbols.includes("tohost") ? ", with tohost: it can end the VM" : "";
      return [
        ["kind", "ELF executable for 64-bit RISC-V"],
        ["size", size(image.bytes.length)],
        ["entry", hex(image.entry ?? 0n)],
        ...(image.segments ?? []).map(({ address, fileBytes, memoryBytes }): Fact => [
          "segment",
          `${hex(address)}, ${size(fileBytes)} in the file, ${size(memoryBytes)} in memory`,
        ]),
        ["symbols", `${symbols.length}${tohost}`],
      ];
    }
    case "linux":
      return [
        ["kind", "Linux kernel image for RISC-V"],
        ["size", size(image.bytes.length)],
        ["wants", `offset ${hex(image.textOffset ?? 0)} from a 2 MiB boundary`],
        ["memory", size(image.memoryBytes ?? 0)],
      ];
    case "raw": {
      // A gzip'd archive is most often an initial RAM disk.
      const cpio = new TextDecoder("latin1").decode(image.bytes.subarray(0, 6)) === "070701";
      if (cpio) return [["kind", "cpio archive"], ["use", "an initial RAM disk: --initrd"]];
      const disk = fileBytes % 512 === 0;
      return [
        ["kind", "raw bytes"],
        ["size", size(image.bytes.length)],
        ["use", disk ? "a raw binary to start, or a disk" : "a raw binary to start"],
      ];
    }
  }
}

function diskFacts(bytes: Uint8Array): Fact[] {
  const whole = bytes.length % 512 === 0;
  return [
    ["sectors", whole ? `${bytes.length / 512}` : "not a whole number: no raw disk"],
    ["use", "a raw disk: --drive"],
  ];
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function size(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${formatSize(bytes)} (${bytes} bytes)`;
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
