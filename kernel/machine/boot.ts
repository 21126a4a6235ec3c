/**
 * Where images go in memory and where harts start, as QEMU's virt board places them: firmware at the
 * start of RAM, the kernel 2 MiB above it, the device tree near the end, the initrd below it.
 *
 * Invariant: nothing that is placed overlaps anything else; too small a memory is refused with both
 * figures.
 */
import { ConfigError } from "../base/errors.ts";
import { formatSize, MiB } from "../base/units.ts";
import { RAM_START } from "../limits.ts";
import { physicalAddress } from "./elf.ts";
import type { BootImage } from "./image.ts";

/** What to boot. */
export interface BootOptions {
  readonly kernel?: BootImage;
  /** "builtin": our SBI. "none": machine mode. Else a firmware image. */
  readonly bios: "builtin" | "none" | BootImage;
  readonly initrd?: Uint8Array;
  readonly ramBytes: number;
}

/** Bytes to place in guest memory. */
export interface Placement {
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** How a machine starts. */
export interface BootPlan {
  readonly placements: readonly Placement[];
  /** Where the device tree goes; at most DEVICE_TREE_BYTES. */
  readonly deviceTree: number;
  readonly initrd?: { readonly start: number; readonly end: number };
  readonly entry: number;
  readonly privilege: "machine" | "supervisor";
  /** Value of a2: the firmware's dynamic information, or 0. */
  readonly argument2: number;
  /** Address of `tohost`, if the image has one (HTIF). */
  readonly tohost?: number;
}

/** Room kept for the device tree. */
export const DEVICE_TREE_BYTES = 64 * 1024;
/** Kernels start here above the firmware. */
const KERNEL_OFFSET = 2 * MiB;
/** "OSBI": fw_dynamic information (OpenSBI, docs/firmware/fw_dynamic). */
const DYNAMIC_MAGIC = 0x4942534fn;
const DYNAMIC_BYTES = 48;

interface Placed {
  readonly placements: Placement[];
  readonly entry: number;
  readonly end: number;
}

function placeImage(image: BootImage, base: number): Placed {
  if (image.kind === "elf") {
    const placements = image.elf.segments.map((segment) => ({
      gpa: segment.address,
      bytes: segment.bytes,
    }));
    const ends = image.elf.segments.map((segment) => segment.address + segment.memoryBytes);
    return {
      placements,
      entry: physicalAddress(image.elf, image.elf.entry),
      end: Math.max(...ends),
    };
  }
  const bytes = image.kind === "linux" ? image.imageBytes : image.bytes.length;
  return { placements: [{ gpa: base, bytes: image.bytes }], entry: base, end: base + bytes };
}

function kernelBase(kernel: BootImage, bios: BootOptions["bios"]): number {
  if (bios === "none") return RAM_START;
  return RAM_START + (kernel.kind === "linux" ? kernel.textOffset : KERNEL_OFFSET);
}

/** What fw_dynamic wants to know: where to go next, in supervisor mode, on the boot hart. */
function dynamicInformation(next: number): Uint8Array {
  const words = new BigUint64Array(DYNAMIC_BYTES / 8);
  words.set([DYNAMIC_MAGIC, 2n, BigInt(next), 1n, 0n, 0n]);
  return new Uint8Array(words.buffer);
}

/** Throws ConfigError unless everything lies in RAM. */
function checkInside(placements: readonly Placement[], ramBytes: number): void {
  for (const { gpa, bytes } of placements) {
    if (gpa < RAM_START || gpa + bytes.length > RAM_START + ramBytes) {
      throw new ConfigError(
        `the image wants ${bytes.length} bytes at 0x${gpa.toString(16)}, outside the guest's ` +
          `${formatSize(ramBytes)} of memory at 0x${RAM_START.toString(16)}`,
      );
    }
  }
}

/** Throws ConfigError when two placements want the same bytes. */
function checkApart(placements: readonly Placement[]): void {
  const sorted = [...placements].sort((a, b) => a.gpa - b.gpa);
  for (let i = 1; i < sorted.length; i++) {
    const { gpa, bytes } = sorted[i - 1]!;
    if (gpa + bytes.length > sorted[i]!.gpa) {
      throw new ConfigError(
        `two images want the memory at 0x${sorted[i]!.gpa.toString(16)}: one of ${bytes.length} ` +
          `bytes lies at 0x${gpa.toString(16)}`,
      );
    }
  }
}

/** Where the image wants to be watched (HTIF). */
function toHostOf(kernel: BootImage | undefined): { tohost?: number } {
  if (kernel?.kind !== "elf") return {};
  const symbol = kernel.elf.symbols.find(({ name }) => name === "tohost");
  return symbol === undefined ? {} : { tohost: physicalAddress(kernel.elf, symbol.value) };
}

/** The plan of a machine that does not start, because it is made from an image. */
export function emptyBoot({ bios }: Pick<BootOptions, "bios">): BootPlan {
  const privilege = privilegeOf(bios);
  return { placements: [], deviceTree: 0, entry: 0, privilege, argument2: 0 };
}

const privilegeOf = (bios: BootOptions["bios"]) => bios === "builtin" ? "supervisor" : "machine";

/** Plans a start. Throws ConfigError when the memory is too small. */
export function planBoot(options: BootOptions): BootPlan {
  const { kernel, bios, initrd, ramBytes } = options;
  if (kernel === undefined && typeof bios !== "object") {
    throw new ConfigError("there is nothing to boot: neither a kernel nor a firmware image");
  }
  const placed = kernel
    ? placeImage(kernel, kernelBase(kernel, bios))
    : { placements: [], entry: RAM_START + KERNEL_OFFSET, end: RAM_START };
  const ramEnd = RAM_START + ramBytes;
  const deviceTree = ramEnd - DEVICE_TREE_BYTES - 4096;
  const initrdStart = Math.floor((deviceTree - (initrd?.length ?? 0)) / 4096) * 4096;
  const needed = placed.end - RAM_START + (initrd?.length ?? 0) + DEVICE_TREE_BYTES + 8192;
  if (placed.end > initrdStart) {
    throw new ConfigError(
      `the guest has ${formatSize(ramBytes)} of memory, its kernel and initrd need ` +
        `${formatSize(Math.ceil(needed / MiB) * MiB)}`,
    );
  }
  const placements = [...placed.placements];
  if (initrd) placements.push({ gpa: initrdStart, bytes: initrd });
  let entry = placed.entry;
  let argument2 = 0;
  if (typeof bios === "object") {
    const firmware = placeImage(bios, RAM_START);
    placements.push(...firmware.placements);
    entry = firmware.entry;
    argument2 = deviceTree + DEVICE_TREE_BYTES;
    placements.push({ gpa: argument2, bytes: dynamicInformation(placed.entry) });
  }
  checkInside(placements, ramBytes);
  checkApart(placements);
  return {
    placements,
    deviceTree,
    ...(initrd ? { initrd: { start: initrdStart, end: initrdStart + initrd.length } } : {}),
    entry,
    privilege: privilegeOf(bios),
    argument2,
    ...toHostOf(kernel),
  };
}
