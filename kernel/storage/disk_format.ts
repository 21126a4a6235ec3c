/**
 * The formats that images of disks have here.
 */

/** Their names: byte for byte, QEMU's copy-on-write images, and lazily initialised ones (S4). */
export const DISK_FORMATS: readonly DiskFormat[] = ["raw", "qcow2", "lazy-zero"];

/** A format. */
export type DiskFormat = "raw" | "qcow2" | "lazy-zero";
